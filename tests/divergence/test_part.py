"""Parts: of outputs too large to be kept the first difference is the same as that of the whole, or not told."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from harness.divergence.difference import difference, difference_of
from harness.divergence.part import Known, Part, first_chunk, parts
from harness.divergence.unified import unified, unified_of
from harness.model.outline import CHUNK, Outline, Window

LINES = tuple(b"%08d \xc3\xa9t\xc3\xa9\n" % number for number in range(30_000))  # 15 bytes each, seven chunks
TEXT = b"".join(LINES)
AT = 20_000 * 15 + 3
ONLY_PART = "[not compared further: only this part of the outputs is at hand]"


def window_of(one: bytes, other: bytes) -> Window:
    index = first_chunk(one, other)
    assert index is not None
    return max(index - 1, 0) * CHUNK, 3 * CHUNK


def outlined(one: bytes, other: bytes) -> tuple[Outline, Outline]:
    window = window_of(one, other)
    return Outline.of(one, window), Outline.of(other, window)


def found(expected: Known, actual: Known) -> tuple[Part, Part]:
    pair = parts(expected, actual)
    assert pair is not None
    return pair


CHANGES = {
    "one byte": TEXT[:AT] + b"X" + TEXT[AT + 1 :],
    "a line more": TEXT[: 20_000 * 15] + b"more\n" + TEXT[20_000 * 15 :],
    "a line less": TEXT[: 20_000 * 15] + TEXT[20_001 * 15 :],
    "cut": TEXT[:AT],
    "cut at a chunk": TEXT[: 4 * CHUNK],
    "longer": TEXT + b"end\n",
    "first byte": b"X" + TEXT[1:],
    "last byte": TEXT[:-1] + b"X",
    "within a character": TEXT[: AT + 7] + b"\xc3\xa8" + TEXT[AT + 9 :],
    "no text": TEXT[:AT] + b"\xff\xff" + TEXT[AT + 2 :],
    "a NUL": TEXT[:AT] + b"\0" + TEXT[AT + 1 :],
    "last byte of a chunk": TEXT[: 3 * CHUNK - 1] + b"X" + TEXT[3 * CHUNK :],
    "first byte of a chunk": TEXT[: 3 * CHUNK] + b"X" + TEXT[3 * CHUNK + 1 :],
}


@pytest.mark.parametrize("name", CHANGES)
def test_one_whole_output_places_the_difference_exactly(name: str) -> None:
    for expected, actual in ((TEXT, CHANGES[name]), (CHANGES[name], TEXT)):
        whole = difference(expected, actual)
        assert whole is not None
        said, heard = outlined(expected, actual)
        for pair in ((expected, heard), (said, actual)):
            got = difference_of(*found(*pair))
            assert got is not None
            assert replace(got, kind="", encodings=()) == replace(whole, kind="", encodings=())


@pytest.mark.parametrize("name", CHANGES)
def test_two_windows_place_the_difference_by_its_byte(name: str) -> None:
    for expected, actual in ((TEXT, CHANGES[name]), (CHANGES[name], TEXT)):
        whole = difference(expected, actual)
        pair = found(*outlined(expected, actual))
        got = difference_of(*pair)
        assert whole is not None
        assert got is not None
        assert got.offset == whole.offset
        assert (got.line, got.column) in ((whole.line, whole.column), (None, None))
        assert (got.line is None) == (pair[0].start > 0)
        if got.unit == whole.unit:
            assert (got.expected, got.actual) == (whole.expected, whole.actual)


def test_what_only_whole_outputs_tell_is_not_claimed_from_a_window() -> None:
    crlf = TEXT.replace(b"\n", b"\r\n")
    said, heard = outlined(TEXT, crlf)
    kinds = [difference_of(*found(*pair)) for pair in ((TEXT, crlf), (TEXT, heard), (said, crlf), (said, heard))]
    assert [one and one.kind for one in kinds] == ["newline-only", "", "", ""]


def test_a_window_that_reaches_the_end_makes_the_output_whole() -> None:
    changed = TEXT[:-1] + b"\r\n"
    _, heard = outlined(TEXT, changed)
    pair = found(TEXT, heard)
    assert pair == (Part(data=TEXT), Part(data=changed))
    got = difference_of(*pair)
    assert got is not None
    assert got.kind == "newline-only"


def rows(*pair: Known) -> tuple[str, ...]:
    return unified_of(*found(*pair), limit=40, width=100)[2:]


@pytest.mark.parametrize("name", ["one byte", "a line more", "a line less"])
def test_the_diff_is_that_of_the_whole_and_says_that_it_ends(name: str) -> None:
    whole = unified(TEXT, CHANGES[name], limit=40, width=100)[2:]
    said, heard = outlined(TEXT, CHANGES[name])
    assert rows(TEXT, heard) == (*whole, ONLY_PART)
    assert rows(said, CHANGES[name]) == (*whole, ONLY_PART)
    head, *body = rows(said, heard)
    assert head == "@@ byte 299955 @@"
    assert (*body,) == (*whole[1:], ONLY_PART)


def test_a_line_longer_than_any_window_is_shown_around_its_difference() -> None:
    long = b"x" * len(TEXT) + b"\n"
    changed = long[:AT] + b"Y" + long[AT + 1 :]
    for pair in ((long, outlined(long, changed)[1]), outlined(long, changed)):
        sign, minus, plus, end = rows(*pair)
        assert sign.startswith("@@ ")
        assert (minus[:5], plus[:5], end) == ("-...x", "+...x", ONLY_PART)
        assert "Y" in plus


def test_lines_before_a_long_one_are_shown_with_it() -> None:
    long = TEXT[:299_955] + b"x" * 300_000 + b"\n"
    changed = long[:AT] + b"Y" + long[AT + 1 :]
    shown = rows(*outlined(long, changed))
    assert [row[:1] for row in shown] == ["@", " ", " ", " ", "-", "+", "["]


def test_where_every_line_differs_all_that_is_at_hand_is_a_change() -> None:
    changed = TEXT[: 4 * CHUNK] + TEXT[4 * CHUNK :].replace(b" ", b"_")
    assert [row[:1] for row in rows(TEXT, outlined(TEXT, changed)[1])][:6] == ["@", " ", " ", " ", "-", "-"]


def test_binaries_are_dumped_as_far_as_they_are_known() -> None:
    binary = random.Random(0).randbytes(len(TEXT))
    changed = binary[:AT] + bytes([binary[AT] ^ 1]) + binary[AT + 1 :]
    whole = unified(binary, changed, limit=40)[2:5]
    said, heard = outlined(binary, changed)
    for pair in ((binary, heard), (said, heard)):
        assert rows(*pair) == (*whole, ONLY_PART)


def test_without_a_window_head_and_tail_tell_what_they_hold() -> None:
    for name in ("first byte", "last byte", "longer"):
        got = difference_of(*found(TEXT, Outline.of(CHANGES[name])))
        whole = difference(TEXT, CHANGES[name])
        assert got is not None
        assert whole is not None
        assert replace(got, kind="") == replace(whole, kind="")
        assert parts(Outline.of(TEXT), Outline.of(CHANGES[name])) is not None
    assert parts(TEXT, Outline.of(CHANGES["one byte"])) is None
    assert parts(Outline.of(TEXT), Outline.of(CHANGES["one byte"])) is None


def test_outputs_that_are_equal_as_far_as_anybody_knows_have_no_first_difference() -> None:
    outline = Outline.of(TEXT)
    assert parts(TEXT, outline) is None
    assert parts(outline, outline) is None
    assert first_chunk(TEXT, TEXT) is None
    assert difference_of(Part(data=TEXT), Part(data=TEXT)) is None
    assert unified_of(Part(data=TEXT), Part(data=TEXT), limit=9, width=80) == ()
