"""Projects that pytest runs in a process of its own, with the plugin as an installation registers it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.cli.conftest import Project

Pytest = Callable[..., pytest.RunResult]

YES = "print('yes')"
NO = "print('no')"
CELLS = "".join(
    f"  - {{platform: local, python: {name}, interpreter: {sys.executable}, tier: {tier}, env: {{CELL: {name}}}}}\n"
    for name, tier in (("one", "1"), ("two", "1"), ("three", "advisory"))
)
"""Three cells of the Python that runs the tests; a program can tell them apart by ``CELL``."""

ABSENT = '  - {platform: local, python: "3.99", interpreter: nowhere/python}\n'
WHICH = "import os; print(os.environ['CELL'])"


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What PYTHONPATH needs so that pytest finds the plugin by its entry point; empty where it is installed with one."""
    if any(one.value == "harness.plugin" for one in entry_points(group="pytest11")):
        return ""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "harness_entry-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: harness-entry\nVersion: 0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[pytest11]\nharness = harness.plugin\n", encoding="utf-8")
    return str(folder)


@pytest.fixture
def run_pytest(pytester: pytest.Pytester, registered: str, monkeypatch: pytest.MonkeyPatch) -> Pytest:
    """Runs pytest in the project's folder."""
    here = str(Path(__file__).parents[2])
    paths = [here, registered, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return lambda *arguments: pytester.runpytest_subprocess(*arguments)


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    """An empty project with one cell, in the folder where ``run_pytest`` runs."""
    (pytester.path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    made = Project(folder=pytester.path)
    made.matrix(f"cells:\n{CELLS.splitlines()[0]}\n")
    return made
