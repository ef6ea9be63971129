"""``harness schema``: what editors need to help with the files."""

from __future__ import annotations

import json
from importlib import import_module

import click

from harness.cli.edge import say

_MODULES = {
    "matrix": "harness.matrix.schema",
    "fixture": "harness.fixtures.schema",
    "hosts": "harness.runners.hosts_schema",
}


@click.command("schema")
@click.argument("which", type=click.Choice(list(_MODULES)), default="matrix")
def command(which: str) -> int:
    """Print the JSON Schema of matrix.yaml, of fixture.yaml, or of runners/hosts.yaml."""
    module = import_module(_MODULES[which])
    say(json.dumps(module.json_schema(), indent=2))
    return 0
