"""Outlines: two of them tell where outputs differ, and no bytes that do not hold together are taken for one."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import agent
from harness.model.outline import CHUNK, Outline, Window, chunk_digest, clipped, encoded_length


def said(size: int) -> bytes:
    """Bytes of which no two chunks are equal."""
    return b"".join(struct.pack("!Q", number) for number in range(size // 8 + 1))[:size]


SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 7, 2 * CHUNK, 5 * CHUNK, 5 * CHUNK + 9)
WINDOWS: tuple[Window | None, ...] = (None, (0, 3 * CHUNK), (CHUNK, CHUNK), (4 * CHUNK, 3 * CHUNK), (9 * CHUNK, CHUNK))
LARGE = said(5 * CHUNK + 9)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", WINDOWS)
def test_what_was_encoded_is_decoded_and_has_the_length_that_was_foretold(size: int, window: Window | None) -> None:
    outline = Outline.of(said(size), window)
    data = outline.encode()
    assert Outline.decode(data) == outline
    assert len(data) == encoded_length(size, window)
    start, end = clipped(size, window)
    assert (outline.window_start, outline.window) == (start, said(size)[start:end])


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("pace", [1000, CHUNK, CHUNK + 1])
def test_the_agent_outlines_as_we_do_however_the_bytes_come(size: int, window: Window | None, pace: int) -> None:
    data, outliner = said(size), agent.Outliner(window or (0, 0))
    for start in range(0, size, pace):
        outliner.feed(data[start : start + pace])
    assert b"".join(outliner.parts()) == Outline.of(data, window).encode()
    assert agent.CHUNK == CHUNK


def test_the_first_chunk_that_differs_is_found_against_bytes_and_against_an_outline() -> None:
    outline = Outline.of(LARGE)
    changed = LARGE[: 3 * CHUNK + 5] + b"\xff" + LARGE[3 * CHUNK + 6 :]
    for other, index in (
        (LARGE, None),
        (changed, 3),
        (LARGE[: 3 * CHUNK], 3),
        (LARGE[: 3 * CHUNK + 1], 3),
        (LARGE + b"x", 5),
        (said(9 * CHUNK), 5),
        (b"", 0),
    ):
        assert outline.first_difference(other) == index
        assert outline.first_difference(Outline.of(other)) == index
        assert Outline.of(other).first_difference(outline) == index


def test_the_longest_known_bytes_around_a_chunk_are_given() -> None:
    size = len(LARGE)
    without, within = Outline.of(LARGE), Outline.of(LARGE, (2 * CHUNK, 2 * CHUNK))
    assert without.around(0) == (0, LARGE[:CHUNK])
    assert without.around(1) is None
    assert without.around(4) is None, "the tail has only a part of it"
    assert without.around(5) == (size - CHUNK, LARGE[-CHUNK:])
    for index in (2, 3):
        assert within.around(index) == (2 * CHUNK, LARGE[2 * CHUNK : 4 * CHUNK])
    assert within.around(0) == (0, LARGE[:CHUNK])
    whole = Outline.of(LARGE[: 2 * CHUNK])
    assert whole.around(2) == (CHUNK, LARGE[CHUNK : 2 * CHUNK]), "after its last chunk an output has ended"


GOOD = Outline.of(LARGE, (2 * CHUNK, 2 * CHUNK))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (replace(GOOD, size=GOOD.size + 1), "tail is not that of its last chunk"),
        (replace(GOOD, size=2**64 - 1), "cut off"),
        (replace(GOOD, head=b"x" + GOOD.head[1:]), "bytes that are not those of their chunk"),
        (replace(GOOD, tail=GOOD.tail[:-1] + b"x"), "tail is not that of its last chunk"),
        (replace(GOOD, window=b"x" + GOOD.window[1:]), "bytes that are not those of their chunk"),
        (replace(GOOD, window_start=2 * CHUNK + 1), "window is out of place"),
        (replace(GOOD, window_start=4 * CHUNK), "window is out of place"),
        (replace(GOOD, window=b""), "window is out of place"),
        (replace(GOOD, window=GOOD.window[:-1]), "window is out of place"),
        (replace(GOOD, window_start=3 * CHUNK), "bytes that are not those of their chunk"),
        (
            replace(Outline.of(LARGE, (4 * CHUNK, 2 * CHUNK)), tail=b"x" + GOOD.tail[1:]),
            "tail is not that of its other",
        ),
        (replace(Outline.of(LARGE[:-9], (4 * CHUNK, CHUNK)), window_start=2**63), "window is out of place"),
    ],
)
def test_what_does_not_hold_together_is_refused(bad: Outline, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Outline.decode(bad.encode())


def test_what_is_cut_off_or_goes_on_is_refused() -> None:
    data = GOOD.encode()
    for end in (0, 15, 16, 1000, 2 * CHUNK + 16, len(data) - 1):
        with pytest.raises(ValueError, match="outline"):
            Outline.decode(data[:end])
    with pytest.raises(ValueError, match="out of place"):
        Outline.decode(data + b"x")


@given(st.binary(max_size=200))
def test_any_bytes_are_an_outline_or_a_value_error(data: bytes) -> None:
    try:
        outline = Outline.decode(data)
    except ValueError:
        return
    assert outline.encode() == data


def test_the_digest_of_a_chunk_is_of_its_own_bytes() -> None:
    assert b"".join(chunk_digest(LARGE, index) for index in range(6)) == GOOD.chunks
