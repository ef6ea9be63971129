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
from pathlib import Path
from typing import Protocol

from harness.conclude import Evidence, conclude
from harness.engine.cells import Surveyed, survey
from harness.engine.closeup import close_ups, has_large_output
from harness.engine.dispatch import Dispatcher
from harness.engine.ending import finish, in_order, notes, run_info
from harness.engine.goldens import Goldens
from harness.engine.options import Options, options_from_json, options_to_json
from harness.engine.oracle import look_closer
from harness.engine.project import Project
from harness.engine.record import Recorder
from harness.engine.stage import Setting, Stage, task_of
from harness.errors import NothingRan, Problem, UsageError
from harness.fixtures import read_payload
from harness.judge import Expectation, judge
from harness.model.observation import Observation
from harness.model.report import CellReport, Report
from harness.model.verdict import Verdict
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
    recorder = _dispatch(run, stage, surveyed, dispatcher, goldens)
    evidence = _evidence(run, stage, surveyed, recorder)
    if has_large_output(recorder.observations):
        _look_closer(run, stage, conclude(evidence, goldens.fetch), surveyed, dispatcher, recorder, goldens)
        evidence = _evidence(run, stage, surveyed, recorder)
    dispatcher.dismiss()
    return finish(run.store, evidence, goldens)


def _evidence(run: _Run, stage: Stage, surveyed: Sequence[Surveyed], recorder: Recorder) -> Evidence:
    """Everything that the run has in hand by now."""
    observations = in_order(recorder.observations)
    return Evidence(
        run=run_info(run.record, run.options, observations, seconds=time.monotonic() - run.began, resumed=run.resumed),
        cells=tuple(one.report for one in surveyed),
        plan=stage.plan,
        oracles=run.project.oracles,
        expectations=stage.expectations,
        observations=observations,
        failed=stage.failed,
        notes=notes(surveyed),
        require=run.options.require,
    )


def _dispatch(
    run: _Run, stage: Stage, surveyed: Sequence[Surveyed], dispatcher: Dispatcher, goldens: Goldens
) -> Recorder:
    """Run what is not recorded yet; return what then has all observations of the run by job."""
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
    return recorder


def _look_closer(
    run: _Run,
    stage: Stage,
    report: Report,
    surveyed: Sequence[Surveyed],
    dispatcher: Dispatcher,
    recorder: Recorder,
    goldens: Goldens,
) -> None:
    """Repeat what differs in outputs too large to be kept, for the bytes around the difference."""
    placements = {one.report.cell.id: one.placement for one in surveyed if one.placement}
    by_key = {job.key: job for job in stage.runnable}
    attempt = run.options.repeat + 1
    tasks = []
    wanted = close_ups(report, goldens.known, goldens.is_declared)
    for key, window in wanted.jobs.items():
        job = by_key[key]
        known = _known(run, job, recorder.fingerprints[job.cell.id], attempt)
        if known is not None:
            recorder.observations[key].append(known)
        else:
            # Nothing is expected: bytes that agree are asked for as well.
            task = task_of(job, attempt, placements[job.cell.id], Expectation(), run.options)
            tasks.append(replace(task, window=window))
    recorder.heard = lambda key, observation: False  # every one of them was judged before, and is again at the end
    dispatcher.execute(tasks, recorder)
    if wanted.commands:
        look_closer(run.project, wanted.commands, stage.runnable, dispatcher, run.store)


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
