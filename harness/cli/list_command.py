"""``harness list``: ids, one a line, to read and to pipe."""

from __future__ import annotations

import json
from typing import Any

import click

from harness.cli.edge import say
from harness.cli.selection import load_project, selection_of, selection_options
from harness.reports.escape import terminal

_FEW = 3


@click.command("list")
@click.argument("what", type=click.Choice(["cells", "fixtures", "jobs"]))
@selection_options
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
def command(what: str, as_json: bool, **values: Any) -> int:
    """List cells, fixtures or jobs: what the matrix and the corpora declare, after the selection.

    A job is printed as FIXTURE@CELL.
    """
    from harness.plan import plan, select_cells, select_fixtures

    project = load_project(values["config"])
    selection = selection_of(project, values)
    if what == "cells":
        rows = [cell.id for cell in select_cells(project.matrix.cells, selection)]
    elif what == "fixtures":
        chosen = select_fixtures((*project.fixtures, *project.unblessed), selection)
        unblessed = {fixture.id for fixture in project.unblessed}
        rows = [fixture.id for fixture in chosen if fixture.id not in unblessed]
        _tell_unblessed([fixture.id for fixture in chosen if fixture.id in unblessed])
    else:
        planned = plan(project.matrix.cells, project.fixtures, selection, {})
        rows = [f"{job.fixture.id}@{job.cell.id}" for job in planned.jobs if job.skip is None]
    if as_json:
        say(json.dumps(rows, indent=2))
    elif rows:
        say("\n".join(map(terminal, rows)))
    if not rows:
        say(f"harness: the selection has no {what}", error=True)
    return 0 if rows else 4


def _tell_unblessed(ids: list[str]) -> None:
    """Name what cannot be run yet, where it does not disturb a pipe."""
    if ids:
        more = ", ..." if len(ids) > _FEW else ""
        who = "1 fixture has" if len(ids) == 1 else f"{len(ids)} fixtures have"
        listed = terminal(", ".join(ids[:_FEW]))
        say(f"harness: {who} no golden yet: {listed}{more}; `harness bless` writes it", error=True)
