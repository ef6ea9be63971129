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
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from harness import __version__
from harness.conclude import Evidence, conclude
from harness.engine.cells import Surveyed, survey
from harness.engine.dispatch import Dispatcher
from harness.engine.goldens import Goldens
from harness.engine.options import Options, options_from_json, options_to_json
from harness.engine.project import Project
from harness.engine.record import Recorder
from harness.engine.stage import Setting, Stage, task_of
from harness.errors import NothingRan, Problem, UsageError
from harness.fixtures import read_payload
from harness.judge import judge
from harness.model.cell import Tier
from harness.model.observation import Observation
from harness.model.report import CellReport, Report, RunInfo
from harness.model.verdict import Kind, Verdict
from harness.plan import PlannedJob, Selection, select_cells, select_fixtures
from harness.runners.base import Runner
from harness.store.database import RunRecord, Store

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
    record = new_record(project, options)
    store.begin(record)
    return _execute(
        _Run(project=project, options=options, store=store, listener=listener, record=record, began=time.monotonic()),
        runners,
        dispatcher,
    )


def new_identity() -> tuple[str, str]:
    """The id of a run that begins now, and its start (ISO 8601 in UTC)."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}", now.isoformat(timespec="seconds")


def new_record(project: Project, options: Options, identity: tuple[str, str] | None = None) -> RunRecord:
    """The record of a run that begins now, or of a part of one that has begun under this id and at this time."""
    name, started = identity or new_identity()
    return RunRecord(
        id=name,
        started=started,
        arguments=options.arguments,
        inputs=_inputs(project),
        selection=options_to_json(options),
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
    project, selection = run.project, run.options.selection
    surveyed = survey(select_cells(project.matrix.cells, selection), runners, dispatcher)
    run.listener.surveyed([one.report for one in surveyed])
    goldens = Goldens(run.store)
    setting = Setting(project=project, store=run.store, dispatcher=dispatcher, goldens=goldens)
    stage = setting.stage(
        project.matrix.cells, project.fixtures, selection, {one.report.cell.id: one for one in surveyed}
    )
    observations = _dispatch(run, stage, surveyed, dispatcher, goldens)
    dispatcher.dismiss()
    evidence = Evidence(
        run=run_info(run.record, run.options, observations, seconds=time.monotonic() - run.began, resumed=run.resumed),
        cells=tuple(one.report for one in surveyed),
        plan=stage.plan,
        oracles=project.oracles,
        expectations=stage.expectations,
        observations=observations,
        failed=stage.failed,
        notes=notes(surveyed),
        require=run.options.require,
    )
    return finish(run.store, evidence, goldens)


def _dispatch(
    run: _Run, stage: Stage, surveyed: Sequence[Surveyed], dispatcher: Dispatcher, goldens: Goldens
) -> Mapping[Key, Sequence[Observation]]:
    """Run what is not recorded yet; return all observations of the run by job, attempts in order."""
    placements = {one.report.cell.id: one.placement for one in surveyed if one.placement}
    fingerprints = {one.report.cell.id: one.facts.fingerprint for one in surveyed if one.facts}
    gating = {one.report.cell.id for one in surveyed if one.report.cell.tier.gates}
    failures: set[Key] = set()

    def judged(key: Key, observation: Observation) -> Verdict:
        verdict = judge(stage.expectations[key], [observation], goldens.fetch)
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
    for job in _longest_first(stage.runnable, run):
        for attempt in range(1, run.options.repeat + 1):
            known = _known(run, job, fingerprints[job.cell.id], attempt)
            if known is not None:
                recorder.observations.setdefault(job.key, []).append(known)
                judged(job.key, known)
            else:
                placement = placements[job.cell.id]
                tasks.append(task_of(job, attempt, placement, stage.expectations[job.key], run.options))
    run.listener.planned(len(tasks), len(placements))
    if not is_enough():  # a run that had stopped at a failure does not go on when it is resumed
        dispatcher.execute(tasks, recorder, may_stop=run.options.max_failures > 0)
    return in_order(recorder.observations)


def _known(run: _Run, job: PlannedJob, fingerprint: str, attempt: int) -> Observation | None:
    """What an earlier part of this run has recorded of an execution; None when it has to be done."""
    if not run.done:
        return None
    digest = read_payload(job.fixture).digest
    return run.done.get((job.fixture.id, job.cell.id, digest, fingerprint, attempt))


def _longest_first(jobs: Sequence[PlannedJob], run: _Run) -> list[PlannedJob]:
    """Long jobs first, so that the end is not spent waiting for one; unknown ones count as average."""
    known = run.durations
    first = run.options.selection.first_jobs
    average = sum(known.values()) / len(known) if known else 0.0
    return sorted(jobs, key=lambda job: (job.key not in first, -known.get(job.key, average)))


def in_order(observations: Mapping[Key, Sequence[Observation]]) -> dict[Key, list[Observation]]:
    """Observations by job with the attempts of each in their order; a loss is counted below zero."""
    return {key: sorted(attempts, key=lambda seen: abs(seen.attempt)) for key, attempts in observations.items()}


def run_info(
    record: RunRecord,
    options: Options,
    observations: Mapping[Key, Sequence[Observation]],
    *,
    seconds: float = 0.0,
    resumed: int = 0,
) -> RunInfo:
    """What a report says of the run itself, which took so many seconds."""
    return RunInfo(
        id=record.id,
        started=record.started,
        duration=round(seconds, 3),
        version=__version__,
        arguments=options.arguments,
        config=options.config,
        resumed=resumed,
        durations=tuple(
            (*key, round(sum(one.duration_ns for one in attempts) / 1e9, 6))
            for key, attempts in sorted(observations.items())
        ),
    )


def finish(store: Store, evidence: Evidence, goldens: Goldens) -> Report:
    """Bring a run to its report, and keep that with all bytes that it speaks of."""
    report = conclude(evidence, goldens.fetch)
    goldens.keep(report)
    store.finish(evidence.run.id, report)
    return report


def notes(surveyed: Sequence[Surveyed]) -> tuple[str, ...]:
    """What a user should do next when no gating cell could be verified here."""
    gating = [one for one in surveyed if one.report.cell.tier is Tier.ONE]
    if not gating or any(one.report.is_verified for one in gating):
        return ()
    nearest = next((one for one in gating if one.mend and one.report.verdict), None)
    if nearest is None or nearest.report.verdict is None or nearest.report.verdict.kind is not Kind.UNAVAILABLE:
        return ("no cell of tier 1 was verified",)
    return (f"no cell of tier 1 was verified: {nearest.report.verdict.message}; get it with `{nearest.mend}`",)
