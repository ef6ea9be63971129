"""Every input of this folder is wrong on purpose; index.toml says where, and how it must be told."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from harness.document import reader
from harness.errors import CATALOGUE, InputError, Problem
from harness.fixtures import load_corpus
from harness.matrix import load_matrix
from harness.model.cell import Corpus
from harness.model.platform import Platform
from harness.runners.inventory import read_hosts

HERE = Path(__file__).parent
INDEX = tomllib.loads((HERE / "index.toml").read_text(encoding="utf-8"))
LOCAL = Platform.parse("linux-glibc-x86_64")


def matrix_problems(name: str, folder: Path) -> tuple[Problem, ...]:
    (folder / "corpus").mkdir()
    path = folder / "matrix.yaml"
    shutil.copyfile(HERE / "matrix" / f"{name}.yaml", path)
    with pytest.raises(InputError) as caught:
        load_matrix(path, local=LOCAL)
    return caught.value.problems


def fixture_problems(name: str) -> tuple[Problem, ...]:
    loaded = load_corpus(HERE / "fixtures", Corpus(path=name))
    assert all(fixture.id != f"{name}/one" for fixture in loaded.unblessed)
    return loaded.problems


def hosts_problems(name: str, folder: Path) -> tuple[Problem, ...]:
    (folder / "runners").mkdir()
    shutil.copyfile(HERE / "hosts" / f"{name}.yaml", folder / "runners" / "hosts.yaml")
    with pytest.raises(InputError) as caught:
        read_hosts(folder)
    return caught.value.problems


def check(found: tuple[Problem, ...], expected: list[tuple[str, int, int, str]]) -> None:
    shown = "\n".join(str(problem) for problem in found)
    assert len(found) == len(expected), shown
    for problem, (id, line, column, says) in zip(found, expected, strict=True):
        assert problem.id == id, shown
        assert problem.place is not None
        assert (problem.place.line, problem.place.column) == (line, column), shown
        assert says in problem.message, shown
        assert problem.id in CATALOGUE
        assert problem.mend


def test_the_index_and_the_folders_hold_the_same_names() -> None:
    assert sorted(INDEX["matrix"]) == sorted(path.stem for path in (HERE / "matrix").iterdir())
    assert sorted(INDEX["hosts"]) == sorted(path.stem for path in (HERE / "hosts").iterdir())
    assert sorted(INDEX["fixtures"]) == sorted(path.name for path in (HERE / "fixtures").iterdir())


@pytest.mark.parametrize("name", sorted(INDEX["matrix"]))
def test_a_broken_matrix_is_told_completely_and_at_its_places(name: str, tmp_path: Path) -> None:
    check(matrix_problems(name, tmp_path), INDEX["matrix"][name]["problems"])


@pytest.mark.parametrize("name", sorted(INDEX["hosts"]))
def test_a_broken_inventory_is_told_completely_and_at_its_places(name: str, tmp_path: Path) -> None:
    check(hosts_problems(name, tmp_path), INDEX["hosts"][name]["problems"])


@pytest.mark.parametrize("name", sorted(INDEX["fixtures"]))
def test_a_broken_fixture_is_told_completely_and_at_its_places(name: str) -> None:
    check(fixture_problems(name), INDEX["fixtures"][name]["problems"])


@pytest.mark.parametrize("name", sorted(INDEX["matrix"]))
def test_the_parser_without_c_finds_the_same_mistakes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "LOADER", yaml.SafeLoader)
    found = matrix_problems(name, tmp_path)
    assert [problem.id for problem in found] == [expected[0] for expected in INDEX["matrix"][name]["problems"]]
