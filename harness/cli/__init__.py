"""The command line: the only place that prints and exits. Each command is a module, imported when it is called."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from harness import __version__

COMMANDS = {
    "init": "Write a matrix, a first fixture and what belongs to them.",
    "doctor": "Show which cells can be reached, and what would mend the others.",
    "list": "List cells, fixtures or jobs.",
    "plan": "Show what would run, and what the matrix cannot tell apart.",
    "run": "Run fixtures in cells and judge every job.",
    "diff": "Show the divergences of the last run.",
    "bless": "Write goldens from what a reference cell says.",
    "report": "Render the report of a run.",
    "lock": "Pin the images of container cells by their digests.",
    "images": "Build the images of container cells from their recipes.",
    "gc": "Remove what runs that were killed left behind.",
    "schema": "Print the JSON Schema of matrix.yaml or fixture.yaml.",
}


class LazyGroup(click.Group):
    """Knows the names and help of all commands without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of a first day's work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command's module."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"harness.cli.{cmd_name}_command").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; for an unknown one name the nearest."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(error.format_message() + hint, ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, from the names alone."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    epilog="Begin with `harness init`, then `harness run`; `harness COMMAND --help` has the options of a command.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="harness", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def group(ctx: click.Context, debug: bool) -> None:
    """Run golden fixtures in every cell of a matrix and say why outputs differ."""
    ctx.obj = {"debug": debug}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: the statuses are those of the table in the README."""
    from harness.cli.edge import guarded, take_signals

    take_signals()
    sys.exit(guarded(group, sys.argv[1:] if arguments is None else arguments))


def invoke(arguments: list[str]) -> Any:
    """Run the command line within a Python program; return the exit status."""
    from harness.cli.edge import guarded

    return guarded(group, arguments)
