"""What a cell claims, what was measured in it, and where the two do not fit."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.cell import Cell, Facts, Normalisation, Tier
from harness.model.platform import Platform, PythonTag
from harness.model.rule import AXES

FACTS = Facts(
    os="linux",
    arch="x86_64",
    implementation="cpython",
    version="3.12.1",
    libc="musl",
    libc_version="1.2.4",
    bits=64,
    byteorder="little",
    executable="/usr/bin/python3",
)


def a_cell(id: str) -> Cell:
    platform, python = id.split("/")
    return Cell(platform=Platform.parse(platform), python=PythonTag.parse(python))


@pytest.mark.parametrize(
    ("tier", "gates", "label"),
    [
        (Tier.ONE, True, "tier 1"),
        (Tier.TWO, True, "tier 2"),
        (Tier.THREE, False, "tier 3"),
        (Tier.ADVISORY, False, "advisory"),
    ],
)
def test_tiers_one_and_two_gate_and_the_others_only_inform(tier: Tier, gates: bool, label: str) -> None:
    assert (tier.gates, tier.label) == (gates, label)


def test_a_normalisation_is_named_with_its_pattern() -> None:
    assert str(Normalisation(name="crlf")) == "crlf"
    assert str(Normalisation(name="regex", pattern="0x[0-9a-f]+", replacement="0x")) == "regex:0x[0-9a-f]+"


def test_a_cell_is_its_platform_and_its_interpreter() -> None:
    assert a_cell("linux-musl-x86_64/3.12").id == "linux-musl-x86_64/cp312"


def test_a_claim_says_only_what_its_name_says() -> None:
    assert a_cell("windows-amd64/cp313t").axes() == {
        "platform": "windows-amd64",
        "interpreter": "cp313t",
        "os": "windows",
        "arch": "x86_64",
        "implementation": "cpython",
        "python": "3.13",
        "build": "free-threaded",
    }
    assert a_cell("linux-musl-x86_64/gopy").axes() == {
        "platform": "linux-musl-x86_64",
        "interpreter": "gopy",
        "os": "linux",
        "libc": "musl",
        "arch": "x86_64",
    }


def test_facts_come_back_from_their_json() -> None:
    assert Facts.from_json(json.loads(json.dumps(FACTS.to_json()))) == FACTS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": "red"}, "unknown fact 'colour'"),
        ({"bits": "64"}, "fact 'bits' is not int"),
        ({"bits": True}, "fact 'bits' is not int"),
        ({"libc": None}, "fact 'libc' is not str"),
        ({"version": 3.12}, "fact 'version' is not str"),
    ],
)
def test_facts_that_are_none_are_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Facts.from_json(FACTS.to_json() | change)


def test_a_missing_fact_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a fact is missing: .*'os'"):
        Facts.from_json({"arch": "x86_64", "implementation": "cpython", "version": "3.12.1"})


def test_measured_axes_are_axes_of_rules_and_unmeasured_ones_are_absent() -> None:
    measured = FACTS.axes()
    assert measured.keys() <= AXES.keys()
    assert measured["patch"] == "3.12.1"
    assert measured["python"] == FACTS.series == "3.12"
    assert measured["bits"] == "64"
    assert "encoding" not in measured
    assert "bits" not in replace(FACTS, bits=0).axes()


def test_a_fingerprint_ignores_the_path_and_nothing_else() -> None:
    assert replace(FACTS, executable="/elsewhere/python").fingerprint == FACTS.fingerprint
    facts = FACTS.to_json()
    changed = [
        Facts.from_json({**facts, name: 32 if name == "bits" else "other"}) for name in facts if name != "executable"
    ]
    assert len({FACTS.fingerprint, *(other.fingerprint for other in changed)}) == len(changed) + 1


def test_a_cell_that_is_what_it_claims_has_no_contradiction() -> None:
    assert FACTS.contradictions(a_cell("linux-musl-x86_64/cp312")) == ()
    assert FACTS.contradictions(a_cell("linux-musl-amd64/gopy")) == ()
    assert replace(FACTS, libc="").contradictions(a_cell("linux-musl-x86_64/cp312")) == ()  # not measured


def test_each_contradiction_is_named() -> None:
    assert FACTS.contradictions(a_cell("linux-glibc-aarch64/pp311")) == (
        "libc is musl, claimed glibc",
        "arch is x86_64, claimed aarch64",
        "implementation is cpython, claimed pypy",
        "python is 3.12, claimed 3.11",
    )


@given(st.builds(Facts))
def test_facts_of_any_text_have_axes_a_fingerprint_and_an_opinion(facts: Facts) -> None:
    """They come from a cell, which may say anything."""
    assert all(facts.axes().values())
    assert len(facts.fingerprint) == 64
    assert isinstance(facts.contradictions(a_cell("linux-musl-x86_64/cp312")), tuple)
