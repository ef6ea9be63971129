"""``harness list``: ids, one a line, to read and to pipe."""

from __future__ import annotations

import json
from typing import Any

import click

from harness.cli.edge import say
from harness.cli.selection import load_project, selection_of, selection_options
from harness.reports.escape import terminal


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
        rows = [fixture.id for fixture in select_fixtures(project.fixtures, selection)]
    else:
        planned = plan(project.matrix.cells, project.fixtures, selection, {})
        rows = [f"{job.fixture.id}@{job.cell.id}" for job in planned.jobs if job.skip is None]
    if as_json:
        say(json.dumps(rows, indent=2))
    elif rows:
        say("\n".join(map(terminal, rows)))
    return 0 if rows else 4
