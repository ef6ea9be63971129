"""``harness bless`` from its command line: nothing is written before somebody agreed to what was shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import invoke
from harness.runners.local import this_platform

SERIES = f"{sys.version_info.major}.{sys.version_info.minor}"
HERE = f"{this_platform()}/cp{SERIES.replace('.', '')}"
MATRIX = f'cells:\n  - {{platform: local, python: "{SERIES}", interpreter: "{sys.executable}"}}\n'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    (tmp_path / "fixtures").mkdir()
    (tmp_path / "fixtures" / "old.py").write_text("print('now')\n")
    (tmp_path / "fixtures" / "old.out").write_text("before\n")
    (tmp_path / "fixtures" / "same.py").write_text("print('same')\n")
    (tmp_path / "fixtures" / "same.out").write_bytes(b"same\n")
    return tmp_path


def golden(here: Path) -> bytes:
    return (here / "fixtures" / "old.out").read_bytes()


def test_a_changed_golden_is_shown_and_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["bless", "--yes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "fixtures/old.py: changed"
    assert lines[4:6] == ["  -before", "  +now"]
    assert lines[-1] == f"1 golden written (1 changed), 1 unchanged; the reference is {HERE}"
    assert golden(here) == b"now\n"
    assert invoke(["run"]) == 0


def test_a_dry_run_writes_nothing_even_in_continuous_integration(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "true")
    assert invoke(["bless", "-n"]) == 0
    assert "1 golden would be written" in capsys.readouterr().out
    assert golden(here) == b"before\n"


def test_continuous_integration_may_not_bless(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "true")
    assert invoke(["bless", "--yes"]) == 2
    assert "error[H0007]" in capsys.readouterr().err
    assert golden(here) == b"before\n"


def test_a_pipe_cannot_agree(here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "bless"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        input=b"y\n",
        capture_output=True,
    )
    assert done.returncode == 2
    assert b"look with --dry-run, then give --yes" in done.stderr
    assert golden(here) == b"before\n"


@pytest.mark.parametrize(("answer", "status", "after"), [(b"y\n", 0, b"now\n"), (b"n\n", 1, b"before\n")])
def test_at_a_terminal_it_asks(answer: bytes, status: int, after: bytes, here: Path) -> None:
    pty = pytest.importorskip("pty", reason="only POSIX has terminals that a test can hold")
    leader, follower = pty.openpty()
    os.write(leader, answer)
    done = subprocess.run(
        [sys.executable, "-m", "harness", "bless"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=follower,
        capture_output=True,
    )
    os.close(follower)
    os.close(leader)
    assert b"Write 1 golden?" in done.stdout + done.stderr
    assert done.returncode == status
    assert golden(here) == after


def test_some_refused_is_a_no_and_the_others_are_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "fixtures" / "odd.py").write_text("import os; print(os.urandom(4))\n")
    assert invoke(["bless", "--yes"]) == 1
    said = capsys.readouterr().out
    assert "fixtures/odd.py: refused: its runs differ: line 1 has " in said
    assert said.splitlines()[-1].startswith("1 golden written (1 changed), 1 unchanged, 1 refused; ")
    assert golden(here) == b"now\n"


def test_only_what_is_selected_is_blessed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["bless", "--yes", "fixtures/same.py"]) == 0
    assert capsys.readouterr().out == f"no golden to write, 1 unchanged; the reference is {HERE}\n"
    assert invoke(["bless", "--yes", "-k", "nothing-like-it"]) == 4


def test_a_fixture_without_a_golden_gets_one(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "fixtures" / "new").mkdir()
    (here / "fixtures" / "new" / "main.py").write_text("print('\\x1b[31m::error::x\\n##[error]y')\n")
    assert invoke(["bless", "--yes", "fixtures/new"]) == 0
    said = capsys.readouterr().out
    assert "fixtures/new: new\n" in said
    assert "\x1b" not in said
    assert "##[" not in said
    assert (here / "fixtures/new/expected.stdout").read_bytes() == b"\x1b[31m::error::x\n##[error]y\n"


def test_two_references_are_one_too_many(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["bless", "-n", "--cell", HERE, "--command", "python3"]) == 2
    assert invoke(["bless", "-n", "--command", "'"]) == 2
    assert invoke(["bless", "-n", "--command", "no-such-command-anywhere"]) == 2
    assert capsys.readouterr().err.count("error[H0001]") == 3
