"""The options that select: declared once, used by every command that looks at jobs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from harness.engine.project import Project, find_matrix
from harness.errors import Problem, UsageError
from harness.plan import Selection

Command = TypeVar("Command", bound=Callable[..., Any])


def config_option(command: Command) -> Command:
    """``-c/--config``: the matrix file."""
    return click.option("-c", "--config", metavar="FILE", help="The matrix file [default: matrix.yaml here or above].")(
        command
    )


_SELECTING = (
    click.argument("paths", nargs=-1, metavar="[FIXTURE]..."),
    click.option("-k", "keywords", metavar="EXPR", default="", help="Only fixtures whose id or tags match."),
    click.option("-m", "marks", metavar="EXPR", default="", help="Only fixtures with these tags."),
    click.option("--platform", "platforms", multiple=True, metavar="GLOB", help="Only cells of these platforms."),
    click.option("--cell", "cells", multiple=True, metavar="GLOB", help="Only these cells."),
    click.option("--python", "pythons", multiple=True, metavar="VERSION", help="Only cells with these interpreters."),
    click.option(
        "--tier", "tiers", multiple=True, type=click.Choice(["1", "2", "3", "advisory"]), help="Only these tiers."
    ),
    click.option("--shard", metavar="I/N", help="Only the I-th of N parts of the fixtures."),
)


def selection_options(command: Command) -> Command:
    """Everything that narrows fixtures and cells."""
    for option in reversed(_SELECTING):
        command = option(command)
    return config_option(command)


def selection_of(project: Project, values: Mapping[str, Any]) -> Selection:
    """The selection that the options ask for; raise UsageError for a shard that is none."""
    return Selection(
        paths=tuple(_as_id(path, project.root) for path in values["paths"]),
        keywords=values["keywords"],
        marks=values["marks"],
        cells=values["cells"],
        platforms=values["platforms"],
        pythons=values["pythons"],
        tiers=values["tiers"],
        shard=_shard(values["shard"]),
    )


def load_project(config: str | None) -> Project:
    """The project of the given matrix file, or of the one that is found."""
    from harness.runners.local import this_platform

    path = Path(config) if config else _relative(find_matrix(Path.cwd()))
    return Project.load(path, local=this_platform())


def interpreters_file() -> Path:
    """Where the interpreters of this computer are remembered."""
    from harness.engine.memory import cache_folder

    return cache_folder() / "interpreters.json"


def _relative(path: Path) -> Path:
    """A path as a person would write it from here: messages name files with it."""
    return Path(os.path.relpath(path))


def _as_id(path: str, root: Path) -> str:
    """A fixture's id from what was typed: relative to where one stands, as a shell completes it, or an id already."""
    typed = path.replace(os.sep, "/").rstrip("/")
    if Path(typed).exists():
        typed = os.path.relpath(Path(typed).resolve(), root.resolve()).replace(os.sep, "/")
    for file in ("/main.py", "/expected.stdout", "/expect.txt"):
        typed = typed.removesuffix(file)
    return typed


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(Problem(id="H0001", message=f"--shard {text!r} is not I/N with I from 1 to N"))
    return int(match[1]), int(match[2])
