"""Parts: what is known of two outputs around their first difference, when one of them was too large to be held.

What comes before the first differing chunk is equal: one whole output gives the other's bytes up to there.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.outline import CHUNK, Outline

Known = bytes | Outline
"""An output as far as it is at hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Bytes of an output from ``start`` on; ``is_end`` says that it ends with them."""

    data: bytes
    start: int = 0
    is_end: bool = True


def common_prefix(one: bytes, other: bytes) -> int:
    """How many bytes two byte strings have in common from their start."""
    end = min(len(one), len(other))
    low = 0
    while low < end and one[low : low + CHUNK] == other[low : low + CHUNK]:
        low += CHUNK
    low, high = min(low, end), min(low + CHUNK, end)
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def first_chunk(expected: Known, actual: Known) -> int | None:
    """The index of the first chunk that differs; None when none does."""
    if isinstance(expected, Outline):
        return expected.first_difference(actual)
    if isinstance(actual, Outline):
        return actual.first_difference(expected)
    return None if expected == actual else common_prefix(expected, actual) // CHUNK


def parts(expected: Known, actual: Known) -> tuple[Part, Part] | None:
    """The parts of both that start at one place and hold the first difference; None when it was not kept.

    They start at 0 when one of the two is whole.
    """
    if isinstance(expected, bytes) and isinstance(actual, bytes):
        return Part(data=expected), Part(data=actual)
    index = first_chunk(expected, actual)
    if index is None:
        return None
    pair = _around(expected, index), _around(actual, index)
    known = [piece for piece in pair if piece is not None]
    if len(known) < 2:
        return None
    whole = next((side for side in (expected, actual) if isinstance(side, bytes)), None)
    if whole is not None:
        one, other = (_continued(piece, whole[: index * CHUNK]) for piece in known)
    else:
        start = max(piece.start for piece in known)
        one, other = (_from(piece, start) for piece in known)
    return one, other


def _around(side: Known, index: int) -> Part | None:
    if isinstance(side, bytes):
        return Part(data=side)
    found = side.around(index)
    return found and Part(start=found[0], data=found[1], is_end=found[0] + len(found[1]) == side.size)


def _continued(part: Part, before: bytes) -> Part:
    """The part with the common start of both outputs before it."""
    return Part(data=before + part.data[len(before) - part.start :], is_end=part.is_end)


def _from(part: Part, start: int) -> Part:
    return Part(start=start, data=part.data[start - part.start :], is_end=part.is_end)
