"""Concluding: from everything a run planned and observed to its report. Pure but for ``fetch``, which gives bytes.

Here the oracles speak: a golden or a command gives each job its expectation, a reference cell or a consensus gives
it to all cells of a fixture. Every planned job ends in exactly one verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.divergence.classes import classify, rank_of
from harness.errors import CellUnavailable
from harness.judge import NO_MAJORITY, Expectation, Fetch, essence_of, is_bad, judge
from harness.model.cell import Oracle, Tier
from harness.model.observation import Ending, Observation
from harness.model.report import (
    WORDS,
    CellReport,
    Coverage,
    Divergence,
    FixtureReport,
    JobReport,
    Report,
    RunInfo,
    worst_exit,
)
from harness.model.verdict import Kind, Verdict
from harness.plan import Plan, PlannedJob

Key = tuple[str, str]
REQUIREMENTS = ("available", "tier-1", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a run has in hand when it ends.

    ``expectations`` are by (fixture id, cell id); for corpora judged by other cells their stdout is empty and
    ``oracles`` (by corpus path) says who speaks. ``observations`` are in the order of their attempts. ``failed``
    are fixtures that could not be prepared; ``notes`` become warnings of the report.
    """

    run: RunInfo
    cells: tuple[CellReport, ...]
    plan: Plan
    oracles: Mapping[str, Oracle]
    expectations: Mapping[Key, Expectation]
    observations: Mapping[Key, Sequence[Observation]]
    failed: tuple[FixtureReport, ...] = ()
    notes: tuple[str, ...] = ()
    require: str = "available"


def conclude(evidence: Evidence, fetch: Fetch) -> Report:
    """Judge every job, gather divergences and coverage, and settle the exit status and the sentence."""
    by_fixture: dict[str, list[PlannedJob]] = {}
    for job in evidence.plan.jobs:
        by_fixture.setdefault(job.fixture.id, []).append(job)
    broken = {one.fixture: one for one in evidence.failed}
    unusable = {cell.cell.id: cell.verdict for cell in evidence.cells if cell.verdict is not None}
    jobs: list[JobReport] = []
    fixtures: list[FixtureReport] = list(evidence.failed)
    divergences: list[Divergence] = []
    rank = rank_of(evidence.cells)
    for fixture, planned in sorted(by_fixture.items()):
        if fixture in broken:
            failed = Verdict(kind=Kind.SKIPPED, reason="prepare-failed", message=broken[fixture].message)
            jobs += [_settled(job, unusable.get(job.cell.id, failed)) for job in _by_cell(planned)]
            continue
        reports = _judge_fixture(planned, evidence, unusable, fetch)
        jobs += reports
        differing = [report for report in reports if _has(report.verdict, Kind.DIVERGED)]
        if not differing:
            continue
        outputs = {
            report.cell: report.observation.stdout for report in reports if report.observation and _spoke(report)
        }
        divergence = classify(fixture, differing[0].expected, outputs, rank)
        if divergence is None:
            continue
        divergences.append(divergence)
        # A cell that confirms its own variant of the golden speaks for it, even if all cells say the same.
        denied = {report.cell for report in differing} >= outputs.keys()
        if denied and evidence.oracles[planned[0].fixture.corpus].kind == "golden":
            fixtures += _drifted(divergence)
    fixtures.sort(key=lambda one: one.fixture)
    coverage = _coverage(evidence, jobs)
    exit_code = _exit_code(evidence, jobs, fixtures, coverage)
    return Report(
        run=evidence.run,
        cells=evidence.cells,
        jobs=tuple(jobs),
        fixtures=tuple(fixtures),
        divergences=tuple(divergences),
        coverage=coverage,
        warnings=evidence.notes,
        exit_code=exit_code,
        sentence=_sentence(jobs, evidence, coverage, exit_code),
    )


