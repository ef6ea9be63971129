"""One run, from a loaded project to its report: survey, plan, prepare, dispatch, conclude.

Everything observed is in the store before it counts, so that a run killed at any moment can be resumed.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from harness import __version__
from harness.conclude import Evidence, conclude
from harness.engine.cells import Surveyed, survey
from harness.engine.dispatch import Dispatcher, Task, Work
from harness.engine.goldens import Goldens
from harness.engine.options import Options, options_from_json, options_to_json
from harness.engine.oracle import ask_commands
from harness.engine.prepare import prepare
from harness.engine.project import Project
from harness.engine.record import Recorder
from harness.errors import NothingRan, Problem, UsageError
from harness.fixtures import read_payload
from harness.judge import Expectation, judge
from harness.model.cell import Tier
from harness.model.fixture import Fixture
from harness.model.observation import Observation
from harness.model.report import CellReport, FixtureReport, Report, RunInfo
from harness.model.verdict import Kind, Verdict
from harness.plan import Plan, PlannedJob, Selection, plan, select_cells, select_fixtures
from harness.runners.base import Placement, Runner
from harness.store.database import RunRecord, Store
from harness.wire import Expected

Key = tuple[str, str]


class Listener(Protocol):
    """Hears of a run as it goes; all calls come from one thread."""

    def began(self, run: str) -> None:
        """The run is in the store under this id: from now on it can be resumed."""

    def surveyed(self, cells: Sequence[CellReport]) -> None:
        """The cells have been placed and measured."""

    def planned(self, jobs: int, cells: int) -> None:
        """So many executions will be dispatched, to so many cells."""

    def judged(self, key: Key, verdict: Verdict) -> None:
        """One execution has come in. For corpora judged by other cells the verdict is preliminary."""


@dataclass(kw_only=True, eq=False)
class _Run:
    """The state of a run under way."""

    project: Project
    options: Options
    store: Store
    listener: Listener
    record: RunRecord
    began: float
    resumed: int = 0
    done: dict[tuple[str, str, str, str, int], Observation] = field(default_factory=dict)
    durations: Mapping[Key, int] = field(default_factory=dict)


def start(
    project: Project,
    options: Options,
    store: Store,
    runners: Mapping[str, Runner],
    dispatcher: Dispatcher,
    listener: Listener,
) -> Report:
    """Begin a run and bring it to its report. Raises UsageError or NothingRan before anything is run."""
    _refuse_nothing(project, options.selection)
    now = datetime.now(UTC)
    record = RunRecord(
        id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
        started=now.isoformat(timespec="seconds"),
        arguments=options.arguments,
        inputs=_inputs(project),
        selection=options_to_json(options),
    )
    store.begin(record)
    return _execute(
        _Run(project=project, options=options, store=store, listener=listener, record=record, began=time.monotonic()),
        runners,
        dispatcher,
    )


def resume(
    project: Project,
    run_id: str | None,
    store: Store,
    runners: Mapping[str, Runner],
    dispatcher: Dispatcher,
    listener: Listener,
) -> Report:
    """Go on with an unfinished run (the newest, without an id), doing only what is not recorded yet."""
    unfinished = store.unfinished()
    if not unfinished:
        raise NothingRan(Problem(id="H0503", message="no run was interrupted"))
    record = next((one for one in unfinished if run_id in (None, one.id)), None)
    if record is None:
        message = f"{run_id!r} is no interrupted run; there are {', '.join(one.id for one in unfinished[:5])}"
        raise UsageError(Problem(id="H0006", message=message))
    if record.inputs != _inputs(project):
        message = f"{project.matrix.path} has changed since run {record.id} began"
        raise UsageError(Problem(id="H0006", message=message))
    options = options_from_json(record.selection)
    observations = store.observations(record.id)
    return _execute(
        _Run(
            project=project,
            options=options,
            store=store,
            listener=listener,
            record=record,
            began=time.monotonic(),
            resumed=len(observations),
            done={seen.key: seen for seen in observations},
        ),
        runners,
        dispatcher,
    )


def _refuse_nothing(project: Project, selection: Selection) -> None:
    """An empty selection is an answer of its own, and must not cost a survey."""
    cells = select_cells(project.matrix.cells, selection)
    if not project.fixtures:
        paths = ", ".join(corpus.path for corpus in project.matrix.corpora)
        raise NothingRan(Problem(id="H0501", message=f"no fixture in {paths}"))
    fixtures = select_fixtures(project.fixtures, selection)
    if not fixtures or not cells or selection.only_jobs == frozenset():
        raise NothingRan(Problem(id="H0502", message="no job is left after the selection"))


def _inputs(project: Project) -> str:
    return hashlib.sha256(Path(project.matrix.path).read_bytes()).hexdigest()


@contextlib.contextmanager
def _few_collections() -> Iterator[None]:
    """Look for garbage cycles seldom: a run makes many small values that all live to its end, and hardly a cycle."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@_few_collections()
