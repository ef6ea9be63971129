"""Differences: where two outputs first differ, what stands there, and whether only newlines or the encoding do.

Exact on bytes; lines and columns are for people. Ten megabytes take well under a second.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from harness.divergence.part import Part, common_prefix
from harness.divergence.readable import readable
from harness.divergence.unified import unified

__all__ = ["Difference", "Excerpt", "difference", "difference_of", "unified"]

NEWLINE_ONLY = "newline-only"
ENCODING_ONLY = "encoding-only"

_BEFORE, _AFTER = 32, 48
_SINGLE_BYTE = (
    "cp1252",
    "latin-1",
    "iso8859-15",
    "cp437",
    "cp850",
    "cp1250",
    "cp1251",
    "cp1254",
    "koi8-r",
    "mac-roman",
)
_DOUBLE_BYTE = ("cp932", "gbk", "cp949", "big5", "euc-jp")
_MARKED = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """A few bytes around a difference: where they start, and how they read. Empty at the end of the output."""

    start: int
    data: bytes
    text: str

    @property
    def hex(self) -> str:
        """The bytes as pairs of hexadecimal digits."""
        return self.data.hex(" ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first difference of two outputs.

    ``offset`` counts bytes from 0; ``line`` and ``column`` count from 1, columns in ``unit``: characters when both
    outputs are UTF-8, as far as they are known, else bytes. Line and column are None where nobody knows what comes
    before. ``kind`` is ``newline-only``, ``encoding-only`` or empty; ``encodings`` are then those of the expected and
    the actual output.
    """

    offset: int
    line: int | None
    column: int | None
    unit: str
    expected: Excerpt
    actual: Excerpt
    kind: str = ""
    encodings: tuple[str, ...] = ()


def difference(expected: bytes, actual: bytes) -> Difference | None:
    """Compare two outputs; None when they are equal."""
    return difference_of(Part(data=expected), Part(data=actual))


def difference_of(one: Part, other: Part) -> Difference | None:
    """Compare the parts of two outputs from one start on; what only whole outputs tell is left out."""
    expected, actual = one.data, other.data
    if expected == actual:
        return None
    offset = common_prefix(expected, actual)
    texts = _utf8(one), _utf8(other)
    is_text = texts[0] is not None and texts[1] is not None
    place = _character_start(expected, offset) if is_text else offset
    line_start = expected.rfind(b"\n", 0, place) + 1
    start = _character_start(expected, max(line_start, place - _BEFORE))
    windows = _window(expected, start, offset), _window(actual, start, offset)
    shown = readable(windows)
    before = expected[line_start:place]
    is_placed = one.start == 0
    kind, encodings = _kind(expected, actual, texts) if is_placed and one.is_end and other.is_end else ("", ())
    return Difference(
        offset=one.start + offset,
        line=expected.count(b"\n", 0, place) + 1 if is_placed else None,
        column=(len(before.decode()) if is_text else len(before)) + 1 if is_placed else None,
        unit="characters" if is_text else "bytes",
        expected=Excerpt(start=one.start + start, data=windows[0], text=shown[0]),
        actual=Excerpt(start=one.start + start, data=windows[1], text=shown[1]),
        kind=kind,
        encodings=encodings,
    )


def _utf8(part: Part) -> str | None:
    first = _next_character(part.data) if part.start else 0
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(part.data[first:], part.is_end)
    except UnicodeDecodeError:
        return None


def _next_character(data: bytes) -> int:
    """Where the first whole UTF-8 character starts, at most three bytes on."""
    return next((at for at in range(min(len(data), 3)) if data[at] & 0xC0 != 0x80), 0)


def _character_start(data: bytes, at: int) -> int:
    """Step back to where the UTF-8 character at an offset starts, at most three bytes."""
    for back in range(min(at, 3) + 1):
        if at - back >= len(data) or data[at - back] & 0xC0 != 0x80:
            return at - back
    return at


def _window(data: bytes, start: int, offset: int) -> bytes:
    """The bytes from ``start`` over the difference to the end of its line, but not far."""
    newline = data.find(b"\n", offset, offset + _AFTER)
    return data[start : newline + 1 if newline >= 0 else _character_start(data, offset + _AFTER)]


def _kind(expected: bytes, actual: bytes, texts: tuple[str | None, str | None]) -> tuple[str, tuple[str, ...]]:
    if _only_newlines_differ(expected, actual):
        return NEWLINE_ONLY, ()
    said, heard = texts
    # One side must be UTF-8: between two code pages almost any two outputs can be read as the same text.
    if said is not None and (encoding := _encoding_of(actual, said, is_utf8=heard is not None)):
        return ENCODING_ONLY, ("utf-8", encoding)
    if heard is not None and (encoding := _encoding_of(expected, heard, is_utf8=said is not None)):
        return ENCODING_ONLY, (encoding, "utf-8")
    return "", ()


def _only_newlines_differ(expected: bytes, actual: bytes) -> bool:
    # A program that writes CRLF itself, through a text layer that makes CRLF of every LF, says CR CR LF.
    for crlf in (b"\r\n", b"\r\r\n"):
        said, heard = (
            data.replace(crlf, b"\n").replace(b"\r\n", b"\n").replace(b"\r", b"\n") for data in (expected, actual)
        )
        if said == heard or said + b"\n" == heard or said == heard + b"\n":
            return True
    return False


def _encoding_of(data: bytes, text: str, *, is_utf8: bool) -> str:
    """Name the encoding under which bytes are this text; empty when there is none.

    Bytes that are UTF-8 themselves are not read as anything else, unless they begin with a mark or are UTF-16.
    """
    candidates = [name for mark, name in _MARKED if data.startswith(mark)]
    if b"\0" in data:
        candidates += ["utf-16-le", "utf-16-be"]
    if not is_utf8:
        candidates += _SINGLE_BYTE if len(data) == len(text) else _DOUBLE_BYTE
    return next((name for name in candidates if _decodes(data, name, text)), "")


def _decodes(data: bytes, encoding: str, text: str) -> bool:
    try:
        return data.decode(encoding) == text
    except UnicodeDecodeError:
        return False
