"""Which corpora a folder is found to have, and that each, written into a matrix, loads just those fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.model.cell import Corpus
from harness.scaffold.detection import detect


def fill(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("print(1)\n" if name.endswith(".py") else "1\n")
    return root


@pytest.mark.parametrize(
    ("names", "corpus", "fixtures"),
    [
        pytest.param(["a.py", "a.out", "b.py", "b.out"], Corpus(path="."), ["a.py", "b.py"], id="flat pairs here"),
        pytest.param(
            ["one/prog.py", "one/expect.txt", "two/prog.py", "two/expect.txt", "tool.py"],
            Corpus(path=".", layout="folder", program="prog.py"),
            ["one", "two"],
            id="folders here",
        ),
        pytest.param(
            ["tests/golden/a/main.py", "tests/golden/a/expected.stdout", "tests/test_it.py", "src/it.py"],
            Corpus(path="tests/golden"),
            ["tests/golden/a"],
            id="folders deep down",
        ),
        pytest.param(
            ["fixtures/text/a/main.py", "fixtures/text/a/expected.stdout"],
            Corpus(path="fixtures"),
            ["fixtures/text/a"],
            id="where new fixtures belong",
        ),
        pytest.param(
            ["t/a.py", "t/a.out", "t/test_a.py", "t/conftest.py"],
            Corpus(path="t", exclude=("test_*.py",)),
            ["t/a.py"],
            id="beside the user's own tests",
        ),
        pytest.param(
            ["a.py", "a.out", "src/it.py", "setup.py", ".venv/b.py", ".venv/b.out"],
            Corpus(path=".", exclude=("setup.py", "src")),
            ["a.py"],
            id="beside a package",
        ),
    ],
)
def test_a_corpus_is_described_by_what_loads_it(
    names: list[str], corpus: Corpus, fixtures: list[str], tmp_path: Path
) -> None:
    (found,) = detect(fill(tmp_path, *names))
    assert found.corpus == corpus
    assert [fixture.id for fixture in found.loaded.fixtures] == fixtures
    assert not found.loaded.unblessed
    assert not found.loaded.problems


def test_what_is_no_fixture_yet_is_left_out_and_named(tmp_path: Path) -> None:
    (found,) = detect(fill(tmp_path, "c/a.py", "c/a.out", "c/b.py", "c/lone.out", "c/[x]/deep/d.py"))
    assert [fixture.id for fixture in found.left_out.unblessed] == ["c/[x]/deep/d.py", "c/b.py"]
    assert [problem.id for problem in found.left_out.problems] == ["H0302"]
    assert set(found.corpus.exclude) == {"[[]x]", "b.py", "lone.out"}
    assert [fixture.id for fixture in found.loaded.fixtures] == ["c/a.py"]
    assert not found.loaded.unblessed
    assert not found.loaded.problems


def test_goldens_whose_programs_nobody_can_name_make_no_corpus(tmp_path: Path) -> None:
    assert detect(fill(tmp_path, "a/a.py", "a/expect.txt", "b/b.py", "b/expect.txt")) == ()


def test_corpora_side_by_side_are_found_each(tmp_path: Path) -> None:
    found = detect(fill(tmp_path, "x/a.py", "x/a.out", "y/b/main.py", "y/b/expected.stdout"))
    assert [one.corpus.path for one in found] == ["x", "y"]


def test_a_folder_of_other_things_has_no_corpus(tmp_path: Path) -> None:
    assert detect(fill(tmp_path, "a.py", "b.out", "src/c.py")) == ()
