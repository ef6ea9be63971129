"""Runners: the ways to reach a cell. A new one is a module here and a line in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.runners.base import Runner


def open_runners(root: Path, *, slots: int = 0, cache: Path | None = None) -> Mapping[str, Runner]:
    """The runners by the names that a matrix uses.

    ``root`` is the folder that relative paths in the matrix start from, ``slots`` bounds the jobs at once on this
    computer (0: its cores), ``cache`` remembers the interpreters that were measured.
    """
    from harness.runners.local import LocalRunner

    return {"local": LocalRunner(root=root, slots=slots, cache=cache)}
