"""Commands to paste: the line that repeats one job."""

from __future__ import annotations

import shlex


def repeat_command(fixture: str, cell: str, config: str = "") -> str:
    """The shell line that runs one fixture in one cell again; every word is quoted where it must be.

    ``config`` is the matrix file, where it was named.
    """
    matrix = f" -c {shlex.quote(config)}" if config else ""
    if fixture.startswith("-"):
        return f"harness run{matrix} --cell {shlex.quote(cell)} -- {shlex.quote(fixture)}"
    return f"harness run{matrix} {shlex.quote(fixture)} --cell {shlex.quote(cell)}"
