"""How much harness adds to the programs it runs: against the bare interpreters, and against pytest-xdist and lit.

    python benchmarks/spine.py [--rounds 5] [--fixtures 1000] [--write]

All tools run the same programs with the same interpreter, environment and slots, in turn, in an order that rotates
from round to round after one round that is not counted. Needs a quiet computer; --write replaces this section of
RESULTS.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # a script's own folder is all that Python adds

from benchmarks.corpus import bless_project, write_project  # noqa: E402
from benchmarks.page import write_section  # noqa: E402
from benchmarks.subject import Subject, find_subject  # noqa: E402
from benchmarks.tools import FLOOR, HARNESS, LIT, XDIST, Spent, Tool, make_tools, own_environment, script, timed  # noqa: E402
from harness.runners.local import slots_here  # noqa: E402

PLANNED = 10_000
HELP_ROUNDS = 20
MAX_OVER_FLOOR = 1.10
MAX_CONTROLLER_MIB = 64.0
MAX_HELP_S = 0.150
MAX_PLAN_S = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Spent by tool and round, the controller's peak in MiB by round, seconds of the two commands that start nothing."""

    spine: dict[str, list[Spent]]
    peaks: list[float]
    help: list[float]
    plan: list[float]


def measure(folder: Path, subject: Subject, rounds: int, fixtures: int, slots: int) -> tuple[Measured, list[str]]:
    """Make both projects and measure everything; return it with what is missing."""
    matrix = write_project(folder / "small", fixtures, subject.series)
    bless_project(matrix.parent, subject.python, subject.environment)
    large = write_project(folder / "large", PLANNED, subject.series)
    bless_project(large.parent, subject.python, subject.environment)
    tools, missing = make_tools(folder, matrix, subject, slots)
    measured = Measured(spine={tool.name: [] for tool in tools}, peaks=[], help=[], plan=[])
    for number in range(rounds + 1):
        for tool in tools[number % len(tools) :] + tools[: number % len(tools)]:
            spent = timed(tool)
            report(f"round {number or 'not counted'}: {tool.name} {spent.clock:.2f} s")
            if number:
                measured.spine[tool.name].append(spent)
            if number and tool.name == HARNESS and (peak := folder / "peak").exists():
                measured.peaks.append(int(peak.read_text(encoding="ascii")) / 1024)
    found, own = script("harness"), own_environment(folder)
    harness = [found] if found else [sys.executable, "-m", "harness"]
    start = Tool(name="--help", command=[*harness, "--help"], environment=own)
    plan = Tool(name="plan", command=[*harness, "plan", "-c", large], environment=own)
    measured.help.extend([timed(start).clock for _ in range(HELP_ROUNDS + 1)][1:])
    measured.plan.extend([timed(plan).clock for _ in range(max(rounds, 5) + 1)][1:])
    return measured, missing


def report(text: str) -> None:
    """Say where we are."""
    sys.stderr.write(f"{text}\n")


def rendered(measured: Measured, missing: Sequence[str], subject: Subject, fixtures: int, slots: int) -> str:
    """RESULTS.md: the table, the targets, the computer."""
    rounds = len(measured.spine[HARNESS])
    versions = [f"{name} {version(name)}" for name in ("pytest", "pytest-xdist", "lit") if is_installed(name)]
    load = f", load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    lines = [
        "# What harness costs",
        "",
        f"{fixtures} fixtures in one cell, {slots} slots, {rounds} round{'s' * (rounds != 1)}, the tools in turn;",
        "medians. A ratio is between times of the same round; *added* is slot time for one fixture above the floor;",
        "*processors* is the time of all processes of a tool, in seconds. Written by `benchmarks/spine.py`.",
        "",
        "| tool | s | min-max | ratio to floor | min-max | added ms | processors |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *compared(measured, slots / fixtures * 1000),
        *(f"| {sentence} | missing | - | - | - | - | - |" for sentence in missing),
        "",
        f"The floor is `{FLOOR} {slots}` of the bare interpreter: it checks nothing and isolates nothing.",
        "",
        "| target | median | min-max | holds |",
        "|---|---:|---:|---|",
        *targets(measured),
        "",
        f"Computer: {platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}{load}.",
        f"Programs run by CPython {subject.version}; tools by CPython {platform.python_version()}; {', '.join(versions)}.",
        f"Measured on {datetime.now(UTC):%Y-%m-%d}.",
        "",
    ]
    return "\n".join(lines)


