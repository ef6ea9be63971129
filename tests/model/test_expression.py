"""One grammar for conditions and selections: total, exact about places, and never exhausting."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.expression import ExpressionError, Parser


class Letters(Parser[str]):
    """A word holds where it is contained in the subject."""

    token = re.compile(r"\s*(?:(?P<paren>[()])|(?P<word>[a-z]+))")
    what = "a test"

    def leaf(self) -> Callable[[str], bool]:
        word = self.take("word", "a word")[0]
        return lambda subject: word in subject


def holds(text: str, subject: str) -> bool:
    return Letters(text).parse()(subject)


@pytest.mark.parametrize(
    ("text", "true", "false"),
    [
        ("a", "a", "b"),
        ("not a", "b", "a"),
        ("not not a", "a", "b"),
        ("a and b", "ab", "a"),
        ("a or b", "b", "c"),
        ("a or b and c", "a", "b"),
        ("(a or b) and c", "bc", "a"),
        ("not (a or b)", "c", "b"),
        ("not a and b", "b", "ab"),
        (" ( a ) ", "a", "b"),
        ("a and b and c", "abc", "ab"),
        ("a or b or c", "c", "d"),
    ],
)
def test_and_binds_tighter_than_or_and_not_tighter_than_both(text: str, true: str, false: str) -> None:
    assert holds(text, true)
    assert not holds(text, false)


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("", 0, "a test is empty"),
        (" \n", 0, "a test is empty"),
        ("a  !", 3, "'!' has no meaning in a test"),
        ("a b", 2, "'b' is too much here; join conditions with 'and' or 'or'"),
        ("a)", 1, "')' is too much here; join conditions with 'and' or 'or'"),
        ("a and", 5, "expected a word, found the end"),
        ("a and (", 7, "expected a word, found the end"),
        ("()", 1, "expected a word, found ')'"),
        ("(a", 2, "expected ')', found the end"),
        ("(a b", 3, "expected ')', found 'b'"),
        ("not", 3, "expected a word, found the end"),
        ("(" * 51 + "a" + ")" * 51, 1, "more than 50 parentheses"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_place(text: str, offset: int, message: str) -> None:
    with pytest.raises(ExpressionError, match=re.escape(message)) as caught:
        Letters(text).parse()
    assert caught.value.offset == offset


def test_fifty_parentheses_and_any_number_of_words_are_read() -> None:
    assert holds("(" * 50 + "a" + ")" * 50, "a")
    assert holds("not " * 20_000 + "a", "a")
    assert holds("a and " * 20_000 + "a", "a")
    assert holds("b or " * 20_000 + "a", "a")


@given(st.text(alphabet="ab ()!\x00\u2003é\n", max_size=30) | st.text(max_size=20))
def test_every_text_is_an_expression_or_refused_at_a_place_within_it(text: str) -> None:
    offset = 0
    try:
        assert isinstance(holds(text, "a"), bool)
    except ExpressionError as error:
        offset = error.offset
    assert 0 <= offset <= len(text)


@given(st.recursive(st.sampled_from("abc"), lambda inner: st.tuples(inner, st.sampled_from(["and", "or"]), inner)))
def test_an_expression_means_what_python_means_by_it(tree: object) -> None:
    def written(node: object) -> str:
        return node if isinstance(node, str) else f"({written(node[0])} {node[1]} {written(node[2])})"  # type: ignore[index]

    text = written(tree)
    if text.count("(") > 50:
        return
    for subject in ("", "a", "b", "ab", "bc", "abc"):
        values = {letter: letter in subject for letter in "abc"}
        assert holds(text, subject) is bool(eval(text, {}, values))
