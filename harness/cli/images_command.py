"""``harness images``: images from the recipes of the project."""

from __future__ import annotations

import click

from harness.cli.edge import announce, say
from harness.cli.selection import config_option, load_project
from harness.errors import Problem, UsageError
from harness.reports.escape import terminal


@click.group("images")
def command() -> None:
    """Images of container cells."""


@command.command("build", short_help="Build the images of recipes.")
@click.argument("names", nargs=-1, metavar="[RECIPE]...")
@click.option("--build-arg", "arguments", multiple=True, metavar="NAME=VALUE", help="Set an ARG of the recipe.")
@config_option
def build_command(names: tuple[str, ...], arguments: tuple[str, ...], config: str | None) -> int:
    """Build the images of recipes, folders of runners/images with a Dockerfile; all of them when none is named.

    Exits 3 when one cannot be built.
    """
    from harness.engine.provision import build

    pairs = [(name, value) for name, _, value in (argument.partition("=") for argument in arguments)]
    for argument, (name, _) in zip(arguments, pairs, strict=True):
        if not name or "=" not in argument:
            raise UsageError(Problem(id="H0001", message=f"--build-arg {argument!r} is not NAME=VALUE"))
    for pin in build(load_project(config).root, names, pairs, announce):
        say(terminal(f"{pin.image} for {pin.platform}: {pin.id}"))
    return 0