def _judge_fixture(
    planned: Sequence[PlannedJob], evidence: Evidence, unusable: Mapping[str, Verdict], fetch: Fetch
) -> list[JobReport]:
    """The reports of one fixture's jobs: expectations first, since an oracle may be one of the cells."""
    oracle = evidence.oracles[planned[0].fixture.corpus]
    answers = {
        job.key: _first_finished(evidence.observations.get(job.key, ()))
        for job in planned
        if job.cell.id not in unusable
    }
    reports = []
    for job in _by_cell(planned):
        verdict = unusable.get(job.cell.id, job.skip)
        attempts = evidence.observations.get(job.key, ())
        if verdict is None and not attempts:
            verdict = Verdict(kind=Kind.SKIPPED, reason="deselected", message="not run: the run was stopped before it")
        if verdict is not None:
            reports.append(_settled(job, verdict))
            continue
        finished = [attempt for attempt in attempts if attempt.ending is not Ending.LOST]
        declared = evidence.expectations[job.key]
        asked = _asked(oracle, job, evidence.expectations, answers, fetch)
        # Without an answer to compare with, what ends badly by itself is told all the same.
        expectation = asked or replace(declared, stdout="", exit=_status(finished[0]) if finished else 0)
        verdict = judge(expectation, attempts, fetch)
        if asked is None and verdict.kind.is_pass:
            reports.append(_settled(job, _no_oracle(oracle)))
            continue
        shown = next((one for one in finished if is_bad(expectation, one, fetch)), (finished or list(attempts))[0])
        reports.append(
            JobReport(
                fixture=job.fixture.id,
                cell=job.cell.id,
                verdict=verdict,
                expected="" if expectation.stdout == NO_MAJORITY else expectation.stdout,
                expected_exit=expectation.exit,
                observation=replace(shown, duration_ns=0),  # how fast belongs to the run, not to the answer
                attempts=len(finished),
            )
        )
    return reports


def _asked(
    oracle: Oracle,
    job: PlannedJob,
    expectations: Mapping[Key, Expectation],
    answers: Mapping[Key, Observation | None],
    fetch: Fetch,
) -> Expectation | None:
    """What the oracle says a job must do; None when it has nothing to say."""
    declared = expectations[job.key]
    if oracle.kind in ("golden", "command"):
        return declared if declared.stdout else None
    if oracle.kind == "reference":
        answer = answers.get((job.fixture.id, oracle.cell))
        if answer is None:
            return None
        return replace(declared, stdout=answer.stdout.digest, exit=_status(answer))
    return _consensus(declared, {key: one for key, one in answers.items() if one is not None}, expectations, fetch)


def _consensus(
    declared: Expectation,
    answers: Mapping[Key, Observation],
    expectations: Mapping[Key, Expectation],
    fetch: Fetch,
) -> Expectation | None:
    """What most cells say once each is normalised as it is judged; None when fewer than two say anything."""
    if len(answers) < 2:
        return None
    votes: dict[tuple[str, int], list[str]] = {}
    for key, answer in sorted(answers.items()):
        essence = essence_of(answer.stdout.digest, expectations[key].normalise, fetch)
        votes.setdefault((essence, _status(answer)), []).append(answer.stdout.digest)
    (essence, status), digests = max(votes.items(), key=lambda vote: len(vote[1]))
    if len(digests) * 2 <= len(answers):
        return replace(declared, stdout=NO_MAJORITY, exit=declared.exit)
    # What is the same before and after it was normalised suits every cell, whatever that cell normalises.
    digest = essence if essence in digests else Counter(digests).most_common(1)[0][0]
    return replace(declared, stdout=digest, exit=status)


def _status(observation: Observation) -> int:
    return -observation.code if observation.ending is Ending.SIGNALLED else observation.code


def _no_oracle(oracle: Oracle) -> Verdict:
    messages = {
        "golden": "there is no golden output",
        "command": "the oracle's command gave no answer",
        "reference": f"the reference cell {oracle.cell} gave no answer",
        "consensus": "a consensus needs two cells",
    }
    return Verdict(kind=Kind.SKIPPED, reason="no-oracle", message=messages[oracle.kind])


def _first_finished(attempts: Sequence[Observation]) -> Observation | None:
    return next((one for one in attempts if one.ending in (Ending.EXITED, Ending.SIGNALLED) and not one.leaked), None)


def _by_cell(planned: Sequence[PlannedJob]) -> list[PlannedJob]:
    return sorted(planned, key=lambda job: job.cell.id)


def _settled(job: PlannedJob, verdict: Verdict) -> JobReport:
    return JobReport(fixture=job.fixture.id, cell=job.cell.id, verdict=verdict)


def _has(verdict: Verdict, kind: Kind) -> bool:
    return verdict.kind is kind or any(detail.kind is kind for detail in verdict.details)


