"""``harness gc``: what dead runs left behind."""

from __future__ import annotations

import click

from harness.cli.edge import say
from harness.reports.escape import terminal
from harness.reports.summary import plural


@click.command("gc")
def command() -> int:
    """Remove the containers of runs that were killed. Those of runs that go on are left alone."""
    from harness.engine.provision import collect

    names = collect()
    for name in names:
        say(terminal(name))
    say(f"{plural(len(names), 'container')} removed" if names else "nothing was left behind")
    return 0
