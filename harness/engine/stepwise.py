"""A run that is asked for one job after the other, and works ahead on those that it will be asked for.

Everything happens in the caller's thread, while it waits for an answer; agents keep busy in between. What is told is
durable. Jobs that other cells judge are run together with these, whoever asks.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from harness.conclude import Evidence
from harness.conclude import conclude as conclude_evidence
from harness.engine.cells import Surveyed, survey
from harness.engine.dispatch import Dispatcher
from harness.engine.ending import in_order, notes, run_info
from harness.engine.goldens import Goldens
from harness.engine.merge import finish_selected
from harness.engine.options import Options
from harness.engine.project import Project
from harness.engine.record import Recorder
from harness.engine.stage import Setting, task_of
from harness.judge import Expectation
from harness.model.fixture import Fixture
from harness.model.outline import Outline
from harness.model.report import FixtureReport, Report
from harness.plan import Plan, PlannedJob, Selection
from harness.runners.base import Runner
from harness.store.database import RunRecord, Store

Key = tuple[str, str]


class Stepwise:
    """A run under way. ``options.selection.only_jobs`` are all jobs that it may be asked for.

    ``is_wary`` sends few jobs ahead, for a caller who may stop at any answer.
    """

    def __init__(
        self,
        project: Project,
        options: Options,
        record: RunRecord,
        store: Store,
        runners: Mapping[str, Runner],
        dispatcher: Dispatcher,
        *,
        is_wary: bool = False,
    ) -> None:
        self._project: Final = project
        self._options = options
        self._record = record
        self._store = store
        self._runners = runners
        self._dispatcher = dispatcher
        self._is_wary = is_wary
        self._began = time.monotonic()
        self._goldens = Goldens(store)
        self._setting = Setting(project=project, store=store, dispatcher=dispatcher, goldens=self._goldens)
        self._cells = {cell.id: cell for cell in project.matrix.cells}
        self._fixtures = {fixture.id: fixture for fixture in project.fixtures}
        self._selected: dict[str, list[Key]] = {}
        for key in sorted(options.selection.only_jobs or ()):
            self._selected.setdefault(key[0], []).append(key)
        self._surveyed: dict[str, Surveyed] = {}
        self._jobs: dict[Key, PlannedJob] = {}
        self._expectations: dict[Key, Expectation] = {}
        self._failed: dict[str, FixtureReport] = {}
        self._fingerprints: dict[str, str] = {}
        self._recorder = Recorder(
            store=store, run_id=record.id, fingerprints=self._fingerprints, heard=lambda key, observation: False
        )
        store.begin(record)
        store.keep(b"")  # what a silent program says never travels, and is to be shown all the same

    def conclude(self, key: Key, ahead: Iterable[Key] = ()) -> Report:
        """Wait for one job; return the report of a run of it alone, judged with the cells that judge it.

        ``ahead`` are the jobs that will be asked for next: they are run in this order from now on. Raises what
        ``start`` raises.
        """
        if key not in self._jobs:
            self._begin(dict.fromkeys((key, *ahead)))
        together = self._together(key)
        while self._dispatcher.has_work and any(
            one in self._expectations and one not in self._recorder.done for one in together
        ):
            self._dispatcher.turn(self._recorder)
            if self._is_wary:
                self._dispatcher.settle(self._recorder)  # each answer may be the one to stop at
        report = conclude_evidence(self._evidence(together), self._goldens.fetch)
        return replace(report, jobs=tuple(job for job in report.jobs if (job.fixture, job.cell) == key))

    def get(self, digest: str) -> bytes | None:
        """The bytes of a digest, from goldens or store; None when nobody has them."""
        return self._goldens.fetch(digest)

    def outline(self, digest: str) -> Outline | None:
        """What is kept of an output too large to be kept whole; None when nothing is."""
        return self._store.outline(digest)

    def pause(self) -> None:
        """Keep what has been heard, and end the agents: the run can be resumed."""
        self._dispatcher.settle(self._recorder)
        self._dispatcher.close(abort=True)

    def finish(self) -> Report:
        """Bring the run to its report, in which jobs that were not asked for are skipped."""
        self._dispatcher.settle(self._recorder)
        self._dispatcher.close(abort=self._dispatcher.has_work)
        return finish_selected(
            self._project,
            self._options,
            self._store,
            self._goldens,
            self._record,
            cells={name: one.report for name, one in self._surveyed.items()},
            answers={key: (one.stdout, one.exit) for key, one in self._expectations.items()},
            failed=tuple(self._failed.values()),
            notes=notes(list(self._surveyed.values())),
            seconds=time.monotonic() - self._began,
        )

    def _begin(self, keys: Iterable[Key]) -> None:
        """Run these, and what judges them, once all that has been begun before is done."""
        while self._dispatcher.has_work:
            self._dispatcher.turn(self._recorder)
        wanted = dict.fromkeys(one for key in keys for one in self._together(key) if one not in self._jobs)
        cells = [cell for cell in self._cells.values() if any(key[1] == cell.id for key in wanted)]
        for one in survey([cell for cell in cells if cell.id not in self._surveyed], self._runners, self._dispatcher):
            self._surveyed[one.report.cell.id] = one
            if one.facts is not None:
                self._fingerprints[one.report.cell.id] = one.facts.fingerprint
        fixtures = [self._fixtures[fixture] for fixture in dict.fromkeys(fixture for fixture, _ in wanted)]
        stage = self._setting.stage(cells, fixtures, Selection(only_jobs=frozenset(wanted)), self._surveyed)
        self._jobs.update((job.key, job) for job in stage.plan.jobs)
        self._failed.update((one.fixture, one) for one in stage.failed)
        self._expectations.update(stage.expectations)
        runnable = {job.key: job for job in stage.runnable}
        tasks = [
            task_of(runnable[key], 1, self._surveyed[key[1]].placement, stage.expectations[key], self._options)
            for key in wanted
            if key in runnable
        ]
        self._dispatcher.enqueue(tasks, may_stop=self._is_wary)

    def _together(self, key: Key) -> list[Key]:
        """A job, and those of other cells without which it cannot be judged."""
        fixture, cell = key
        oracle = self._project.oracles[self._fixtures[fixture].corpus]
        if oracle.kind == "consensus":
            return self._selected[fixture]
        return [one for one in self._selected[fixture] if one[1] in (cell, oracle.cell)]

    def _evidence(self, keys: Iterable[Key]) -> Evidence:
        jobs = [self._jobs[key] for key in keys]
        cells = dict.fromkeys(job.cell.id for job in jobs)
        fixtures: dict[str, Fixture] = {job.fixture.id: job.fixture for job in jobs}
        observed = self._recorder.observations
        observations = in_order({job.key: observed[job.key] for job in jobs if job.key in observed})
        return Evidence(
            run=run_info(self._record, self._options, observations),
            cells=tuple(self._surveyed[name].report for name in self._cells if name in cells),
            plan=Plan(
                cells=tuple(self._cells[name] for name in cells),
                fixtures=tuple(fixtures.values()),
                jobs=tuple(jobs),
                deselected=0,
            ),
            oracles=self._project.oracles,
            expectations=self._expectations,
            observations=observations,
            failed=tuple(self._failed[name] for name in sorted(fixtures) if name in self._failed),
            require=self._options.require,
        )
