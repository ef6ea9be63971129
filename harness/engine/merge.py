"""Many parts, one run: what several processes observed of one selection becomes one report in one store.

The order of the parts does not matter, and a part that comes twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.conclude import Evidence
from harness.engine.ending import finish, in_order, run_info
from harness.engine.goldens import Goldens
from harness.engine.options import Options
from harness.engine.project import Project
from harness.judge import Expectation
from harness.model.cell import Tier
from harness.model.observation import Observation
from harness.model.report import CellReport, FixtureReport, Report
from harness.plan import PlannedJob, plan
from harness.store.bundle import Bundle, import_bundle
from harness.store.database import RunRecord, Store

Key = tuple[str, str]


def merge(project: Project, options: Options, store: Store, parts: Sequence[Bundle], *, seconds: float = 0.0) -> Report:
    """Take the parts of one run into the store and bring the run to its report; there is at least one part.

    Each part has its own report, from which the cells and the answers of other oracles are taken. ``options`` are
    those of the whole run. Raises InputError when the store knows the run with other inputs.
    """
    take(store, parts)
    reports = [part.report for part in parts if part.report is not None]
    cells: dict[str, CellReport] = {}
    for report in reports:
        for cell in report.cells:
            is_surveyed = cell.verdict is not None or cell.is_verified
            if is_surveyed and (cell.is_verified or cell.cell.id not in cells):
                cells[cell.cell.id] = cell
    failed = {one.fixture: one for report in reports for one in report.fixtures if one.is_failure}
    verified = any(cell.is_verified and cell.cell.tier is Tier.ONE for cell in cells.values())
    return finish_selected(
        project,
        options,
        store,
        Goldens(store),
        parts[0].run,
        cells=cells,
        answers={
            (job.fixture, job.cell): (job.expected, job.expected_exit)
            for report in reports
            for job in report.jobs
            if job.observation is not None
        },
        failed=tuple(failed.values()),
        notes=() if verified else tuple(dict.fromkeys(note for report in reports for note in report.warnings)),
        seconds=seconds,
    )


def take(store: Store, parts: Sequence[Bundle]) -> None:
    """Take the parts of one run into the store, and leave it open: the run is not over with one of its parts."""
    for part in parts:
        import_bundle(store, replace(part, report=None))


def finish_selected(
    project: Project,
    options: Options,
    store: Store,
    goldens: Goldens,
    record: RunRecord,
    *,
    cells: Mapping[str, CellReport],
    answers: Mapping[Key, tuple[str, int]],
    failed: tuple[FixtureReport, ...],
    notes: tuple[str, ...],
    seconds: float,
) -> Report:
    """Bring a run to its report from what the store has of it; selected jobs without an observation are skipped.

    ``cells`` are the surveyed ones by id; ``answers`` are stdout and exit status by job, where a command was asked.
    """
    facts = {name: cell.facts for name, cell in cells.items() if cell.facts is not None and cell.is_verified}
    planned = plan(project.matrix.cells, project.fixtures, options.selection, facts)
    observations: dict[Key, list[Observation]] = {}
    for seen in store.observations(record.id):
        observations.setdefault((seen.fixture, seen.cell), []).append(seen)
    expectations = {
        job.key: _expectation(job, project, goldens, answers) for job in planned.jobs if job.key in observations
    }
    observed = {key: observations[key] for key in expectations}
    evidence = Evidence(
        run=run_info(record, options, observed, seconds=seconds),
        cells=tuple(cells.get(cell.id, CellReport(cell=cell)) for cell in planned.cells),
        plan=planned,
        oracles=project.oracles,
        expectations=expectations,
        observations=in_order(observed),
        failed=tuple(one for one in failed if any(job.fixture.id == one.fixture for job in planned.jobs)),
        notes=notes,
        require=options.require,
    )
    return finish(store, evidence, goldens)


def _expectation(
    job: PlannedJob, project: Project, goldens: Goldens, answers: Mapping[Key, tuple[str, int]]
) -> Expectation:
    declared = goldens.expectation(job)
    if project.oracles[job.fixture.corpus].kind != "command":
        return declared
    stdout, status = answers.get(job.key, ("", 0))
    return replace(declared, stdout=stdout, exit=status)
