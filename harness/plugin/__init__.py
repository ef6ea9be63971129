"""The pytest plugin: one test for each job of matrix.yaml, from the same engine as ``harness run``.

Where there is no matrix, or pytest is not asked for it, this module is all that is loaded, and it says nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_LEVELS = ("available", "tier-1", "all")
_SELECTING = (("cell", "these cells"), ("platform", "cells of these platforms"), ("python", "these interpreters"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare what can be said on the command line and in the ini file."""
    parser.addini("harness_matrix", "The matrix file, relative to the rootdir; empty for none.", default="matrix.yaml")
    parser.addini("harness_require", f"Cells that must be verified: {', '.join(_LEVELS)}.", default=_LEVELS[0])
    group = parser.getgroup("harness", "programs that must say the same bytes in every cell of a matrix")
    for name, what in _SELECTING:
        group.addoption(
            f"--harness-{name}",
            action="append",
            default=[],
            metavar="GLOB",
            help=f"Collect jobs of {what} only; may be given again.",
        )
    group.addoption(
        "--harness-require",
        choices=_LEVELS,
        help="Cells that must be verified, else their jobs are errors (default: ini harness_require).",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Take part when the matrix is among what pytest is asked to collect."""
    matrix = _asked_matrix(config)
    if matrix is not None:
        from harness.plugin.hooks import Hooks

        config.pluginmanager.register(Hooks(config, matrix), "harness-hooks")


def _asked_matrix(config: pytest.Config) -> Path | None:
    """The matrix file, if an argument of pytest (or ``testpaths``) names it or a folder above it."""
    name = str(config.getini("harness_matrix"))
    matrix = config.rootpath / name
    if not name or not matrix.is_file():
        return None
    for argument in config.args:
        place = (config.invocation_params.dir / argument.partition("::")[0]).resolve()
        if place in (matrix.resolve(), *matrix.resolve().parents):
            return matrix
    return None
