"""How the hostile fixtures are run and judged, on whatever runner: the same cases, and the verdicts they may get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.conformance.cases import Case, cases
from harness.engine.dispatch import Task
from harness.judge import judge
from harness.model.observation import Observation
from harness.model.verdict import Verdict
from harness.runners.base import Placement
from harness.wire import DEFAULT_TIMING, Expected, Timing
from tests.rig import Kept, execute, task

ALL = cases()
TIMING = replace(DEFAULT_TIMING, heartbeat=0.5, silence=2.5, patience=1.0)


def groups(*, bounded: bool) -> tuple[str, ...]:
    """What is run at once: a family; but those that attack their agent, or a limit, one by one."""
    return tuple(
        dict.fromkeys(
            case.name if case.family == "F15" or case.needs else case.family
            for case in ALL
            if bounded or not case.needs
        )
    )


def chosen(group: str) -> list[Case]:
    """The cases of a group."""
    return [case for case in ALL if group == case.name or (group == case.family and not case.needs)]


def tasks_of(case: Case, placement: Placement) -> list[Task]:
    expectation = case.expectation
    expect = Expected(stdout=(expectation.stdout,) if expectation.stdout else (), exit=expectation.exit)
    return [
        task(
            placement,
            case.name,
            payload=case.payload,
            timeout=case.timeout,
            output=case.output,
            expect=expect,
            attempt=attempt,
        )
        for attempt in range(1, case.repeat + 1)
    ]


def verdict_of(case: Case, kept: Kept) -> Verdict:
    outcomes = sorted(
        (outcome for outcome in kept.final if outcome.task.key[0] == case.name), key=lambda one: one.task.attempt
    )
    attempts = [
        Observation(
            fixture=case.name,
            fixture_digest="",
            cell=outcome.task.placement.cell.id,
            fingerprint="",
            attempt=outcome.task.attempt,
            ending=outcome.result.ending,
            code=outcome.result.code,
            stdout=outcome.result.stdout,
            stderr=outcome.result.stderr,
            leaked=outcome.result.leaked,
            lost=outcome.result.lost,
            duration_ns=outcome.result.duration_ns,
        )
        for outcome in outcomes
    ]
    streams = {digest: data for outcome in outcomes for digest, data in outcome.streams.items()}
    return judge(case.expectation, attempts, streams.get)


def unexpected(chosen: Sequence[Case], kept: Kept) -> dict[str, str]:
    """What went otherwise than the cases say, in words."""
    found = {}
    for case in chosen:
        verdict = verdict_of(case, kept)
        if (verdict.kind, verdict.reason) not in case.verdicts:
            found[case.name] = f"{verdict}: {verdict.message}"
    return found


def assert_verdicts(group: str, placement: Placement, timing: Timing = TIMING) -> Kept:
    """Each case of the group gets its verdict on this placement, and the jobs beside them notice nothing."""
    some = chosen(group)
    neighbours = [task(placement, f"neighbour {number}", f"print({number})") for number in range(4)]
    hostile = [each for case in some for each in tasks_of(case, placement)]
    kept = execute(*neighbours[:2], *hostile, *neighbours[2:], timing=timing)
    wrong = unexpected(some, kept)
    assert not wrong, wrong
    assert [kept.stdout(f"neighbour {number}") for number in range(4)] == [b"%d\n" % number for number in range(4)]
    assert len(kept.final) == len(hostile) + 4
    return kept
