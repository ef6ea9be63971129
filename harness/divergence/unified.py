"""Diffs to read: a bounded line diff of two texts, or a bounded dump of the bytes of two binaries.

Never longer than asked for and never slow: a common start and end are cut off first, and only the head of what
remains is compared. What was left out is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher

from harness.divergence.part import Part, common_prefix
from harness.divergence.readable import readable

NO_NEWLINE = "\\ no newline at the end"
_CONTEXT = 3
_LINES = 200  # of each side at most: SequenceMatcher is quadratic at its worst
_CHUNK = 1 << 16
_LEAD = 40  # characters shown before a difference within a long line
_ROW = 16
_DUMPED = 4096  # bytes examined after the first difference


def unified(
    expected: bytes,
    actual: bytes,
    *,
    limit: int,
    width: int = 500,
    names: tuple[str, str] = ("expected", "actual"),
) -> tuple[str, ...]:
    """The difference of two outputs as rows of a unified diff: ``-`` is expected, ``+`` is what was said.

    At most ``limit`` rows of at most ``width`` characters, all printable; of a longer line the part around its
    difference is shown. Outputs with a NUL, or mostly without meaning as UTF-8, are dumped in hexadecimal.
    Equal outputs have no rows.
    """
    return unified_of(Part(data=expected), Part(data=actual), limit=limit, width=width, names=names)


def unified_of(
    expected: Part, actual: Part, *, limit: int, width: int, names: tuple[str, str] = ("expected", "actual")
) -> tuple[str, ...]:
    """The same for the parts of two outputs from one start on; that there is more of them is said."""
    if expected.data == actual.data:
        return ()
    start = common_prefix(expected.data, actual.data)
    is_binary = _is_binary(expected.data) or _is_binary(actual.data)
    rows = [f"--- {names[0]}", f"+++ {names[1]}"]
    rows += _dump(expected, actual, start) if is_binary else _text(expected, actual, start, limit, width)
    if len(rows) > limit:
        left_out = len(rows) - limit + 1
        rows[limit - 1 :] = [f"[{left_out} more rows of this diff are not shown]"]
    return tuple(row if len(row) <= width else f"{row[: width - 3]}..." for row in rows)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a diff before it is made readable: shown from ``at`` on."""

    sign: str
    data: bytes
    at: int = 0

    def cut(self, width: int) -> bytes:
        """What is shown of it: whole characters, at least as many as fit."""
        at, end = self.at, self.at + 4 * width
        while 0 < at < len(self.data) and self.data[at] & 0xC0 == 0x80 and self.at - at < 3:
            at -= 1
        return self.data[at:end].removesuffix(b"\n")

    def row(self, text: str) -> list[str]:
        """The finished row, and the one that tells of a missing newline."""
        row = f"{self.sign}{'...' if self.at else ''}{text}"
        return [row] if self.sign == "@" or self.data.endswith(b"\n") else [row, NO_NEWLINE]


def _is_binary(data: bytes) -> bool:
    head = data[:_CHUNK]
    undecodable = sum("\udc80" <= char <= "\udcff" for char in head.decode("utf-8", "surrogateescape"))
    return b"\0" in data or (undecodable > 8 and undecodable * 10 > len(head) * 3)


def _text(one: Part, other: Part, prefix: int, limit: int, width: int) -> list[str]:
    expected, actual = one.data, other.data
    is_whole = one.is_end and other.is_end
    start = _context(one, prefix)
    suffix = 0
    if is_whole:
        suffix = common_prefix(expected[prefix:][::-1], actual[prefix:][::-1])
        suffix -= _kept(expected, len(expected) - suffix)
    first = expected.count(b"\n", 0, start)
    old, old_rest = _lines(expected, start, len(expected) - suffix)
    new, new_rest = _lines(actual, start, len(actual) - suffix)
    rest = [f"[not compared further: {old_rest} expected and {new_rest} actual lines]"] if old_rest or new_rest else []
    if not is_whole:
        differing = expected.count(b"\n", start, prefix)
        old, new = _settled(_known(old, one, differing), _known(new, other, differing))
        rest = ["[not compared further: only this part of the outputs is at hand]"]
    lines: list[_Line] = []
    for group in SequenceMatcher(None, old, new).get_grouped_opcodes(_CONTEXT):
        top, bottom = group[0], group[-1]
        old_range = _range(first + top[1], bottom[2] - top[1])
        new_range = _range(first + top[3], bottom[4] - top[3])
        where = (
            f"-{old_range} +{new_range}"
            if not one.start
            else f"byte {one.start + start + sum(map(len, old[: top[1]]))}"
        )
        lines.append(_Line("@", f"@ {where} @@".encode()))
        for tag, old_from, old_to, new_from, new_to in group:
            lines += _block(tag == "equal", old[old_from:old_to], new[new_from:new_to])
    shown = readable([line.cut(width) for line in lines[:limit]])
    rows = [row for line, text in zip(lines, shown, strict=False) for row in line.row(text)]
    rows += [""] * (len(lines) - len(shown))  # only counted
    return rows + rest


