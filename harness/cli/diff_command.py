"""``harness diff``: the divergences of the last run that has the cells asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from harness.cli.run_command import format_of, show
from harness.cli.selection import load_project, selection_of, selection_options
from harness.engine.project import Project
from harness.errors import NothingRan, Problem
from harness.model.report import Report
from harness.plan import Selection


@click.command("diff")
@selection_options
@click.option("-v", "verbose", count=True, help="Say more.")
@click.option("--output-format", default="text", metavar="FORMAT", help="text, json, jsonl, markdown or junit.")
@click.option("--json", "as_json", is_flag=True, help="The same as --output-format json.")
def command(**values: Any) -> int:
    """Show the divergences of the last run that has the selected cells; nothing is run.

    Exits 0 when there is none, 1 when there are, 4 when no run has such a cell.
    """
    from harness.plan import select_cells
    from harness.store.database import Store

    name = format_of(values)
    project = load_project(values["config"])
    selection = selection_of(project, values)
    cells = {cell.id for cell in select_cells(project.matrix.cells, selection)}
    if not cells:
        raise NothingRan(Problem(id="H0502", message="no cell is left after the selection"))
    try:
        store = Store.read(project.store_folder)
    except NothingRan:
        raise NothingRan(_no_run(sorted(cells))) from None
    with store:
        run = store.latest_with(lambda cell: cell in cells)
        if run is None:
            raise NothingRan(_no_run(sorted(cells)))
        narrowed = _narrow(store.report(run), cells, _fixtures(project, selection))
        # Where nothing diverged there is nothing to show but that, unless more is asked for.
        show(narrowed, store, name, verbosity=values["verbose"] - (not narrowed.divergences), durations=None)
    return 1 if narrowed.divergences else 0


def _fixtures(project: Project, selection: Selection) -> set[str] | None:
    """The ids of the selected fixtures; None when none were selected: the run may know some that are gone by now."""
    from harness.plan import select_fixtures

    if not (selection.paths or selection.keywords or selection.marks or selection.shard):
        return None
    return {fixture.id for fixture in select_fixtures((*project.fixtures, *project.unblessed), selection)}


def _no_run(cells: list[str]) -> Problem:
    """Say what would give an answer: where the cell's own platform is, a run there."""
    shown = cells[0] if len(cells) == 1 else f"{cells[0]} or {len(cells) - 1} other cells"
    platform = cells[0].split("/")[0]
    return Problem(
        id="H0503",
        message=f"no run has verified {shown}",
        hint=f"run `harness run --platform {platform}` where {platform} can be reached; `harness doctor` tells",
    )


def _narrow(report: Report, cells: set[str], fixtures: set[str] | None) -> Report:
    """Only the divergences in which a selected cell takes part, and only their fixtures' jobs."""
    divergences = tuple(
        divergence
        for divergence in report.divergences
        if (fixtures is None or divergence.fixture in fixtures)
        and any(cell in cells for one in divergence.classes for cell in one.cells)
    )
    shown = {divergence.fixture for divergence in divergences}
    count = len(divergences)
    where = f"run {report.run.id}"
    sentence = f"{count} divergent fixture{'s' * (count != 1)} in {where}" if count else f"no divergence in {where}"
    return replace(
        report,
        jobs=tuple(job for job in report.jobs if job.fixture in shown),
        divergences=divergences,
        fixtures=tuple(one for one in report.fixtures if one.fixture in shown),
        exit_code=1 if count else 0,
        sentence=sentence,
    )
