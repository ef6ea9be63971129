"""Readable bytes: any bytes as printable text on one line, so that what differs also looks different.

Decoding never fails and never loses: bytes that are not UTF-8 appear as ``\\xff``, characters that nobody can
see as ``\\r``, ``\\t`` or ``\\u200b``, a blank at the end as ``\\x20``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escape(char: str) -> str:
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    # never \x for a character, which would then look like a byte
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _show(text: str, *, double: bool, ascii_only: bool) -> str:
    if double:
        text = text.replace("\\", "\\\\")
    if not (text.isprintable() and (text.isascii() or not ascii_only)):
        text = "".join(
            char if char.isprintable() and (char.isascii() or not ascii_only) else _escape(char) for char in text
        )
    return f"{text[:-1]}\\x20" if text.endswith(" ") else text


def readable(lines: Sequence[bytes]) -> tuple[str, ...]:
    """Show byte strings as printable text; different ones never look the same.

    Escapes stay as few as that allows: backslashes are doubled only where one could be taken for an escape, and
    everything outside ASCII is escaped only where two strings are canonically equal (composed, decomposed).
    """
    texts = [line.decode("utf-8", "surrogateescape") for line in lines]
    wanted = len(set(lines))
    for double, ascii_only in ((False, False), (True, False)):
        shown = tuple(_show(text, double=double, ascii_only=ascii_only) for text in texts)
        if len({unicodedata.normalize("NFC", text) for text in shown}) == wanted:
            return shown
    return tuple(_show(text, double=True, ascii_only=True) for text in texts)
