"""A new project: what is written, what is kept, and that all of it is right."""

from __future__ import annotations

import configparser
import tomllib
from pathlib import Path

import pytest

from harness.engine.project import Project
from harness.errors import InputError
from harness.runners.local import this_platform
from harness.scaffold.project import MATRIX_NAMES, SCHEMA_NAME, scaffold


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
def test_a_matrix_that_is_there_is_kept_and_heard(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    text = 'platforms: [local]\npythons: ["3.12"]\ncorpora: [{path: mine}]\n'
    (tmp_path / name).write_text(text)
    done = scaffold(tmp_path)
    assert done.kept == (name,)
    assert [one.lacks for one in done.shown] == [f"# yaml-language-server: $schema={SCHEMA_NAME}\n"]
    assert "mine/** -text" in (tmp_path / ".gitattributes").read_text()
    assert not (tmp_path / "fixtures").exists()
    assert [(tmp_path / known).read_text() for known in MATRIX_NAMES if (tmp_path / known).exists()] == [text]


def test_a_matrix_that_is_wrong_is_told_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text("mine")
    with pytest.raises(InputError):
        scaffold(tmp_path)
    assert names(tmp_path) == {"matrix.yaml"}


def test_a_second_time_nothing_is_written(tmp_path: Path) -> None:
    first = scaffold(tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    second = scaffold(tmp_path)
    assert (second.written, second.shown) == ((), ())
    assert set(second.kept) <= set(first.written)
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


def test_a_schema_of_another_version_is_kept_and_the_way_to_renew_it_is_shown(tmp_path: Path) -> None:
    scaffold(tmp_path)
    (tmp_path / SCHEMA_NAME).write_text("{}")
    (shown,) = scaffold(tmp_path).shown
    assert shown.lacks == f"harness schema > {SCHEMA_NAME}\n"
    assert (tmp_path / SCHEMA_NAME).read_text() == "{}"


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
        (["x.py", "x.out", "run_all.py", "y.out", "tools/deep/gen.py"], ["x.py"]),
        (["p/x.py", "p/x.out", "two/main.py", "two/expect.txt", "z.py", "z.out"], ["p/x.py", "two", "z.py"]),
        (["fixtures/data.py", "fixtures/more/main.py"], ["fixtures/hello"]),
    ],
)
def test_the_corpora_that_are_there_are_what_the_matrix_loads(
    files: list[str], fixtures: list[str], tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    done = scaffold(tmp_path)
    project = load(tmp_path)
    assert [fixture.id for fixture in project.fixtures] == fixtures
    assert not project.unblessed
    assert ("fixtures/hello/main.py" in done.written) == (fixtures == ["fixtures/hello"])


@pytest.mark.parametrize("names", [("a.py", "a.out", "test_a.py"), ("a/main.py", "a/expect.txt", "test_a.py")])
def test_pytest_is_not_told_to_pass_over_a_folder_with_the_users_own_tests(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
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


def test_a_package_is_run_in_the_pythons_that_it_is_for(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "p"\nrequires-python = ">=3.12,<3.14"\n')
    scaffold(tmp_path)
    series = {str(cell.python) for cell in load(tmp_path).matrix.cells}
    assert {"cp312", "cp313"} <= series <= {"cp312", "cp313", "cp312t", "cp313t"}


def test_additions_to_one_file_are_all_shown(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "p"\n[tool.tox]\nenv_list = ["py"]\n')
    (tmp_path / "p.py").write_text("")
    before = (tmp_path / "pyproject.toml").read_bytes()
    done = scaffold(tmp_path)
    assert not (tmp_path / "tox.ini").exists()
    assert [one.name for one in done.shown] == ["pyproject.toml", "pyproject.toml"]
    assert (tmp_path / "pyproject.toml").read_bytes() == before
    with (tmp_path / "pyproject.toml").open("a") as file:
        file.writelines(f"\n{one.lacks}" for one in done.shown)
    tomllib.loads((tmp_path / "pyproject.toml").read_text())
    assert not scaffold(tmp_path).shown