def _spoke(report: JobReport) -> bool:
    """Whether the job's output is whole, so that it may stand in a class."""
    observation = report.observation
    return observation is not None and observation.ending in (Ending.EXITED, Ending.SIGNALLED)


def _drifted(divergence: Divergence) -> list[FixtureReport]:
    """Two or more cells agree with each other, and none with the golden: the golden may be stale."""
    cells = len(divergence.classes[0].cells)
    if len(divergence.classes) != 1 or cells < 2:
        return []
    message = f"all {cells} cells agree with each other and none with the golden: it may be stale"
    return [FixtureReport(fixture=divergence.fixture, result="drifted", message=message)]


def _coverage(evidence: Evidence, jobs: Sequence[JobReport]) -> Coverage:
    tiers = {cell.cell.id: cell.cell.tier for cell in evidence.cells}
    lost = {job.cell for job in jobs if job.verdict.kind is Kind.LOST}
    unverified = {cell.cell.id: str(cell.verdict) for cell in evidence.cells if cell.verdict is not None}
    unverified |= {cell: "lost" for cell in lost if cell not in unverified}
    return Coverage(
        planned=len(jobs),
        executed=sum(job.attempts > 0 for job in jobs),
        skipped=sum(job.verdict.kind is Kind.SKIPPED for job in jobs),
        unverified=tuple(sorted(unverified.items())),
        unverified_gating=tuple(sorted(cell for cell in unverified if tiers[cell] is Tier.ONE)),
    )


def _exit_code(
    evidence: Evidence, jobs: Sequence[JobReport], fixtures: Sequence[FixtureReport], coverage: Coverage
) -> int:
    codes: set[int] = set()
    gating = _gating(evidence)
    if any(job.verdict.kind.is_failure and job.cell in gating for job in jobs) or any(
        fixture.is_failure for fixture in fixtures
    ):
        codes.add(1)
    if any(job.verdict.kind in (Kind.LOST, Kind.MISPLACED) and job.cell in gating for job in jobs):
        codes.add(3)
    if any(verdict.reason in CellUnavailable.REFUSALS for cell in evidence.cells for verdict in _troubles(cell)):
        codes.add(5)
    if coverage.unverified_gating and evidence.require == "tier-1":
        codes.add(3)
    if coverage.unverified and evidence.require == "all":
        codes.add(3)
    if not coverage.executed:
        codes.add(4)
    return worst_exit(codes)


def _troubles(cell: CellReport) -> list[Verdict]:
    """Why the cell, or one of its machines, could not be used."""
    return [*([cell.verdict] if cell.verdict else []), *(one.verdict for one in cell.left_out)]


def _gating(evidence: Evidence) -> frozenset[str]:
    return frozenset(cell.cell.id for cell in evidence.cells if cell.cell.tier.gates)


def _sentence(jobs: Sequence[JobReport], evidence: Evidence, coverage: Coverage, exit_code: int) -> str:
    """The verdict in words: what was asked, what failed, what stays open."""
    kinds = Counter(job.verdict.kind for job in jobs)
    executed = coverage.executed
    cells = len({job.cell for job in jobs if job.attempts})
    failing = [job for job in jobs if job.verdict.kind.is_failure]
    parts = []
    if not executed:
        parts.append("no job could be executed")
    elif failing:
        counted = ", ".join(f"{kinds[kind]} {kind.value}" for kind in Kind if kinds[kind] and kind.is_failure)
        parts.append(f"{len(failing)} of {_count(executed, 'job')} in {_count(cells, 'cell')} failed ({counted})")
        if exit_code and _gating(evidence).isdisjoint(job.cell for job in failing):
            parts.append("none of them in a cell that gates")
    else:
        parts.append(f"{_count(executed, 'job')} in {_count(cells, 'cell')} as declared")
    unprepared = sum(fixture.is_failure for fixture in evidence.failed)
    if unprepared:
        parts.append(f"{_count(unprepared, 'fixture')} could not be prepared")
    if kinds[Kind.LOST]:
        parts.append(f"{_count(kinds[Kind.LOST], 'job')} lost")
    if coverage.unverified:
        parts.append(f"{len(coverage.unverified)} of {_count(len(evidence.cells), 'cell')} not verified")
    # A failure that gates nothing leaves the exit status at 0, but not all agree.
    words = WORDS[exit_code] if exit_code or not failing else "nothing that gates failed"
    return f"{words}: {'; '.join(parts)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
