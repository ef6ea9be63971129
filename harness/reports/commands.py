"""Commands to paste: the line that repeats one job."""

from __future__ import annotations

import shlex


def repeat_command(fixture: str, cell: str) -> str:
    """The shell line that runs one fixture in one cell again; every word is quoted where it must be."""
    if fixture.startswith("-"):
        return f"harness run --cell {shlex.quote(cell)} -- {shlex.quote(fixture)}"
    return f"harness run {shlex.quote(fixture)} --cell {shlex.quote(cell)}"
