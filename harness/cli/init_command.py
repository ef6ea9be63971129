"""``harness init``: a project to start from, written beside what is there."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from harness.cli.edge import say
from harness.errors import Problem, UsageError
from harness.reports.escape import terminal
from harness.scaffold.detection import Detected
from harness.scaffold.project import Scaffolded, scaffold


@click.command("init")
@click.argument("folder", default=".", metavar="[FOLDER]")
def command(folder: str) -> int:
    """Write a matrix, a first fixture and what belongs to them into FOLDER, which is here by default.

    No file is ever overwritten. Where fixtures are already, the matrix names their folders.
    """
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise UsageError(Problem(id="H0001", message=f"{folder} is a file; name a folder"))
    done = scaffold(target)
    say("\n".join(map(terminal, _lines(target, done))))
    return 0


def _lines(folder: Path, done: Scaffolded) -> list[str]:
    shown = {one.name: one.lacks for one in done.shown}
    lines = [f"wrote  {_named(folder, name)}" for name in done.written]
    lines += [f"kept   {_named(folder, name)}" for name in done.kept]
    for name, lacks in shown.items():
        lines += ["", f"{_named(folder, name)} was there already; add this to it:", ""]
        lines += [f"    {line}".rstrip() for line in lacks.splitlines()]
    for one in done.corpora:
        lines += ["", *_found(folder, one)]
    unblessed = any(one.loaded.unblessed for one in done.corpora)
    where = "" if folder == Path() else f"cd {shlex.quote(os.fspath(folder))} && "
    files = f"{len(done.written)} file{'s' * (len(done.written) != 1)} written"
    kept = f", {len(done.kept)} kept as they were" if done.kept else ""
    lines += ["", f"next: {where}harness {'bless --dry-run' if unblessed else 'run'}"]
    return [*lines, f"the project is ready: {files}{kept}"]


def _found(folder: Path, one: Detected) -> list[str]:
    count = len(one.loaded.fixtures)
    lines = [f"found {count} fixture{'s' * (count != 1)} in {_named(folder, one.corpus.path)}"]
    if one.loaded.unblessed:
        names = ", ".join(fixture.id for fixture in one.loaded.unblessed[:3])
        more = len(one.loaded.unblessed) - 3
        lines.append(f"  without a golden: {names}{f' and {more} more' if more > 0 else ''}")
        lines.append("  `harness bless` writes goldens; what is no fixture goes under `exclude:`")
    for problem in one.loaded.problems[:3]:
        lines.append(f"  {problem}")
    if len(one.loaded.problems) > 3:
        lines.append(f"  and {len(one.loaded.problems) - 3} more problems")
    return lines


def _named(folder: Path, name: str) -> str:
    return os.fspath(folder / name)
