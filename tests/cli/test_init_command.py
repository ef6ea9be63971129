"""``harness init`` from its command line: what it writes runs at once, and it says what to do next."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import invoke


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_it_writes_runs_green_at_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["init"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "next: harness run" in said
    assert said[-1].startswith("the project is ready: ")
    assert invoke(["run"]) == 0
    assert "as declared" in capsys.readouterr().out.splitlines()[-1]


def test_a_second_time_it_refuses_and_touches_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    invoke(["init"])
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert invoke(["init"]) == 2
    assert "error[H0005]: matrix.yaml: " in capsys.readouterr().err
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


def test_another_folder_is_made_and_the_way_there_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["init", "a b/new"]) == 0
    assert "next: cd 'a b/new' && harness run" in capsys.readouterr().out.splitlines()
    assert (here / "a b" / "new" / "matrix.yaml").is_file()


def test_a_file_is_no_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "file").write_text("")
    assert invoke(["init", "file"]) == 2
    assert "error[H0001]" in capsys.readouterr().err


def test_a_corpus_that_is_there_is_run_as_it_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "say.py").write_text("print('said')\n")
    (here / "say.out").write_bytes(b"said\n")
    (here / "tox.ini").write_text("[tox]\n")
    assert invoke(["init"]) == 0
    said = capsys.readouterr().out
    assert "found 1 fixture in .\n" in said
    assert "tox.ini was there already; add this to it:\n\n    [testenv:cross]\n" in said
    assert invoke(["run"]) == 0


def test_programs_without_goldens_are_named_before_a_run_refuses_them(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.py", "a.out", "b.py"):
        (here / name).write_text("")
    assert invoke(["init"]) == 0
    said = capsys.readouterr().out
    assert "  without a golden: b.py\n" in said
    assert "next: harness bless --dry-run\n" in said


def test_a_name_that_a_terminal_would_obey_is_shown_harmless(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["init", "new\x1b[31m"]) == 0
    assert "\x1b" not in capsys.readouterr().out
