"""``harness bless``: what programs say in a reference cell becomes their golden, once somebody has looked at it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from harness.cli.edge import announce, say
from harness.cli.selection import config_option, interpreters_file, load_project, selection_of
from harness.errors import Problem, UsageError

if TYPE_CHECKING:
    from harness.engine.bless import Examined
    from harness.engine.project import Project
    from harness.engine.proposals import Change, Proposal

_ROWS, _ROWS_OF_NEW = 60, 14
_COLORS = {"+": "green", "-": "red"}
_NO_CELLS: Mapping[str, Any] = {"cells": (), "platforms": (), "pythons": (), "tiers": (), "shard": None}


@click.command("bless")
@click.argument("paths", nargs=-1, metavar="[FIXTURE]...")
@config_option
@click.option("-k", "keywords", metavar="EXPR", default="", help="Only fixtures whose id or tags match.")
@click.option("-m", "marks", metavar="EXPR", default="", help="Only fixtures with these tags.")
@click.option("--cell", metavar="CELL", default="", help="The reference [default: the lowest CPython of tier 1].")
@click.option("--command", "words", metavar="COMMAND", default="", help="Ask a command on this computer instead.")
@click.option("-n", "--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@click.option("--yes", is_flag=True, help="Write without asking.")
def command(**values: Any) -> int:
    """Write goldens from what a reference cell says.

    Each program runs twice, and again with another hash seed; one that says something else, or does not end by
    itself, is refused. Exits 0 when every selected fixture has its golden, 1 when some were refused.
    """
    if values["cell"] and values["words"]:
        raise UsageError(Problem(id="H0001", message="--cell and --command name two references; give one"))
    if not values["dry_run"]:
        _refuse_unattended(asking=not values["yes"])
    project = load_project(values["config"])
    if sys.stderr.isatty():
        say("harness: running each program three times...", error=True)
    examined = _examine(project, values)
    lines = [line for proposal in examined.proposals for line in _shown(project, examined.reference, proposal)]
    if lines:
        say("\n".join([*lines, ""]))
    return _settle(examined, values)


def _refuse_unattended(*, asking: bool) -> None:
    """A golden is a promise: somebody has to have looked at it."""
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        message = "goldens are not written under continuous integration (CI is set)"
        hint = "bless on a developer's machine and commit the goldens; --dry-run shows them here"
        raise UsageError(Problem(id="H0007", message=message, hint=hint))
    if asking and not sys.stdin.isatty():
        message = "goldens are written after a yes, and standard input is no terminal to ask at"
        raise UsageError(Problem(id="H0001", message=message, hint="look with --dry-run, then give --yes"))


def _examine(project: Project, values: Mapping[str, Any]) -> Examined:
    from harness.engine.bless import examine
    from harness.runners import open_runners
    from harness.store.database import Store

    with Store.open(project.store_folder, waiting=lambda message: say(f"harness: {message}", error=True)) as store:
        return examine(
            project,
            selection_of(project, {**values, **_NO_CELLS}),
            store.folder,
            open_runners(project.root, cache=interpreters_file(), announce=announce),
            cell=values["cell"],
            command=_words(values["words"]),
        )


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(Problem(id="H0001", message=f"--command {text!r}: {error}")) from None


def _shown(project: Project, reference: str, proposal: Proposal) -> Iterator[str]:
    """What is proposed for one fixture, escaped; nothing where nothing changes."""
    if proposal.refusal:
        yield from _safe([f"{proposal.fixture}: refused: {proposal.refusal}"], "red")
        return
    if proposal.changes:
        remark = f"; {proposal.remark}" if proposal.remark else ""
        yield from _safe([f"{proposal.fixture}: {'new' if proposal.is_new else 'changed'}{remark}"], "yellow")
    for change in proposal.changes:
        yield from _safe([f"  {row}" for row in _diff(project, reference, change)])


def _diff(project: Project, reference: str, change: Change) -> Sequence[str]:
    from harness.divergence.difference import unified

    name = os.path.relpath(change.path, project.root).replace(os.sep, "/")
    if change.before is None and not change.after:
        return [f"+++ {name} (empty)"]
    limit = _ROWS_OF_NEW if change.before is None else _ROWS
    old = "/dev/null" if change.before is None else name
    return unified(change.before or b"", change.after, limit=limit, names=(old, f"{name} ({reference})"))


def _safe(rows: Sequence[str], color: str = "") -> Iterator[str]:
    """Rows that no terminal and no CI log obeys, coloured where that is wanted."""
    from harness.cli.terminal import wants_color
    from harness.reports.escape import terminal, workflow_safe

    for row in rows:
        text = workflow_safe(terminal(row))
        look = color or _COLORS.get(text.lstrip()[:1], "")
        yield click.style(text, fg=look) if look and wants_color() else text


def _settle(examined: Examined, values: Mapping[str, Any]) -> int:
    """Ask, write, and say what came of it in a sentence."""
    from harness.engine.bless import write

    changing = [proposal for proposal in examined.proposals if proposal.changes]
    refused = sum(bool(proposal.refusal) for proposal in examined.proposals)
    verb = "would be written"
    status = 1 if refused else 0
    if changing and not values["dry_run"]:
        if values["yes"] or click.confirm(f"Write {_goldens(len(changing))}?"):
            write(changing)
            verb = "written"
        else:
            verb, status = "proposed and declined", 1
    rest = len(examined.proposals) - len(changing) - refused
    new = sum(proposal.is_new for proposal in changing)
    counts = [f"{count} {word}" for count, word in ((new, "new"), (len(changing) - new, "changed")) if count]
    said = f"{_goldens(len(changing))} {verb} ({', '.join(counts)})" if changing else "no golden to write"
    said += f", {rest} unchanged" if rest else ""
    said += f", {refused} refused" if refused else ""
    say("\n".join(_safe([f"{said}; the reference is {examined.reference}"])))
    return status


def _goldens(count: int) -> str:
    return f"{count} golden{'s' * (count != 1)}"
