"""Escapes: data from cells and file names, made harmless for whoever reads a report, and still readable.

One function for each place where data can become a command: a terminal, Markdown, XML, a CI log. Each takes any
text, lone surrogates included, and never fails.
"""

from __future__ import annotations

import re

# Controls (C0, DEL, C1), what is invisible or reorders text (soft hyphen, zero width, bidi, tags, the byte order
# mark), line and paragraph separators, and surrogates, which no encoding can write.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\ufffe\uffff\U000e0000-\U000e007f]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# GitHub reads `##[command]` anywhere in a line, Azure Pipelines `##vso[command]`, TeamCity `##teamcity[command]`.
_HASH_COMMAND = re.compile(r"##(?=\w*\[)")
_COLON_COMMAND = re.compile(r"^([\s\u180e\u200b\ufeff]*):(?=:)", re.MULTILINE)

# What GitHub makes a link of even where Markdown does not: mentions, issues, addresses, e-mail.
_REFERENCE = re.compile(r"[@#]|:(?=//)|www(?=\.)|GH(?=-\d)|(?:xmpp|mailto)(?=:)", re.IGNORECASE)
# Only what GitHub Flavored Markdown could obey, so that the source stays readable: `_` within a word is none of it.
_MARKDOWN = re.compile(
    r"[#$&*<>@\[\\\]`{|}~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?=:)|^[ :+=-]|^\d+[.)](?=\s|$)|(?<= ) | $|[^\S ]"
)
_BREAK = "&#8203;"

_XML = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"  # slow to compile, rarely needed


def terminal(data: str | bytes, *, keep: str = "") -> str:
    """Show everything that a terminal could obey, hide or reorder as a visible escape.

    ``keep`` may name newline and tab, which are escaped otherwise. Bytes that are not UTF-8 become ``\\xff``.
    """
    text = data if isinstance(data, str) else data.decode("utf-8", "backslashreplace")
    return _UNSEEN.sub(lambda match: match[0] if match[0] in keep else _escaped(match[0]), text)


def _escaped(char: str) -> str:
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def workflow_safe(text: str) -> str:
    """Break what a CI service would obey in its log: ``::command::`` after blanks, ``##[command]`` anywhere.

    To be applied to a finished text: only then is it known where its lines begin.
    """
    return _COLON_COMMAND.sub(r"\1\\x3a", _HASH_COMMAND.sub(r"#\\x23", text))


def markdown(text: str) -> str:
    """Make text literal on one line of Markdown, table cells included: no markup, HTML, link or mention."""
    broken = _REFERENCE.sub(lambda match: f"{match[0]}\x00", terminal(text))
    return _MARKDOWN.sub(_entities, broken).replace("\x00", _BREAK)


def _entities(match: re.Match[str]) -> str:
    return "".join(char if char.isdigit() else f"&#{ord(char)};" for char in match[0])


def fence(text: str, language: str = "") -> str:
    """Put lines into a Markdown code fence that they cannot close."""
    body = workflow_safe(terminal(text, keep="\n"))
    longest = max((len(run) for run in re.findall("`+", body)), default=0)
    ticks = "`" * max(longest + 1, 3)
    return f"{ticks}{language}\n{body}\n{ticks}"


def xml(text: str) -> str:
    """Make text the content of an XML 1.0 element; what XML cannot hold becomes a visible escape."""
    clean = re.sub(_XML, lambda match: _escaped(match[0]), terminal(text, keep="\n\t"))
    clean = clean.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return workflow_safe(clean)


def attribute(text: str) -> str:
    """Make text the value of an XML attribute in double quotes, its newlines and tabs kept."""
    return xml(text).replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;")