def _execute(run: _Run, runners: Mapping[str, Runner], dispatcher: Dispatcher) -> Report:
    run.listener.began(run.record.id)
    run.durations = run.store.durations()
    run.store.keep(b"")  # what a silent program says never travels, and is to be shown all the same
    selected = select_cells(run.project.matrix.cells, run.options.selection)
    surveyed = survey(selected, runners, dispatcher)
    run.listener.surveyed([one.report for one in surveyed])
    facts = {one.report.cell.id: one.facts for one in surveyed if one.facts and one.placement}
    planned = plan(run.project.matrix.cells, run.project.fixtures, run.options.selection, facts)
    prepared, failed = prepare(run.project, _needed(planned, surveyed), run.store.folder)
    planned = replace(planned, jobs=tuple(_with_program(job, prepared) for job in planned.jobs))
    goldens = Goldens(run.store)
    usable = {one.report.cell.id: one.placement for one in surveyed if one.placement}
    broken = {one.fixture for one in failed}
    runnable = [
        job for job in planned.jobs if job.skip is None and job.cell.id in usable and job.fixture.id not in broken
    ]
    expectations = {job.key: goldens.expectation(job) for job in runnable}
    expectations |= ask_commands(run.project, runnable, expectations, dispatcher, run.store)
    observations = _dispatch(run, runnable, expectations, surveyed, dispatcher, goldens)
    dispatcher.dismiss()
    return _conclude(run, planned, surveyed, expectations, observations, failed, goldens)


def _needed(planned: Plan, surveyed: Sequence[Surveyed]) -> tuple[Fixture, ...]:
    """The fixtures that some cell will really run."""
    usable = {one.report.cell.id for one in surveyed if one.placement}
    needed = {job.fixture.id for job in planned.jobs if job.skip is None and job.cell.id in usable}
    return tuple(fixture for fixture in planned.fixtures if fixture.id in needed)


def _with_program(job: PlannedJob, prepared: Mapping[str, Fixture]) -> PlannedJob:
    return replace(job, fixture=prepared[job.fixture.id]) if job.fixture.id in prepared else job


def _dispatch(
    run: _Run,
    jobs: Sequence[PlannedJob],
    expectations: Mapping[Key, Expectation],
    surveyed: Sequence[Surveyed],
    dispatcher: Dispatcher,
    goldens: Goldens,
) -> Mapping[Key, Sequence[Observation]]:
    """Run what is not recorded yet; return all observations of the run by job, attempts in order."""
    placements = {one.report.cell.id: one.placement for one in surveyed if one.placement}
    fingerprints = {one.report.cell.id: one.facts.fingerprint for one in surveyed if one.facts}
    gating = {one.report.cell.id for one in surveyed if one.report.cell.tier.gates}
    failures: set[Key] = set()

    def judged(key: Key, observation: Observation) -> Verdict:
        verdict = judge(expectations[key], [observation], goldens.fetch)
        if verdict.kind.is_failure and key[1] in gating:
            failures.add(key)
        return verdict

    def is_enough() -> bool:
        return bool(run.options.max_failures) and len(failures) >= run.options.max_failures

    def heard(key: Key, observation: Observation) -> bool:
        run.listener.judged(key, judged(key, observation))
        return is_enough()

    recorder = Recorder(store=run.store, run_id=run.record.id, fingerprints=fingerprints, heard=heard)
    tasks = []
    for job in _longest_first(jobs, run):
        placement = placements[job.cell.id]
        assert placement is not None
        for attempt in range(1, run.options.repeat + 1):
            known = _known(run, job, fingerprints[job.cell.id], attempt)
            if known is not None:
                recorder.observations.setdefault(job.key, []).append(known)
                judged(job.key, known)
            else:
                tasks.append(_task(run, job, placement, attempt, expectations[job.key]))
    run.listener.planned(len(tasks), len(placements))
    if not is_enough():  # a run that had stopped at a failure does not go on when it is resumed
        dispatcher.execute(tasks, recorder, may_stop=run.options.max_failures > 0)
    for attempts in recorder.observations.values():
        attempts.sort(key=lambda seen: abs(seen.attempt))
    return recorder.observations


