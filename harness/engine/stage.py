"""The stage of a run: what has to be known and made before its jobs can be sent, and the jobs as tasks.

A run sets it once for all of its jobs, one that is told its jobs as it goes sets one for each batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from harness.engine.cells import Surveyed
from harness.engine.dispatch import Dispatcher, Task, Work
from harness.engine.goldens import Goldens
from harness.engine.options import Options
from harness.engine.oracle import ask_commands
from harness.engine.prepare import prepare
from harness.engine.project import Project
from harness.fixtures import read_payload
from harness.judge import Expectation
from harness.model.cell import Cell
from harness.model.fixture import Fixture
from harness.model.report import FixtureReport
from harness.plan import Plan, PlannedJob, Selection, plan
from harness.runners.base import Placement
from harness.store.database import Store
from harness.wire import Expected

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The plan, its jobs that can run, what is expected of each of these, and the fixtures that could not be prepared."""

    plan: Plan
    runnable: tuple[PlannedJob, ...]
    expectations: Mapping[Key, Expectation]
    failed: tuple[FixtureReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the stages of one run have in common."""

    project: Project
    store: Store
    dispatcher: Dispatcher
    goldens: Goldens

    def stage(
        self,
        cells: Sequence[Cell],
        fixtures: Sequence[Fixture],
        selection: Selection,
        surveyed: Mapping[str, Surveyed],
    ) -> Stage:
        """Plan, prepare and ask what is selected of these cells and fixtures; ``surveyed`` is by cell id.

        Raises InputError for a golden that cannot be read, and for an oracle's command that is not there. Nothing
        may be under way in the dispatcher.
        """
        facts = {name: one.facts for name, one in surveyed.items() if one.facts and one.placement}
        planned = plan(cells, fixtures, selection, facts)
        prepared, failed = prepare(self.project, _needed(planned, surveyed), self.store.folder)
        planned = replace(planned, jobs=tuple(_with_program(job, prepared) for job in planned.jobs))
        broken = {one.fixture for one in failed}
        runnable = tuple(
            job
            for job in planned.jobs
            if job.skip is None and surveyed[job.cell.id].placement and job.fixture.id not in broken
        )
        expectations = {job.key: self.goldens.expectation(job) for job in runnable}
        expectations |= ask_commands(self.project, runnable, expectations, self.dispatcher, self.store)
        return Stage(plan=planned, runnable=runnable, expectations=expectations, failed=failed)


def task_of(
    job: PlannedJob, attempt: int, placement: Placement | None, expectation: Expectation, options: Options
) -> Task:
    """One execution of a job that can run, as the dispatcher takes it."""
    assert placement is not None
    limits = job.fixture.limits
    expected = Expected(
        stdout=(expectation.stdout,) if expectation.stdout else (), stderr=expectation.stderr, exit=expectation.exit
    )
    return Task(
        key=job.key,
        attempt=attempt,
        placement=placement,
        load=partial(_load, job.fixture, expected),
        timeout=(options.timeout or limits.timeout) * job.cell.timeout_scale,
        output=limits.output,
    )


def _load(fixture: Fixture, expected: Expected) -> Work:
    return Work(payload=read_payload(fixture), expect=expected)


def _needed(planned: Plan, surveyed: Mapping[str, Surveyed]) -> tuple[Fixture, ...]:
    """The fixtures that some cell will really run."""
    needed = {job.fixture.id for job in planned.jobs if job.skip is None and surveyed[job.cell.id].placement}
    return tuple(fixture for fixture in planned.fixtures if fixture.id in needed)


def _with_program(job: PlannedJob, prepared: Mapping[str, Fixture]) -> PlannedJob:
    return replace(job, fixture=prepared[job.fixture.id]) if job.fixture.id in prepared else job
