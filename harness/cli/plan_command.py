"""``harness plan``: what would run, without running or reaching anything."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from typing import Any

import click

from harness.cli.edge import say
from harness.cli.selection import load_project, selection_of, selection_options
from harness.cli.terminal import width
from harness.engine.project import Project
from harness.plan import Plan, Selection, plan
from harness.reports.escape import terminal
from harness.reports.summary import plural


@click.command("plan")
@selection_options
@click.option("--explain", is_flag=True, help="Also tell which facts no two cells separate.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(explain: bool, as_json: bool, **values: Any) -> int:
    """Show what would run: jobs by cell, and what is skipped for which reason.

    Nothing is started: conditions are judged by what the cells claim.
    """
    project = load_project(values["config"])
    return show_plan(project, selection_of(project, values), explain=explain, as_json=as_json)


def show_plan(project: Project, selection: Selection, *, explain: bool, as_json: bool = False) -> int:
    """Print the plan; 0, or 4 when nothing is selected."""
    planned = plan(project.matrix.cells, project.fixtures, selection, {})
    if as_json:
        say(json.dumps(_as_json(planned), indent=2))
    else:
        say("\n".join(_as_text(planned, explain)))
    return 0 if planned.jobs else 4


def _as_json(planned: Plan) -> dict[str, object]:
    return {
        "cells": [cell.id for cell in planned.cells],
        "fixtures": [fixture.id for fixture in planned.fixtures],
        "jobs": [
            {"fixture": job.fixture.id, "cell": job.cell.id, "skip": str(job.skip) if job.skip else None}
            for job in planned.jobs
        ],
        "deselected": planned.deselected,
    }


def _as_text(planned: Plan, explain: bool) -> list[str]:
    run = Counter(job.cell.id for job in planned.jobs if job.skip is None)
    skipped = Counter((job.cell.id, job.skip.message) for job in planned.jobs if job.skip)
    wide = max((len(cell.id) for cell in planned.cells), default=4)
    lines = [f"{'cell':<{wide}}  tier       jobs  skipped"]
    for cell in planned.cells:
        count = sum(number for (where, _), number in skipped.items() if where == cell.id)
        lines.append(f"{cell.id:<{wide}}  {cell.tier.value:<9} {run[cell.id]:>5}  {count or '':>7}".rstrip())
    reasons = Counter(job.skip.message for job in planned.jobs if job.skip)
    if reasons:
        lines += ["", "skipped:", *(f"  {number} x {terminal(reason)}" for reason, number in reasons.most_common())]
    if explain:
        lines += ["", *_explained(planned)]
    fixtures, cells = plural(len(planned.fixtures), "fixture"), plural(len(planned.cells), "cell")
    lines += ["", f"{plural(run.total(), 'job')}: {fixtures} in {cells}"]
    if planned.deselected:
        lines[-1] += f", {plural(planned.deselected, 'pair')} deselected"
    return lines


def _explained(planned: Plan) -> list[str]:
    """The facts that are claimed to be the same everywhere: a divergence could not be attributed to them."""
    values: dict[str, set[str]] = {}
    for cell in planned.cells:
        for axis, value in cell.axes().items():
            values.setdefault(axis, set()).add(value)
    separated = {axis: found for axis, found in values.items() if len(found) > 1}
    lines = [
        f"separated by {axis}: {', '.join(sorted(found))}" for axis, found in separated.items() if len(found) <= 12
    ]
    same = [f"{axis}={next(iter(found))}" for axis, found in values.items() if len(found) == 1]
    lines.append(f"the same in every cell: {', '.join(same) or 'nothing'}")
    return [
        row
        for line in lines
        for row in textwrap.wrap(
            terminal(line), width(), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
    ]
