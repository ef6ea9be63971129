"""``harness init``: a project to start from, written beside what is there."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli.edge import say
from harness.errors import Problem, UsageError
from harness.model.fixture import Fixture
from harness.reports.escape import terminal
from harness.scaffold.detection import Detected
from harness.scaffold.project import Scaffolded, scaffold

_FEW = 5


@click.command("init")
@click.argument("folder", default=".", metavar="[FOLDER]")
def command(folder: str) -> int:
    """Write what FOLDER, which is here by default, lacks: a matrix, a first fixture and what belongs to them.

    No file is ever overwritten; what one that is there may need is shown. Where goldens are already, the matrix names
    their folders in place of a first fixture.
    """
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise UsageError(Problem(id="H0001", message=f"{folder} is a file; name a folder"))
    done = scaffold(target)
    say("\n".join(map(terminal, _lines(target, done))))
    return 0


def _lines(folder: Path, done: Scaffolded) -> list[str]:
    lines = [f"wrote  {_named(folder, name)}" for name in done.written]
    lines += [f"kept   {_named(folder, name)}" for name in done.kept]
    for one in done.shown:
        lines += ["", f"{_named(folder, one.name)} was there already; {one.how}:", ""]
        lines += [f"    {line}".rstrip() for line in one.lacks.splitlines()]
    for corpus in done.corpora:
        lines += ["", *_found(folder, corpus)]
    where = "" if folder == Path() else f"cd {shlex.quote(os.fspath(folder))} && "
    unblessed = any(one.loaded.unblessed for one in done.corpora)
    lines += ["", f"next: {where}harness {'bless --dry-run' if unblessed else 'run'}"]
    kept = f"{_files(len(done.kept))} kept as {'it was' if len(done.kept) == 1 else 'they were'}"
    if not done.written:
        return [*lines, f"nothing was missing: {kept}"]
    return [*lines, f"the project is ready: {_files(len(done.written))} written{f', {kept}' if done.kept else ''}"]


def _files(count: int) -> str:
    return f"{count} file{'s' * (count != 1)}"


def _found(folder: Path, one: Detected) -> list[str]:
    count = len(one.loaded.fixtures)
    lines = [f"found {count} fixture{'s' * (count != 1)} in {_named(folder, one.corpus.path)}"]
    if one.loaded.unblessed:
        lines += ["  without a golden, which `harness bless` writes:", *_listed(one.loaded.unblessed)]
    if one.left_out.unblessed:
        lines += ["  left out (`exclude:` in matrix.yaml), having no golden:", *_listed(one.left_out.unblessed)]
    if one.left_out.problems:
        lines += ["  left out (`exclude:` in matrix.yaml), being no fixtures:", *_listed(one.left_out.problems)]
    if one.loaded.problems:
        lines += ["  to be mended before a run:", *_listed(one.loaded.problems)]
    return lines


def _listed(found: Sequence[Fixture | Problem]) -> list[str]:
    """The first few, a line each."""
    shown = [f"    {one.id if isinstance(one, Fixture) else one}" for one in found[:_FEW]]
    return shown if len(found) <= _FEW else [*shown, f"    and {len(found) - _FEW} more"]


def _named(folder: Path, name: str) -> str:
    return os.fspath(folder / name)