def _known(run: _Run, job: PlannedJob, fingerprint: str, attempt: int) -> Observation | None:
    """What an earlier part of this run has recorded of an execution; None when it has to be done."""
    if not run.done:
        return None
    digest = read_payload(job.fixture).digest
    return run.done.get((job.fixture.id, job.cell.id, digest, fingerprint, attempt))


def _task(run: _Run, job: PlannedJob, placement: Placement, attempt: int, expectation: Expectation) -> Task:
    limits = job.fixture.limits
    timeout = run.options.timeout or limits.timeout
    expected = Expected(
        stdout=(expectation.stdout,) if expectation.stdout else (), stderr=expectation.stderr, exit=expectation.exit
    )
    return Task(
        key=job.key,
        attempt=attempt,
        placement=placement,
        load=partial(_load, job.fixture, expected),
        timeout=timeout * job.cell.timeout_scale,
        output=limits.output,
    )


def _load(fixture: Fixture, expected: Expected) -> Work:
    return Work(payload=read_payload(fixture), expect=expected)


def _longest_first(jobs: Sequence[PlannedJob], run: _Run) -> list[PlannedJob]:
    """Long jobs first, so that the end is not spent waiting for one; unknown ones count as average."""
    known = run.durations
    first = run.options.selection.first_jobs
    average = sum(known.values()) / len(known) if known else 0.0
    return sorted(jobs, key=lambda job: (job.key not in first, -known.get(job.key, average)))


def _conclude(
    run: _Run,
    planned: Plan,
    surveyed: Sequence[Surveyed],
    expectations: Mapping[Key, Expectation],
    observations: Mapping[Key, Sequence[Observation]],
    failed: tuple[FixtureReport, ...],
    goldens: Goldens,
) -> Report:
    durations = tuple(
        (*key, round(sum(one.duration_ns for one in attempts) / 1e9, 6))
        for key, attempts in sorted(observations.items())
    )
    info = RunInfo(
        id=run.record.id,
        started=run.record.started,
        duration=round(time.monotonic() - run.began, 3),
        version=__version__,
        arguments=run.options.arguments,
        config=run.options.config,
        resumed=run.resumed,
        durations=durations,
    )
    evidence = Evidence(
        run=info,
        cells=tuple(one.report for one in surveyed),
        plan=planned,
        oracles=run.project.oracles,
        expectations=expectations,
        observations=observations,
        failed=failed,
        notes=_notes(surveyed),
        require=run.options.require,
    )
    report = conclude(evidence, goldens.fetch)
    goldens.keep(report)
    run.store.finish(run.record.id, report)
    return report


def _notes(surveyed: Sequence[Surveyed]) -> tuple[str, ...]:
    """What a user should do next when no gating cell could be verified here."""
    left_out = tuple(
        f"{cell.cell.id} runs without {one.machine}: {one.verdict.reason or one.verdict.kind.value}: {one.verdict.message}"
        for cell in (each.report for each in surveyed)
        for one in cell.left_out
    )
    gating = [one for one in surveyed if one.report.cell.tier is Tier.ONE]
    if not gating or any(one.report.is_verified for one in gating):
        return left_out
    nearest = next((one for one in gating if one.mend and one.report.verdict), None)
    if nearest is None or nearest.report.verdict is None or nearest.report.verdict.kind is not Kind.UNAVAILABLE:
        return (*left_out, "no cell of tier 1 was verified")
    return (
        *left_out,
        f"no cell of tier 1 was verified: {nearest.report.verdict.message}; get it with `{nearest.mend}`",
    )