def _context(part: Part, prefix: int) -> int:
    """Where the lines before a difference start that are shown with it; no line is cut where that can be helped."""
    start = part.data.rfind(b"\n", 0, prefix) + 1
    for _ in range(_CONTEXT):
        start = part.data.rfind(b"\n", 0, max(start - 1, 0)) + 1
    return part.data.find(b"\n", 0, prefix) + 1 if part.start and not start else start


def _known(lines: list[bytes], part: Part, differing: int) -> list[bytes]:
    """The lines that are whole, as far as anybody knows; the one that differs is shown even if it is cut."""
    if part.is_end or not lines or lines[-1].endswith(b"\n"):
        return lines
    return [*lines[:-1], *([lines[-1] + b"\n"] if len(lines) - 1 <= differing else [])]


def _settled(old: list[bytes], new: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Without what only differs at the end because one side is known a little further than the other."""
    changes = SequenceMatcher(None, old, new).get_opcodes()
    is_earlier = any(tag != "equal" for tag, *_ in changes[:-1])
    if is_earlier and changes[-1][0] != "equal":
        _, old_from, _, new_from, _ = changes[-1]
        return old[:old_from], new[:new_from]
    return old, new


def _range(before: int, count: int) -> str:
    return f"{before + (count > 0)},{count}"


def _kept(data: bytes, start: int) -> int:
    """How much of a common end to keep: the rest of a line, and the lines of context after it."""
    end = start
    for _ in range(_CONTEXT + 1):
        newline = data.find(b"\n", end)
        if newline < 0:
            return len(data) - start
        end = newline + 1
    return end - start


def _lines(data: bytes, start: int, end: int) -> tuple[list[bytes], int]:
    """The first lines of a part, each with its newline, and how many are left over."""
    parts = data[start:end].split(b"\n", _LINES)
    lines = [part + b"\n" for part in parts[:-1]]
    if not parts[-1]:
        return lines, 0
    if len(lines) < _LINES:
        return [*lines, parts[-1]], 0
    return lines, parts[-1].count(b"\n") + (not parts[-1].endswith(b"\n"))


def _block(is_equal: bool, old: list[bytes], new: list[bytes]) -> list[_Line]:
    """The lines of one opcode: equal ones once, else all old ones and then all new ones."""
    if is_equal:
        return [_Line(" ", line) for line in old]
    starts = [_shown_from(*pair) for pair in zip(old, new, strict=False)]
    starts += [0] * (max(len(old), len(new)) - len(starts))
    return [
        _Line(sign, line, at)
        for sign, lines in (("-", old), ("+", new))
        for line, at in zip(lines, starts, strict=False)
    ]


def _shown_from(one: bytes, other: bytes) -> int:
    """Where to start showing two long lines; lines that differ early are shown from their start."""
    at = common_prefix(one, other) - _LEAD
    return at if at > 2 * _LEAD else 0


def _dump(one: Part, other: Part, prefix: int) -> list[str]:
    """Rows of sixteen bytes from the first difference on; equal rows in between are left out."""
    expected, actual = one.data, other.data
    start = max(prefix // _ROW - 1, 0) * _ROW
    end = min((len(part.data) for part in (one, other) if not part.is_end), default=max(len(expected), len(actual)))
    stop = min(end, start + _DUMPED)
    rows: list[str] = []
    for at in range(start, stop, _ROW):
        old, new = expected[at : at + _ROW], actual[at : at + _ROW]
        if old != new:
            rows += [f"{sign}{_hex_row(one.start + at, row)}" for sign, row in (("-", old), ("+", new)) if row]
        elif at < prefix:
            rows.append(f" {_hex_row(one.start + at, old)}")
    if not (one.is_end and other.is_end):
        return [*rows, "[not compared further: only this part of the outputs is at hand]"]
    return [*rows, f"[not compared further: {end - stop} bytes]"] if stop < end else rows


def _hex_row(at: int, row: bytes) -> str:
    letters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
    return f"{at:08x}  {row.hex(' '):<{_ROW * 3 - 1}}  {letters}"
