"""What is written can be read, and nothing else can."""

from __future__ import annotations

import importlib
import json
import math
import pkgutil
from dataclasses import dataclass, field, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import harness.model
from harness.model.cell import Facts, Matrix
from harness.model.codec import CodecError, decode, encode, from_json, to_json
from harness.model.fixture import Golden, Limits, Payload
from harness.model.observation import Ending, Observation, Stream
from harness.model.outline import Outline
from harness.model.platform import PythonTag
from harness.model.report import Coverage, RunInfo
from harness.model.rule import Rule
from harness.model.verdict import Kind, Verdict

# The bytes of fixtures and outputs live in files and in blobs; they are never written as JSON.
UNWRITTEN = {Payload, Outline}


def model_types() -> list[type[Any]]:
    modules = [
        importlib.import_module(f"harness.model.{each.name}") for each in pkgutil.iter_modules(harness.model.__path__)
    ]
    found = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and is_dataclass(value)
    }
    public = [
        each for each in found if each.__module__.startswith("harness.model.") and not each.__name__.startswith("_")
    ]
    return sorted(set(public) - UNWRITTEN - {Rule}, key=lambda each: each.__name__)


st.register_type_strategy(Rule, st.sampled_from(["libc=musl", "os=windows and python<3.13"]).map(Rule.parse))
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(int, st.integers(-(2**63), 2**63 - 1))
st.register_type_strategy(Path, st.sampled_from([Path("a"), Path("a/b.txt"), Path("/tmp/ü")]))


@pytest.mark.parametrize("wanted", model_types(), ids=lambda each: each.__name__)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_every_value_of_the_model_comes_back_from_its_json(wanted: type[Any], data: st.DataObject) -> None:
    value = data.draw(st.from_type(wanted))
    assert from_json(wanted, to_json(value)) == value


ENDINGS = "exited, signalled, timeout, output-limit, memory-limit, process-limit, disk-limit, lost"


