"""The hostile fixtures on a real Windows CPython: each gets its verdict, its neighbours notice nothing, nothing is left."""

from __future__ import annotations

import pytest

from harness.conformance.cases import Case, cases
from harness.conformance.windows import IMPOSSIBLE, why_not, windows_cases
from tests.conformance.suite import TIMING, tasks_of, unexpected
from tests.rig import execute, task
from tests.wine import Wine

ALL = windows_cases()
GROUPS = tuple(dict.fromkeys(case.name if case.family == "F15" else case.family for case in ALL if not case.needs))


@pytest.mark.parametrize("group", GROUPS)
def test_a_hostile_fixture_gets_its_verdict_and_its_neighbours_notice_nothing(group: str, wine: Wine) -> None:
    chosen = [case for case in ALL if group in (case.family, case.name) and not case.needs]
    # The other version asks Windows for its parent in a way that wine lacks, which ends it.
    placement = wine.serve(slots=1 if any(case.after for case in chosen) else 4, version="3.13.0")
    neighbours = [task(placement, f"neighbour {number}", f"print({number})") for number in range(4)]
    hostile = [each for case in chosen for each in tasks_of(case, placement)]
    kept = execute(*neighbours[:2], *hostile, *neighbours[2:], timing=TIMING)
    assert unexpected(chosen, kept) == {}
    assert [kept.stdout(f"neighbour {number}") for number in range(4)] == [b"%d\r\n" % number for number in range(4)]
    assert len(kept.final) == len(hostile) + 4


@pytest.mark.parametrize(
    "case",
    [case for case in cases() if case.needs or (why_not(case) and "signal" not in case.name)],
    ids=lambda case: case.name,
)
def test_what_cannot_be_tried_there_has_its_reason(case: Case) -> None:
    pytest.skip(why_not(case) or f"{case.because}, which takes a {case.needs}")


def test_every_case_runs_there_or_has_a_reason_and_every_reason_a_case() -> None:
    left_out = [case.name for case in cases() if why_not(case)]
    assert sorted([*left_out, *(case.name for case in ALL)]) == sorted(case.name for case in cases())
    assert all(any(name.startswith(beginning) for name in left_out) for beginning in IMPOSSIBLE)
