"""Projects in temporary folders, and the command line as a user's shell starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from harness.cli.selection import interpreters_file
from harness.runners.interpreters import Discovery, discover
from harness.runners.local import this_platform

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
TAG = f"cp{sys.version_info.major}{sys.version_info.minor}"
CELL = f"{this_platform()}/{TAG}"
ENTRY = (sys.executable, "-m", "harness")
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """The last line of stdout: the verdict in words."""
        return self.out.splitlines()[-1]

    @property
    def report(self) -> dict[str, Any]:
        """The JSON on stdout."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    def verdicts(self) -> dict[str, str]:
        """The kind of each job's verdict, by FIXTURE@PYTHON without the folder and the platform."""
        return {
            f"{job['fixture'].rpartition('/')[2]}@{job['cell'].rpartition('/')[2]}": job["verdict"]["kind"]
            for job in self.report["jobs"]
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project folder. Its matrix has one cell, the Python that runs the tests, until ``matrix`` is called."""

    folder: Path

    def matrix(self, text: str) -> None:
        """Write matrix.yaml."""
        (self.folder / "matrix.yaml").write_text(text, encoding="utf-8")

    def fixture(
        self, name: str, program: str, expected: str | None = "yes\n", *, declared: str = "", corpus: str = "fixtures"
    ) -> Path:
        """Write a fixture: its program, its golden unless that is None, and its fixture.yaml if it declares anything."""
        folder = self.folder / corpus / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "main.py").write_text(program + "\n", encoding="utf-8")
        if expected is not None:
            (folder / "expected.stdout").write_bytes(expected.encode())
        if declared:
            (folder / "fixture.yaml").write_text(declared, encoding="utf-8")
        return folder

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start the command line in the project's folder."""
        return subprocess.Popen(
            [*ENTRY, *arguments],
            **{"cwd": self.folder, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options},
        )

    def __call__(self, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] = NOTHING) -> Done:
        """Run the command line to its end."""
        process = self.start(*arguments, cwd=cwd or self.folder, env={**os.environ, **env}, encoding="utf-8")
        out, err = process.communicate()
        assert "Traceback" not in err
        return Done(status=process.returncode, out=out, err=err)


@pytest.fixture(scope="session")
def discovery() -> Discovery:
    """The interpreters of this computer."""
    return discover(interpreters_file())


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Project]:
    """Makes a project in a folder of this name."""

    def in_folder(name: str) -> Project:
        made = Project(folder=tmp_path / name)
        made.folder.mkdir()
        made.matrix(f'platforms: [local]\npythons: ["{HERE}"]\n')
        return made

    return in_folder


@pytest.fixture
def project(make: Callable[[str], Project]) -> Project:
    """An empty project with one cell."""
    return make("project")


@pytest.fixture(scope="session")
def pythons(discovery: Discovery) -> tuple[str, ...]:
    """The series of the CPythons of this computer that can be cells, this one first; skips where there is only one."""
    found = {
        ".".join(one.facts.version.split(".")[:2])
        for one in discovery.interpreters
        if one.facts.implementation == "cpython" and one.facts.build == "default"
    }
    usable = sorted(series for series in found if series.startswith("3.") and int(series[2:]) >= 8)
    if len(usable) < 2:
        pytest.skip(f"two CPythons are needed to differ, and this computer has only {', '.join(usable)}")
    return (HERE, *(series for series in reversed(usable) if series != HERE))
