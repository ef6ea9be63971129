"""Runners: the ways to reach a cell. A new one is a module here and a line in the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from harness.runners.base import Runner


def open_runners(
    root: Path,
    *,
    slots: int = 0,
    cache: Path | None = None,
    announce: Callable[[str], None] = lambda message: None,
) -> Mapping[str, Runner]:
    """The runners by the names that a matrix uses.

    ``root`` is the folder that relative paths in the matrix start from, ``slots`` bounds the jobs at once on this
    computer (0: its cores), ``cache`` remembers the interpreters that were measured, ``announce`` is told what takes long.
    """
    from harness.runners.docker import DockerRunner
    from harness.runners.local import LocalRunner
    from harness.runners.ssh import SshRunner

    return {
        "local": LocalRunner(root=root, slots=slots, cache=cache),
        "docker": DockerRunner(root=root, slots=slots, announce=announce),
        "ssh": SshRunner(root=root),
    }
