"""What pytest adds to harness: the same fixtures with `harness run`, with pytest, and with pytest -n2.

    python benchmarks/plugin.py [--rounds 5] [--fixtures 1000] [--write]

All do the same jobs in one cell, in turn, in an order that rotates from round to round after one round that is not
counted. Needs a quiet computer; --write replaces this section of RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # a script's own folder is all that Python adds

from benchmarks.corpus import bless_project, write_project  # noqa: E402
from benchmarks.page import write_section  # noqa: E402
from benchmarks.subject import Subject, find_subject  # noqa: E402
from benchmarks.tools import HARNESS, Spent, Tool, own_environment, timed  # noqa: E402

PYTEST, WORKERS = "pytest", "pytest -n2 --dist loadgroup"
MAX_OVER_RUN = 1.25


def measure(folder: Path, subject: Subject, rounds: int, fixtures: int) -> dict[str, list[Spent]]:
    """Make the project and measure the three ways to run it."""
    project = folder / "project"
    write_project(project, fixtures, subject.series)
    bless_project(project, subject.python, subject.environment)
    (project / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    own = own_environment(folder)
    # Other plugins that happen to be installed are not what is measured.
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "harness.plugin"]
    tools = [
        Tool(name=HARNESS, command=[sys.executable, "-m", "harness", "run", "-q"], environment=own, folder=project),
        Tool(name=PYTEST, command=pytest, environment=own, folder=project),
        Tool(
            name=WORKERS,
            command=[*pytest, "-p", "xdist", "-n2", "--dist", "loadgroup"],
            environment=own,
            folder=project,
        ),
    ]
    spent: dict[str, list[Spent]] = {tool.name: [] for tool in tools}
    for number in range(rounds + 1):
        for tool in tools[number % len(tools) :] + tools[: number % len(tools)]:
            one = timed(tool)
            sys.stderr.write(f"round {number or 'not counted'}: {tool.name} {one.clock:.2f} s\n")
            if number:
                spent[tool.name].append(one)
    return spent


def rendered(spent: dict[str, list[Spent]], subject: Subject, fixtures: int) -> str:
    """The section: a row for each way, the target, the computer."""
    rounds = len(spent[HARNESS])
    rows = []
    for name, mine in spent.items():
        clock = statistics.median(one.clock for one in mine)
        processors = statistics.median(one.processors for one in mine)
        by_clock = [one.clock / base.clock for one, base in zip(mine, spent[HARNESS], strict=True)]
        by_work = [one.processors / base.processors for one, base in zip(mine, spent[HARNESS], strict=True)]
        rows.append(
            f"| `{name}` | {clock:.2f} | {statistics.median(by_clock):.2f} | {min(by_clock):.2f}-{max(by_clock):.2f} "
            f"| {processors:.2f} | {statistics.median(by_work):.2f} |"
        )
    ratio = statistics.median(one.clock / base.clock for one, base in zip(spent[WORKERS], spent[HARNESS], strict=True))
    holds = "holds" if ratio <= MAX_OVER_RUN else "**does not hold**"
    versions = f"pytest {version('pytest')}, pytest-xdist {version('pytest-xdist')}"
    load = f", load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    return "\n".join(
        [
            "## What pytest adds",
            "",
            f"{fixtures} fixtures in one cell, {rounds} round{'s' * (rounds != 1)}, in turn; medians. A ratio is to",
            f"`{HARNESS}` in the same round, on the clock and in processor time. Written by `benchmarks/plugin.py`.",
            "",
            "| way | s | ratio | min-max | processors | ratio |",
            "|---|---:|---:|---:|---:|---:|",
            *rows,
            "",
            f"Target: `{WORKERS}` at most {MAX_OVER_RUN:g} times `{HARNESS}`: {ratio:.3f}, {holds}.",
            "",
            f"Computer: {platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}{load}.",
            f"Programs run by CPython {subject.version}; tools by CPython {platform.python_version()}; {versions}.",
            f"Measured on {datetime.now(UTC):%Y-%m-%d}.",
            "",
        ]
    )


def main() -> None:
    """Measure, and print or write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fixtures", type=int, default=1000)
    parser.add_argument("--write", action="store_true", help="replace this section of RESULTS.md")
    options = parser.parse_args()
    if min(options.rounds, options.fixtures) < 1:
        parser.error("--rounds and --fixtures are at least 1")
    with tempfile.TemporaryDirectory(prefix="harness-plugin-") as name:
        folder = Path(name).resolve()
        subject = find_subject(folder)
        section = rendered(measure(folder, subject, options.rounds, options.fixtures), subject, options.fixtures)
    if options.write:
        write_section(section)
    sys.stdout.write(section)


if __name__ == "__main__":
    main()
