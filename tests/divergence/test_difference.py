"""Where two outputs first differ, and whether only their newlines or their encoding do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.divergence.difference import difference
from harness.divergence.readable import readable

SIMILAR = st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b"\xc3\xa9", b"\xff", b"\0", b"long " * 30]), max_size=8).map(
    b"".join
)


@given(SIMILAR, SIMILAR)
def test_the_first_difference_is_the_first(expected: bytes, actual: bytes) -> None:
    found = difference(expected, actual)
    if found is None:
        assert expected == actual
        return
    assert expected[: found.offset] == actual[: found.offset]
    assert expected[found.offset : found.offset + 1] != actual[found.offset : found.offset + 1]
    assert found.line is not None
    assert found.line >= 1
    assert found.column is not None
    assert found.column >= 1
    for excerpt, output in ((found.expected, expected), (found.actual, actual)):
        assert output[excerpt.start : excerpt.start + len(excerpt.data)] == excerpt.data
        assert excerpt.start <= found.offset
    assert found.expected.text != found.actual.text
    assert len(found.expected.data) <= 100


def test_a_difference_after_many_equal_bytes_is_found() -> None:
    head = b"0123456789\n" * 50_000
    found = difference(head + b"xa", head + b"xb")
    assert found is not None
    assert (found.offset, found.line, found.column) == (550_001, 50_001, 2)


def test_columns_count_characters_in_text_and_bytes_elsewhere() -> None:
    found = difference("äöü é\n".encode(), "äöü è\n".encode())
    assert found is not None
    assert (found.offset, found.column, found.unit) == (8, 5, "characters")
    found = difference(b"\xff\xff\xffa", b"\xff\xff\xffb")
    assert found is not None
    assert (found.column, found.unit) == (4, "bytes")


def test_the_end_of_an_output_is_an_empty_excerpt() -> None:
    found = difference(b"one\n", b"one\ntwo\n")
    assert found is not None
    assert (found.line, found.column) == (2, 1)
    assert (found.expected.data, found.actual.text, found.actual.hex) == (b"", "two\\n", "74 77 6f 0a")


@pytest.mark.parametrize(
    ("expected", "actual", "kind"),
    [
        (b"a\nb\n", b"a\r\nb\r\n", "newline-only"),
        (b"a\nb\n", b"a\rb\r", "newline-only"),
        (b"a\nb\n", b"a\nb", "newline-only"),
        (b"a\n\n", b"a\n", "newline-only"),
        (b"", b"\n", "newline-only"),
        (b"a\r\nb\r\n", b"a\r\r\nb\r\r\n", "newline-only"),
        (b"a\n\n\n", b"a\n", ""),
        (b"a\nb\n", b"a b\n", ""),
        ("é\n".encode(), b"\xe9\n", "encoding-only"),
        (b"\xe9\n", "é\n".encode(), "encoding-only"),
        ("é\n".encode(), "é\n".encode("utf-16"), "encoding-only"),
        ("é\n".encode(), "é\n".encode("utf-16-be"), "encoding-only"),
        ("日本\n".encode(), "日本\n".encode("cp932"), "encoding-only"),
        (b"abc\n", b"\xef\xbb\xbfabc\n", "encoding-only"),
        ("€\n".encode(), b"\x80\n", "encoding-only"),
        ("é\n".encode(), b"\xe8\n", ""),
        (b"\xe9\n", b"\x82\n", ""),  # two code pages, but no UTF-8
        ("é".encode(), "Ã©".encode(), ""),  # encoded twice: another text
        ("é\n".encode(), b"\xe9\r\n", ""),
        ("慡".encode(), b"aa", ""),
    ],
)
def test_only_newlines_and_only_encodings_are_named(expected: bytes, actual: bytes, kind: str) -> None:
    found = difference(expected, actual)
    assert found is not None
    assert found.kind == kind
    assert bool(found.encodings) == (kind == "encoding-only")


def test_the_encodings_are_named() -> None:
    found = difference("é\n".encode(), b"\xe9\n")
    assert found is not None
    assert found.encodings == ("utf-8", "cp1252")
    found = difference(b"\x82\n", "é\n".encode())
    assert found is not None
    assert found.encodings == ("cp437", "utf-8")


@given(SIMILAR)
def test_equal_outputs_have_no_difference(data: bytes) -> None:
    assert difference(data, bytes(data)) is None


@given(st.lists(st.binary(max_size=6) | st.text(max_size=4).map(str.encode), max_size=5))
def test_different_bytes_never_look_the_same(lines: list[bytes]) -> None:
    shown = readable(lines)
    assert all(text.isprintable() for text in shown)
    assert len(set(shown)) == len(set(lines))


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([b"a\r", b"a"], ["a\\r", "a"]),
        ([b"a ", b"a"], ["a\\x20", "a"]),
        ([b"C:\\rest"], ["C:\\rest"]),
        ([b"a\\r", b"a\r"], ["a\\\\r", "a\\r"]),
        (["é".encode(), "e\u0301".encode()], ["\\u00e9", "e\\u0301"]),
        (["a\u200bb".encode(), "\U0001d173".encode(), b"\xff\x1b"], ["a\\u200bb", "\\U0001d173", "\\xff\\x1b"]),
    ],
)
def test_what_differs_looks_different(lines: list[bytes], shown: list[str]) -> None:
    assert list(readable(lines)) == shown
