"""``harness lock``: the images of container cells, pinned by digest."""

from __future__ import annotations

import click

from harness.cli.edge import announce, say
from harness.cli.selection import config_option, load_project
from harness.reports.escape import terminal
from harness.reports.summary import plural


@click.command("lock")
@config_option
def command(config: str | None) -> int:
    """Write the digest of every image that serves a cell into runners/images.lock, pulling what is missing.

    From then on a run refuses an image that has another digest. Exits 3 when an image cannot be had; its old pin stays.
    """
    from harness.engine.provision import lock
    from harness.runners.images import LOCK

    project = load_project(config)
    done = lock(project.root, project.matrix.cells, announce)
    for pin in done.changed:
        say(terminal(f"{pin.image} for {pin.platform}: {pin.id}"))
    for image, why in done.missing:
        say(f"harness: {terminal(f'{image} is not pinned: {why}')}", error=True)
    words = f"{plural(len(done.pins), 'image')} in {LOCK}, {len(done.changed)} new or changed"
    say(f"{words}, {len(done.missing)} not to be had" if done.missing else words)
    return 3 if done.missing else 0
