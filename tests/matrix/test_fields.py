"""Field types: what the broken inputs do not reach."""

from __future__ import annotations

import pytest
from pydantic import Field

from harness.document import parse
from harness.errors import InputError
from harness.matrix.fields import Closed, Normalise, PythonText, RuleField, Substitution, Word, normalisations


class Sample(Closed):
    """Some fields."""

    python: PythonText = "3.12"
    when: RuleField | None = None
    normalise: Normalise = Field(default_factory=list)
    word: Word = ""


def complaint(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse(text.encode(), "x").validate(Sample)
    return str(caught.value)


def test_a_model_can_be_made_without_a_file() -> None:
    assert Substitution(regex="a").replacement == ""
    assert Sample.model_validate({"word": "x"}).word == "x"


@pytest.mark.parametrize(("written", "kept"), [("3.12", "3.12"), ("3.10", "3.10"), ("'3.1'", "3.1"), ("2.7", "2.7")])
def test_a_version_is_the_text_that_was_written(written: str, kept: str) -> None:
    assert parse(f"python: {written}".encode(), "x").validate(Sample).python == kept


@pytest.mark.parametrize("digits", ["3.١٢", "3." + "9" * 5000])
def test_a_version_is_made_of_few_ascii_digits(digits: str) -> None:
    assert "error[H0202]: x:1:9: python: " in complaint(f"python: '{digits}'")


def test_an_odd_but_valid_regular_expression_is_no_warning() -> None:
    sample = parse(b"normalise: [{regex: '[[a]'}, crlf]", "x").validate(Sample)
    assert [str(one) for one in normalisations(sample.normalise)] == ["regex:[[a]", "crlf"]


@pytest.mark.parametrize("pattern", ["(" * 5000 + ")" * 5000, "a{99999999999999999999}", "\\u00e9"])
def test_a_regular_expression_that_python_cannot_compile_is_refused(pattern: str) -> None:
    assert complaint(f"normalise: [{{regex: '{pattern}'}}]").startswith("error[H0216]: x:1:21: normalise[0].regex: ")


def test_a_rule_says_where_it_stopped() -> None:
    assert complaint("when: libc=musl or").endswith("(character 13 of the rule)")
