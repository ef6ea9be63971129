"""``harness doctor`` from its command line: sixty cells in 80 columns, nothing from a cell obeyed by a terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from harness.cli import invoke
from harness.cli.doctor_command import SCHEMA

SERIES = f"{sys.version_info.major}.{sys.version_info.minor}"
PLATFORMS = [
    "local",
    *(f"linux-{libc}-{arch}" for libc in ("musl", "glibc") for arch in ("s390x", "ppc64le", "riscv64")),
]
PYTHONS = [SERIES, "pp310", "pp311", "3.6", "graalpy312", "3.98", "3.99", "3.13t", "3.14t", "3.15d"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder on a computer with no interpreter but the one that runs us."""
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path_factory.mktemp("nothing")
    for name in ("PATH", "HOME", "USERPROFILE", "PYENV_ROOT", "UV_PYTHON_INSTALL_DIR", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(elsewhere))
    return tmp_path


def matrix(here: Path, platforms: list[str], pythons: list[str]) -> None:
    (here / "matrix.yaml").write_text(f"platforms: {json.dumps(platforms)}\npythons: {json.dumps(pythons)}\n")


def test_without_a_matrix_the_interpreters_of_this_computer_are_examined(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["doctor"]) == 0
    said = capsys.readouterr().out
    assert sys.version.split()[0] in said
    assert said.splitlines()[-1].endswith("there is no matrix yet, `harness init` writes one")


def test_seventy_cells_are_readable_in_eighty_columns(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matrix(here, PLATFORMS, PYTHONS)
    assert invoke(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "1 of 70 cells can be reached"
    assert len(lines) < 70
    assert [line for line in lines if len(line) > 80 and "/" not in line] == []
    assert "  unavailable(no-runner): 60 cells" in lines


def test_a_selection_of_cells_is_examined_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matrix(here, ["local", "windows-amd64"], [SERIES, "3.99"])
    assert invoke(["doctor", "--cell", "windows-*"]) == 3
    assert capsys.readouterr().out.splitlines()[-1] == "none of 2 cells can be reached"


def test_a_pattern_without_a_cell_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matrix(here, ["local"], [SERIES])
    assert invoke(["doctor", "--cell", "nope"]) == 2
    assert "error[H0003]" in capsys.readouterr().err


def test_json_has_the_facts_and_a_mend_for_what_is_missing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matrix(here, ["local"], [SERIES, "3.99"])
    assert invoke(["doctor", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["schema"] == SCHEMA
    answering, missing = data["cells"]
    assert answering["facts"]["version"] == sys.version.split()[0]
    assert missing["verdict"] == "unavailable(no-interpreter)"
    assert missing["mend"]
    assert data["machines"][0]["hello"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert (data["reachable"], data["exit_code"]) == (1, 0)


def test_what_an_interpreter_says_is_not_obeyed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = here / "python"
    program.write_text("#!/bin/sh\nprintf '\\033]0;owned\\007::error::x\\n##[error]y' >&2\nexit 3\n")
    program.chmod(0o755)
    (here / "matrix.yaml").write_text(
        "cells:\n  - {platform: local, python: mine, interpreter: ./python}\n"
        f'  - {{platform: local, python: "{SERIES}"}}\n'
    )
    assert invoke(["doctor"]) == 3
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "##[" not in said
    assert "1 is broken" in said.splitlines()[-1]


def test_nothing_is_written(here: Path) -> None:
    matrix(here, ["local"], [SERIES])
    assert invoke(["doctor"]) == 0
    assert [path.name for path in here.iterdir()] == ["matrix.yaml"]