def compared(measured: Measured, per_fixture: float) -> list[str]:
    """One row for each tool, the quickest first; ``per_fixture`` makes slot time (ms) of one fixture from seconds."""
    rows = []
    floor = clocks(measured, FLOOR)
    for name in sorted(measured.spine, key=lambda name: statistics.median(clocks(measured, name))):
        mine = clocks(measured, name)
        cells = [name, f"{statistics.median(mine):.2f}", spread(mine), "-", "-", "-"]
        if floor:
            ratios = [one / base for one, base in zip(mine, floor, strict=True)]
            added = statistics.median(one - base for one, base in zip(mine, floor, strict=True))
            cells[3:] = [f"{statistics.median(ratios):.2f}", spread(ratios), f"{added * per_fixture:.2f}"]
        cells.append(f"{statistics.median(spent.processors for spent in measured.spine[name]):.2f}")
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def clocks(measured: Measured, name: str) -> list[float]:
    """Seconds on the clock of a tool by round; empty for one that is missing."""
    return [spent.clock for spent in measured.spine.get(name, ())]


def targets(measured: Measured) -> list[str]:
    """One row for each target, with whether it holds."""
    rows = []
    for name, most in ((FLOOR, MAX_OVER_FLOOR), (XDIST, 1.0), (LIT, 1.0)):
        if rival := clocks(measured, name):
            ratios = [mine / other for mine, other in zip(clocks(measured, HARNESS), rival, strict=True)]
            rows.append(target(f"{HARNESS} against {name}", ratios, most, ".3f", "x"))
    if measured.peaks:
        rows.append(target("peak memory of the controller alone", measured.peaks, MAX_CONTROLLER_MIB, ".1f", " MiB"))
    else:
        rows.append("| peak memory of the controller alone | not measured: no /proc | - | - |")
    rows.append(target("`harness --help`", measured.help, MAX_HELP_S, ".3f", " s"))
    rows.append(target(f"`harness plan` of {PLANNED} fixtures", measured.plan, MAX_PLAN_S, ".3f", " s"))
    return rows


def target(what: str, values: Sequence[float], most: float, form: str, unit: str) -> str:
    """A row: the median is what has to hold."""
    middle = statistics.median(values)
    holds = "yes" if middle <= most else "**no**"
    return f"| {what}: at most {most:g}{unit} | {middle:{form}}{unit} | {spread(values, form)} | {holds} |"


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """The smallest and the largest."""
    return f"{min(values):{form}}-{max(values):{form}}"


def is_installed(name: str) -> bool:
    """Whether a distribution of this name can be asked for its version."""
    return bool(importlib.util.find_spec({"pytest-xdist": "xdist"}.get(name, name)))


def main() -> None:
    """Measure, and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fixtures", type=int, default=1000)
    parser.add_argument("--write", action="store_true", help="replace this section of RESULTS.md")
    options = parser.parse_args()
    if min(options.rounds, options.fixtures) < 1:
        parser.error("--rounds and --fixtures are at least 1")
    slots = slots_here()
    with tempfile.TemporaryDirectory(prefix="harness-spine-") as name:
        folder = Path(name).resolve()
        subject = find_subject(folder)
        measured, missing = measure(folder, subject, options.rounds, options.fixtures, slots)
    page = rendered(measured, missing, subject, options.fixtures, slots)
    if options.write:
        write_section(page)
    sys.stdout.write(page)


if __name__ == "__main__":
    main()
