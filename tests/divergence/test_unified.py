"""Diffs are bounded, printable, and show the difference however far away it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.divergence.difference import unified

OUTPUTS = st.lists(
    st.sampled_from([b"a\n", b"b\n", b"\n", b"c", b"d \r\n", b"\xff", b"\0", b"w" * 300]), max_size=12
).map(b"".join)


@given(OUTPUTS, OUTPUTS, st.integers(3, 30), st.integers(40, 100))
def test_rows_are_bounded_and_printable(expected: bytes, actual: bytes, limit: int, width: int) -> None:
    rows = unified(expected, actual, limit=limit, width=width)
    assert len(rows) <= limit
    assert all(row.isprintable() and len(row) <= max(width, 76) for row in rows)
    assert bool(rows) == (expected != actual)


@given(
    st.lists(st.sampled_from([b"a", b"b", b"c", b""]), max_size=20),
    st.lists(st.sampled_from([b"a", b"b", b"c", b""]), max_size=20),
)
def test_removed_and_added_rows_turn_one_text_into_the_other(old: list[bytes], new: list[bytes]) -> None:
    expected, actual = (b"".join(line + b"\n" for line in lines) for lines in (old, new))
    rows = unified(expected, actual, limit=1000)[2:]
    kept = sum(row.startswith(" ") for row in rows)
    removed, added = (sum(row.startswith(sign) for row in rows) for sign in "-+")
    assert len(new) - len(old) == added - removed
    assert kept + removed <= len(old)
    if rows:
        assert removed + added > 0


def test_a_diff_reads_like_any_other() -> None:
    old = b"".join(b"line %d\n" % number for number in range(1, 21))
    assert unified(old, old.replace(b"line 10\n", b"line ten\n"), limit=20) == (
        "--- expected",
        "+++ actual",
        "@@ -7,7 +7,7 @@",
        " line 7",
        " line 8",
        " line 9",
        "-line 10",
        "+line ten",
        " line 11",
        " line 12",
        " line 13",
    )


def test_line_endings_and_blanks_at_the_end_are_visible() -> None:
    rows = unified(b"a\nb\nc\td\n", b"a\r\nb \nc  d", limit=20, names=("golden", "cell"))
    assert rows == (
        "--- golden",
        "+++ cell",
        "@@ -1,3 +1,3 @@",
        "-a",
        "-b",
        "-c\\td",
        "+a\\r",
        "+b\\x20",
        "+c  d",
        "\\ no newline at the end",
    )


def test_an_empty_side_has_an_empty_range() -> None:
    assert unified(b"", b"x\n", limit=9)[2:] == ("@@ -0,0 +1,1 @@", "+x")


def test_of_a_long_line_the_part_that_differs_is_shown() -> None:
    rows = unified(b"x" * 5000 + b"a" + b"y" * 5000, b"x" * 5000 + b"b" + b"y" * 5000, limit=20, width=80)
    assert rows[3] == "-..." + "x" * 40 + "a" + "y" * 32 + "..."
    assert rows[5] == "+..." + "x" * 40 + "b" + "y" * 32 + "..."


def test_characters_are_not_cut_in_two() -> None:
    old, new = ("語" * 100 + end + "語" * 300 for end in "ab")
    assert all("\\x" not in row for row in unified(old.encode(), new.encode(), limit=20, width=80))


def test_binary_outputs_are_dumped_from_their_difference_on() -> None:
    old = bytes(range(64))
    assert unified(old, old[:40] + b"\xff" + old[41:], limit=20) == (
        "--- expected",
        "+++ actual",
        " 00000010  10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f  ................",
        "-00000020  20 21 22 23 24 25 26 27 28 29 2a 2b 2c 2d 2e 2f   !\"#$%&'()*+,-./",
        "+00000020  20 21 22 23 24 25 26 27 ff 29 2a 2b 2c 2d 2e 2f   !\"#$%&'.)*+,-./",
    )
    assert unified(b"\0", b"\0a" * 9000, limit=500)[-1] == "[not compared further: 13904 bytes]"


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (b"\n" * 1_000_000, b"\n"),
        (b"a\nb\n" * 2_000_000, b"b\na\n" * 2_000_000),
        (b"x" * 10_000_000, b"x" * 9_999_999 + b"y"),
    ],
    ids=["a million empty lines", "shifted", "one long line"],
)
def test_huge_outputs_are_compared_at_their_head_and_that_is_said(expected: bytes, actual: bytes) -> None:
    rows = unified(expected, actual, limit=1000)
    assert len(rows) < 450
    assert rows[-1].startswith(("[not compared further: ", "\\ no newline"))


def test_rows_beyond_the_limit_are_counted() -> None:
    rows = unified(b"a\n" * 50, b"b\n" * 50, limit=10)
    assert len(rows) == 10
    assert rows[-1] == "[94 more rows of this diff are not shown]"
