"""A new project: what is written, what is kept, and that all of it is right."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from harness.engine.project import Project
from harness.errors import UsageError
from harness.runners.local import this_platform
from harness.scaffold.project import SCHEMA_NAME, scaffold


def load(folder: Path) -> Project:
    return Project.load(folder / "matrix.yaml", local=this_platform())


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_an_empty_folder_gets_a_project_whose_every_file_is_named(tmp_path: Path) -> None:
    done = scaffold(tmp_path / "new")
    assert set(done.written) == names(tmp_path / "new")
    assert not done.kept
    assert not done.shown
    project = load(tmp_path / "new")
    assert [fixture.id for fixture in project.fixtures] == ["fixtures/hello"]
    assert {"cp312", "cp313"} <= {str(cell.python) for cell in project.matrix.cells}


def test_the_matrix_names_its_schema_and_the_schema_is_there(tmp_path: Path) -> None:
    scaffold(tmp_path)
    first = (tmp_path / "matrix.yaml").read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema={SCHEMA_NAME}"
    assert (tmp_path / SCHEMA_NAME).is_file()


@pytest.mark.parametrize("name", ["matrix.yaml", "matrix.yml"])
def test_a_folder_with_a_matrix_is_left_as_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError) as caught:
        scaffold(tmp_path)
    assert [problem.id for problem in caught.value.problems] == ["H0005"]
    assert names(tmp_path) == {name}


def test_files_that_are_there_are_kept_and_what_they_lack_is_shown(tmp_path: Path) -> None:
    theirs = {"tox.ini": "[tox]\n", "conftest.py": "x = 1\n", ".gitattributes": "*.png binary\n"}
    for name, text in theirs.items():
        (tmp_path / name).write_text(text)
    done = scaffold(tmp_path)
    assert {one.name for one in done.shown} == set(theirs) == set(done.kept)
    assert {name: (tmp_path / name).read_text() for name in theirs} == theirs
    assert "fixtures/** -text" in next(one.lacks for one in done.shown if one.name == ".gitattributes")


def test_what_a_kept_file_has_already_is_not_shown_again(tmp_path: Path) -> None:
    scaffold(tmp_path)
    (tmp_path / "matrix.yaml").unlink()
    done = scaffold(tmp_path)
    assert done.written == ("matrix.yaml",)
    assert not done.shown


def test_a_project_that_was_begun_can_be_finished(tmp_path: Path) -> None:
    """The matrix comes last: whatever interrupts the first try, the second is not refused."""
    assert scaffold(tmp_path).written[-1] == "matrix.yaml"


def test_the_tox_file_runs_the_matrix(tmp_path: Path) -> None:
    scaffold(tmp_path)
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read(tmp_path / "tox.ini")
    assert parsed["testenv:cross"]["commands"] == "harness run {posargs}"


@pytest.mark.parametrize(
    ("files", "fixtures"),
    [
        (["a b.py", "a b.out", "setup.py", "src/x.py"], ["a b.py"]),
        (["one/prog.py", "one/expect.txt", "helper.py"], ["one"]),
        (["a #b/x.py", "a #b/x.out"], ["a #b/x.py"]),
        (["10/x.py", "10/x.out"], ["10/x.py"]),
    ],
)
def test_the_corpora_that_are_there_are_what_the_matrix_loads(
    files: list[str], fixtures: list[str], tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    done = scaffold(tmp_path)
    project = load(tmp_path)
    assert [fixture.id for fixture in project.fixtures] == fixtures
    assert not project.unblessed
    assert "fixtures/hello/main.py" not in done.written


def test_pytest_is_not_told_to_pass_over_a_folder_with_the_users_own_tests(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    for name in ("a.py", "a.out", "test_a.py"):
        (tmp_path / "tests" / name).write_text("")
    scaffold(tmp_path)
    assert not (tmp_path / "conftest.py").exists()


@pytest.mark.skipif(this_platform().os == "windows", reason="Windows has no such names")
def test_a_folder_that_no_matrix_can_name_does_not_spoil_the_matrix(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    for name in ("x.py", "x.out"):
        (tmp_path / "a:b" / name).write_text("")
    scaffold(tmp_path)
    assert [fixture.id for fixture in load(tmp_path).fixtures] == ["fixtures/hello"]
