"""Conditions over facts: versions compare as versions, unknown facts satisfy nothing, and no text is a trap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.expression import ExpressionError
from harness.model.rule import AXES, VERSION_AXES, Rule

FACTS = {
    "os": "linux",
    "libc": "musl",
    "libc-version": "1.2.4",
    "arch": "x86_64",
    "bits": "64",
    "python": "3.9",
    "patch": "3.9.18",
    "build": "default",
}


@pytest.mark.parametrize(
    "text",
    [
        "libc=musl",
        "libc==musl",
        "libc!=glibc",
        "os=linux and python<3.13",
        "python<3.10",  # as text it would not be
        "python>=3.9",
        "python<=3.9",
        "patch>3.9.2",
        "patch>=3.9",
        "bits>32",
        "libc-version<1.10",
        "arch=amd64",  # one machine, two names
        "not (arch=aarch64 or bits=32)",
        "emulation!=qemu",  # unknown: differs from everything
    ],
)
def test_a_rule_holds_where_the_facts_say_so(text: str) -> None:
    rule = Rule.parse(text)
    assert rule.matches(FACTS)
    assert not Rule.parse(f"not ({text})").matches(FACTS)
    assert str(rule) == text


@pytest.mark.parametrize("op", ["=", "<", "<=", ">", ">="])
def test_an_unknown_fact_satisfies_nothing_but_being_different(op: str) -> None:
    assert not Rule.parse(f"python{op}3.12").matches({})
    assert not Rule.parse(f"python{op}3.12").matches({"python": ""})
    assert Rule.parse("python!=3.12").matches({})


def test_a_version_that_is_none_is_an_unknown_fact() -> None:
    assert not Rule.parse("libc-version<2.17").matches({"libc-version": "unknown"})
    assert Rule.parse("libc-version!=2.17").matches({"libc-version": "unknown"})


def test_zeros_at_the_end_of_a_version_do_not_count() -> None:
    assert Rule.parse("libc-version=2.36").matches({"libc-version": "2.36.0"})
    assert Rule.parse("patch<=3.12").matches({"patch": "3.12.0"})
    assert Rule.parse("patch=3.0").matches({"patch": "3"})


def test_equal_texts_are_equal_rules() -> None:
    assert Rule.parse("libc=musl") == Rule.parse("libc=musl")
    assert Rule.parse("libc=musl") != Rule.parse("libc = musl")
    assert len({Rule.parse("os=linux"), Rule.parse("os=linux")}) == 1


@pytest.mark.parametrize(
    ("text", "offset", "said"),
    [
        ("", 0, "a rule is empty"),
        ("lib=musl", 0, "'lib' is no fact; there are os, libc,"),
        ("os", 2, "expected one of = != < <= > >=, found the end"),
        ("os=", 3, "expected a value, found the end"),
        ("os=(", 3, "expected a value, found '('"),
        ("=musl", 0, "expected the name of a fact, found '='"),
        ("os<linux", 2, "os has no order; use = or !="),
        ("python<three", 7, "python compares as a version; 'three' is none"),
        ("python=3.", 7, "python compares as a version; '3.' is none"),
        ("os=linux;", 8, "';' has no meaning in a rule"),
        ("python<٣", 7, "'٣' has no meaning in a rule"),
    ],
)
def test_what_is_no_rule_is_refused_with_its_place(text: str, offset: int, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        Rule.parse(text)
    assert str(caught.value).startswith(said)
    assert caught.value.offset == offset


def test_versions_of_any_length_compare() -> None:
    """A measured version comes from a cell, which may say anything; integers of Python have a longest text."""
    long = "9" * 10_000
    assert Rule.parse(f"python<{long}").matches(FACTS)
    assert Rule.parse("python>3.12").matches({"python": f"3.{long}"})
    assert Rule.parse("python=3.12").matches({"python": "3.0012"})


def test_digits_of_other_scripts_are_no_version() -> None:
    assert not Rule.parse("python=3.12").matches({"python": "٣.١٢"})


WORDS = st.sampled_from([*AXES, "and", "or", "not", "(", ")", "=", "<", "!=", "3.12", "musl", "9" * 5000, "é", " "])
ANY_FACTS = st.dictionaries(st.sampled_from([*AXES]), st.text(max_size=10))


@given(st.text(max_size=30) | st.lists(WORDS, max_size=12).map(" ".join), ANY_FACTS)
def test_reading_and_asking_a_rule_raise_nothing_but_an_expression_error(text: str, facts: dict[str, str]) -> None:
    offset = 0
    try:
        assert isinstance(Rule.parse(text).matches(facts), bool)
    except ExpressionError as error:
        offset = error.offset
    assert 0 <= offset <= len(text)


VERSIONS = st.lists(st.integers(0, 30), min_size=1, max_size=3)


@given(st.sampled_from(sorted(VERSION_AXES)), VERSIONS, VERSIONS)
def test_versions_are_ordered_as_their_numbers_are(axis: str, one: list[int], other: list[int]) -> None:
    left, right = (".".join(map(str, version)) for version in (one, other))
    padded = [version + [0] * (3 - len(version)) for version in (one, other)]
    facts = {axis: left}
    assert Rule.parse(f"{axis}<{right}").matches(facts) is (padded[0] < padded[1])
    assert Rule.parse(f"{axis}<={right}").matches(facts) is (padded[0] <= padded[1])
    assert Rule.parse(f"{axis}={right}").matches(facts) is (padded[0] == padded[1])
    assert Rule.parse(f"{axis}!={right}").matches(facts) is (padded[0] != padded[1])
    assert Rule.parse(f"{axis}>{right}").matches(facts) is (padded[0] > padded[1])
    assert Rule.parse(f"{axis}>={right}").matches(facts) is (padded[0] >= padded[1])
