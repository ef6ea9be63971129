"""Names and paths that every platform can take, and none can turn against its root.

What a file or a frame names must stay under its root and be writable on Linux, macOS and Windows alike: the
checks are pure text, so they hold before anything is opened.
"""

from __future__ import annotations

import re
import unicodedata

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z")
_RESERVED = re.compile(r'[<>:"|?*\\/]')
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\Z")
_LONGEST = 255


def name_trouble(name: str) -> str:
    """Say why a single file name cannot be taken by every platform; empty when it can."""
    if name.endswith((".", " ")):
        return f"{name!r} ends with a {'dot' if name.endswith('.') else 'blank'}"
    if _DEVICES.match(name.partition(".")[0].rstrip(" ").lower()):
        return f"{name!r} is a device on Windows"
    if _PLAIN.match(name):
        return ""
    if not name:
        return "a name is empty"
    reserved = _RESERVED.search(name)
    if reserved:
        return f"{name!r} has the reserved character {reserved[0]!r}"
    odd = next((char for char in name if unicodedata.category(char) in ("Cc", "Cs")), "")
    if odd:
        return f"{name!r} has the character U+{ord(odd):04X}"
    if unicodedata.normalize("NFC", name) != name:
        return f"{name!r} is not in Unicode normal form C"
    return f"{name[:20]!r}... has more than {_LONGEST} bytes" if len(name.encode()) > _LONGEST else ""


def path_trouble(path: str) -> str:
    """Say why a relative path with forward slashes might leave its root or be refused somewhere; empty when not."""
    if not path:
        return "the path is empty"
    if "\\" in path:
        return f"{path!r} has a backslash; write forward slashes"
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return f"{path!r} is absolute"
    parts = path.split("/")
    if ".." in parts:
        return f"{path!r} has '..'"
    if "" in parts or "." in parts:
        return f"{path!r} has an empty part or '.'"
    return next((trouble for trouble in map(name_trouble, parts) if trouble), "")


def folded(name: str) -> str:
    """What two names have in common when a file system may take them for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