STREAM = Stream(size=1, digest="d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    yes: bool = True
    whole: int = 1
    part: float = 0.5
    words: str = "ü\udcff"
    place: Path = Path("a/b")
    maybe: Ending | None = None
    many: tuple[int, ...] = (1, 2)
    pair: tuple[str, int] = ("a", 1)
    inner: Stream = STREAM
    inners: tuple[tuple[str, Stream], ...] = ()
    rule: Rule | None = None
    twice: int = field(init=False)

    def __post_init__(self) -> None:
        if self.whole == 13:
            raise ValueError("13 is refused")
        object.__setattr__(self, "twice", self.whole * 2)


def test_a_field_that_follows_from_the_others_is_not_written() -> None:
    assert "twice" not in encode(Everything())
    assert decode(Everything, encode(Everything(whole=4))).twice == 8


def test_the_text_of_a_value_is_the_same_however_a_number_was_spelled() -> None:
    assert to_json(Limits(timeout=5)) == to_json(Limits(timeout=5.0)) == '{"output":67108864,"timeout":5.0}'


def test_rules_paths_and_enums_are_written_as_their_texts() -> None:
    golden = Golden(stdout=Path("x") / "out", when=Rule.parse("libc=musl"))
    assert encode(golden) == {"stdout": "x/out", "stderr": None, "exit": 0, "when": "libc=musl", "because": ""}
    assert encode(Kind.NOT_REFUSED) == "not-refused"
    assert decode(Kind, "not-refused") is Kind.NOT_REFUSED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"yes": 1}, "yes: 1 is not true or false"),
        ({"whole": True}, "whole: True is not an integer of 64 bits"),
        ({"whole": 1.0}, "whole: 1.0 is not an integer of 64 bits"),
        ({"whole": 2**63}, "whole: 9223372036854775808 is not an integer of 64 bits"),
        ({"whole": 13}, "13 is refused"),
        ({"part": "1"}, "part: '1' is not a finite number"),
        ({"part": math.nan}, "part: nan is not a finite number"),
        ({"part": True}, "part: True is not a finite number"),
        ({"words": None}, "words: None is not text"),
        ({"words": ["x" * 99]}, "words: ['" + "x" * 55 + "... is not text"),
        ({"place": 1}, "place: 1 is not a path"),
        ({"maybe": "gone"}, "maybe: 'gone' is not one of " + ENDINGS),
        ({"maybe": ["lost"]}, "maybe: ['lost'] is not one of " + ENDINGS),
        ({"many": [1, 2, "3"]}, "many[2]: '3' is not an integer of 64 bits"),
        ({"many": {"0": 1}}, "many: {'0': 1} is not a list"),
        ({"pair": ["a"]}, "pair: ['a'] is not a list of 2"),
        ({"pair": ["a", "b"]}, "pair[1]: 'b' is not an integer of 64 bits"),
        ({"pair": "ab"}, "pair: 'ab' is not a list of 2"),
        ({"inner": []}, "inner: [] is not an object (Stream)"),
        ({"inner": {"size": 1}}, "inner.digest: missing"),
        ({"inner": {"size": 1, "digest": "d", "zeal": 1, "odd": 2}}, "inner.odd: unknown"),
        ({"inners": [["a", {"size": "1", "digest": "d"}]]}, "inners[0][1].size: '1' is not an integer of 64 bits"),
        ({"rule": "libc"}, "rule: expected one of = != < <= > >=, found the end"),
    ],
)
def test_json_that_does_not_fit_is_refused_with_its_dotted_path(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # the whole text is compared below
        decode(Everything, encode(Everything()) | change)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Everything(yes="no"), "yes: 'no' is not true or false"),  # type: ignore[arg-type]
        (Everything(place="a"), "place: 'a' is not a path"),  # type: ignore[arg-type]
        (Everything(many=[1]), "many: [1] is not a list"),  # type: ignore[arg-type]
        (Everything(inner=None), "inner: None is not of type Stream"),  # type: ignore[arg-type]
        (Everything(maybe="lost"), "maybe: 'lost' is not of type Ending"),  # type: ignore[arg-type]
        (Everything(inners=(("a", 1),)), "inners[0][1]: 1 is not of type Stream"),  # type: ignore[arg-type]
    ],
)
def test_a_value_that_is_not_of_its_declared_type_is_not_written(value: Everything, message: str) -> None:
    with pytest.raises(CodecError) as refused:
        encode(value)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ("", "not JSON"), ("[" * 100_000, "nested too deeply"), ("[]", r"\[\] is not an object")],
)
def test_text_that_is_no_value_is_refused(text: str, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        from_json(Stream, text)


def test_verdicts_within_verdicts_come_back() -> None:
    inner = Verdict(kind=Kind.LEAKED, normalised=("crlf",))
    outer = Verdict(kind=Kind.SIGNAL, details=(inner, Verdict(kind=Kind.DIVERGED, details=(inner,))))
    assert from_json(Verdict, to_json(outer)) == outer


class Number(Enum):
    ONE = 1


@dataclass(frozen=True)
class Unwritable:
    raw: bytes = b""


@dataclass(frozen=True)
class Ambiguous:
    either: int | str = 1


@dataclass(frozen=True)
class Counted:
    number: Number = Number.ONE


@pytest.mark.parametrize("value", [Unwritable(), Ambiguous(), Counted(), Ending, 1j])
def test_a_type_without_a_form_is_a_mistake_of_ours_and_says_so(value: object) -> None:
    with pytest.raises(TypeError):
        encode(value)


def test_the_text_is_ascii_with_sorted_keys_and_without_blanks() -> None:
    text = to_json(Everything())
    assert text.isascii()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_the_large_values_of_the_model_are_among_those_tried() -> None:
    assert {Matrix, Facts, Observation, PythonTag, RunInfo, Coverage} <= set(model_types())
