"""``harness init`` from its command line: what it writes runs at once, and it says what to do next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import invoke
from tests.cli.conftest import CELL


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


def test_a_second_time_it_says_what_is_there_and_touches_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    invoke(["init"])
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert invoke(["init"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert {"kept   matrix.yaml", "kept   tox.ini", "found 1 fixture in fixtures"} <= set(said)
    assert said[-1] == "nothing was missing: 7 files kept as they were"
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())


PACKAGE = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n[project]\nname = "p"\n'
PAIRS = {"a.py": "print(input())", "a.in": "hi", "a.out": "hi\n", "deep/er/b.py": "print(1)", "deep/er/b.out": "1\n"}
FOLDERS = {
    "one/main.py": "print(1)",
    "one/expect.txt": "1\n",
    "two/main.py": "raise SystemExit(3)",
    "two/expect.txt": "",
    "two/expect.exit": "3\n",
}
OWN = {
    "tox.ini": "[tox]\n",
    "conftest.py": "",
    ".gitattributes": "* text=auto\n",
    ".gitignore": "*.pyc\n",
    "README.md": "# Mine\n",
}
KINDS: dict[str, tuple[dict[str, str], int]] = {
    "an empty folder": ({}, 1),
    "a package under src": ({"pyproject.toml": PACKAGE, "src/p/__init__.py": "", "tests/test_p.py": ""}, 1),
    "a package at the top": (
        {"pyproject.toml": PACKAGE, "p/__init__.py": "", "p/__main__.py": "", "docs/conf.py": ""},
        1,
    ),
    "flat pairs": ({**PAIRS, "run_all.py": "", "lib/gen.py": ""}, 2),
    "folders": ({**FOLDERS, "check.py": ""}, 2),
    "pairs beside folders": ({**PAIRS, **FOLDERS}, 4),
    "pairs and folders apart": (
        {f"p/{name}": text for name, text in PAIRS.items()} | {f"q/{name}": text for name, text in FOLDERS.items()},
        4,
    ),
}


@pytest.mark.parametrize("own", [{}, OWN], ids=["with nothing of their own", "with files of their own"])
@pytest.mark.parametrize(("files", "count"), KINDS.values(), ids=KINDS)
def test_every_kind_of_folder_runs_green_at_once(
    files: dict[str, str], count: int, own: dict[str, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(here, files | own)
    assert invoke(["init"]) == 0
    assert {name: (here / name).read_bytes().decode() for name in files | own} == files | own
    capsys.readouterr()
    assert invoke(["run", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert len({job["fixture"] for job in report["jobs"]}) == count
    assert {job["verdict"]["kind"] for job in report["jobs"] if job["cell"] == CELL} == {"agree"}


def test_the_schema_that_is_written_is_the_one_that_the_command_prints(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    invoke(["init"])
    capsys.readouterr()
    assert invoke(["schema"]) == 0
    assert capsys.readouterr().out == (here / "matrix.schema.json").read_text()


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


def test_programs_without_goldens_are_named_and_left_out(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(here, {"a.py": "", "a.out": "", **{f"b{number}.py": "" for number in range(7)}})
    assert invoke(["init"]) == 0
    said = capsys.readouterr().out
    assert "  left out (`exclude:` in matrix.yaml), having no golden:\n    b0.py\n" in said
    assert "    and 2 more\n" in said
    assert invoke(["run"]) == 0


def test_programs_that_a_matrix_includes_without_goldens_are_to_be_blessed(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(here, {"f/b.py": "", "matrix.yaml": 'platforms: [local]\npythons: ["3.12"]\ncorpora: [{path: f}]\n'})
    assert invoke(["init"]) == 0
    assert "next: harness bless --dry-run\n" in capsys.readouterr().out


def test_a_name_that_a_terminal_would_obey_is_shown_harmless(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["init", "new\x1b[31m"]) == 0
    assert "\x1b" not in capsys.readouterr().out
