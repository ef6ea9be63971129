"""``harness schema``: what editors need to help with the files."""

from __future__ import annotations

import json
from importlib import import_module

import click

from harness.cli.edge import say


@click.command("schema")
@click.argument("which", type=click.Choice(["matrix", "fixture"]), default="matrix")
def command(which: str) -> int:
    """Print the JSON Schema of matrix.yaml, or of fixture.yaml."""
    module = import_module("harness.matrix.schema" if which == "matrix" else "harness.fixtures.schema")
    say(json.dumps(module.json_schema(), indent=2))
    return 0
