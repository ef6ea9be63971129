"""A fixture has one declared expectation in each cell, and a digest that no other payload has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness.model.fixture import Fixture, Golden, Payload
from harness.model.rule import Rule

GENERAL = Golden(stdout=Path("expected.stdout"))
MUSL = Golden(stdout=Path("musl.stdout"), when=Rule.parse("libc=musl"), because="musl pads with blanks")
OLD = Golden(stdout=Path("old.stdout"), when=Rule.parse("python<3.12"), because="changed in 3.12")
FIXTURE = Fixture(
    id="fixtures/a",
    corpus="fixtures",
    program="main.py",
    files=(("main.py", Path("fixtures/a/main.py")),),
    goldens=(MUSL, OLD, GENERAL),
)


def test_the_first_golden_that_holds_is_the_declared_one() -> None:
    assert FIXTURE.golden_for({"libc": "musl", "python": "3.11"}) is MUSL
    assert FIXTURE.golden_for({"libc": "glibc", "python": "3.11"}) is OLD
    assert FIXTURE.golden_for({"libc": "glibc", "python": "3.12"}) is GENERAL
    assert FIXTURE.golden_for({}) is GENERAL
    assert replace(FIXTURE, goldens=(GENERAL,)).golden_for({"libc": "musl"}) is GENERAL


NAMES = st.sampled_from(["a", "b", "args", "env", "main.py", "1:"])
TEXTS = st.sampled_from(["", "a", "args", "env", "b", "a=b", "\udcff"])
PAYLOADS = st.builds(
    Payload,
    program=NAMES,
    files=st.lists(st.tuples(NAMES, st.sampled_from([b"", b"a", b"args", b"env"])), max_size=3).map(tuple),
    stdin=st.sampled_from([b"", b"a"]),
    args=st.lists(TEXTS, max_size=4).map(tuple),
    env=st.lists(st.tuples(NAMES, TEXTS), max_size=2).map(tuple),
)


@given(PAYLOADS, PAYLOADS)
def test_payloads_are_equal_if_their_digests_are(one: Payload, other: Payload) -> None:
    assert (one == other) is (one.digest == other.digest)


def test_a_file_is_not_mistaken_for_arguments() -> None:
    file = Payload(program="p", files=(("args", b"a"),))
    arguments = Payload(program="p", files=(), args=("a", "args"))
    assert file.digest != arguments.digest


def test_a_variable_is_not_mistaken_for_an_argument() -> None:
    variable = Payload(program="p", files=(), env=(("a", "b"),))
    argument = Payload(program="p", files=(), args=("env", "a=b"))
    assert variable.digest != argument.digest
