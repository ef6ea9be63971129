"""``harness doctor``: what every cell is, and how to mend those that do not answer."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from harness.cli.edge import announce, say
from harness.cli.selection import config_option, interpreters_file, load_project
from harness.engine.doctor import CellHealth, Checkup, MachineHealth, examine, local_cells
from harness.engine.project import find_matrix
from harness.errors import UsageError
from harness.model.cell import Cell

SCHEMA = "harness-doctor/1"


@click.command("doctor")
@config_option
@click.option("--cell", "cells", multiple=True, metavar="GLOB", help="Only these cells.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(config: str | None, cells: tuple[str, ...], as_json: bool) -> int:
    """Show each cell: whether it can be reached, what was measured, and how to mend it.

    Without a matrix the interpreters of this computer are shown. Exits 0 when a cell can be reached and nothing that
    is there is broken, else 3; 5 when a host's key was refused, 6 when the store cannot be written.
    """
    if config is None and not _has_matrix():
        checkup = _here(cells)
    else:
        checkup = _project(config, cells)
    if cells:  # what the others use is not known then
        checkup = replace(checkup, unused=())
    if as_json:
        text = json.dumps(_as_json(checkup), indent=2, sort_keys=True)
        say(text.replace("##", "#\\u0023"))  # what a CI log would obey; only ever inside a string, where it is the same
    else:
        from harness.cli.doctor_text import render
        from harness.cli.terminal import wants_color, width

        say(render(checkup, width=width(), color=wants_color()))
    return checkup.exit_code


def _has_matrix() -> bool:
    try:
        find_matrix(Path.cwd())
    except UsageError:
        return False
    return True


def _project(config: str | None, patterns: tuple[str, ...]) -> Checkup:
    from harness.runners import open_runners

    project = load_project(config)
    runners = open_runners(project.root, cache=interpreters_file(), announce=announce)
    return examine(_announced(_selected(project.matrix.cells, patterns)), runners, project.store_folder)


def _here(patterns: tuple[str, ...]) -> Checkup:
    """Without a matrix: every kind of interpreter that this computer has."""
    from harness.runners.local import LocalRunner, this_platform

    runner = LocalRunner()
    cells = local_cells(runner.discovery, this_platform())
    return examine(_announced(_selected(cells, patterns)), {"local": runner}, None)


def _selected(cells: tuple[Cell, ...], patterns: tuple[str, ...]) -> tuple[Cell, ...]:
    from harness.plan import Selection, select_cells

    return select_cells(cells, Selection(cells=patterns))


def _announced(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """Say what is waited for, to eyes only."""
    if sys.stderr.isatty():
        say(f"harness: examining {len(cells)} cell{'s' * (len(cells) != 1)}...", error=True)
    return cells


def _as_json(checkup: Checkup) -> dict[str, object]:
    from harness.cli.doctor_text import sentence

    return {
        "schema": SCHEMA,
        "cells": [_cell(cell) for cell in checkup.cells],
        "machines": [_machine(machine) for machine in checkup.machines],
        "interpreters": {
            "broken": [
                {"path": str(one.path), "found_as": one.found_as, **asdict(one.diagnosis)} for one in checkup.broken
            ],
            "unused": [{"path": str(one.path), "facts": one.facts.to_json()} for one in checkup.unused],
            "warnings": checkup.warnings,
        },
        "tool": {**asdict(checkup.tool), "programs": dict(checkup.tool.programs)},
        "reachable": checkup.reachable,
        "exit_code": checkup.exit_code,
        "sentence": sentence(checkup),
    }


def _cell(cell: CellHealth) -> dict[str, Any]:
    report = cell.surveyed.report
    verdict = report.verdict
    return {
        "id": report.cell.id,
        "tier": report.cell.tier.value,
        "reachable": report.is_verified,
        "runner": report.runner,
        "machine": report.machine,
        "isolation": report.isolation,
        "subject": cell.subject,
        "facts": report.facts.to_json() if report.facts else None,
        "verdict": str(verdict) if verdict else "",
        "message": verdict.message if verdict else "",
        "mend": cell.mend,
    }


def _machine(machine: MachineHealth) -> dict[str, Any]:
    """A machine; what it said before its agent did is text with visible escapes."""
    from harness.reports.escape import terminal

    shown = asdict(machine)
    shown["hello"] = asdict(machine.hello) if machine.hello else None
    shown["noise"] = terminal(machine.noise)
    return shown
