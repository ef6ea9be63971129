"""How a report meets this terminal: its width, whether it takes colour, and how much was asked for."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace

from harness.model.report import Report
from harness.reports import Blobs


def wants_color() -> bool:
    """Colour only on a terminal that has it and nobody forbids it (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int:
    """The columns of the terminal, 80 in a pipe; long lines are for eyes, so at most 120."""
    return min(120, shutil.get_terminal_size((80, 24)).columns) if sys.stdout.isatty() else 80


def render_for_terminal(report: Report, blobs: Blobs, *, verbosity: int, durations: int | None) -> str:
    """The report as text, with the ``durations`` slowest jobs when they are asked for (0: all of them)."""
    from harness.reports.terminal import render_terminal

    slowest: tuple[tuple[str, str, float], ...] = ()
    if durations is not None:
        ranked = sorted(report.run.durations, key=lambda row: -row[2])
        slowest = tuple(ranked[: durations or None])
    shown = replace(report, run=replace(report.run, durations=slowest))
    return render_terminal(shown, blobs, width=width(), color=wants_color(), verbosity=verbosity)
