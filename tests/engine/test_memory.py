"""A remembered matrix is the matrix, or it is read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.engine import memory
from harness.engine.memory import remembered_matrix
from harness.errors import InputError
from harness.matrix import load_matrix
from harness.model.cell import Matrix
from harness.model.platform import Platform

LOCAL = Platform(os="linux", libc="glibc", arch="x86_64")
TEXT = 'platforms: [local, windows-amd64]\npythons: ["3.12"]\n'


class Reader:
    """Counts how often the file is really read."""

    def __init__(self) -> None:
        self.readings = 0

    def __call__(self, path: Path, *, local: Platform) -> Matrix:
        self.readings += 1
        return load_matrix(path, local=local)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    counting = Reader()
    monkeypatch.setattr(memory, "load_matrix", counting)
    return counting


@pytest.fixture
def matrix_file(tmp_path: Path) -> Path:
    (tmp_path / "fixtures").mkdir()
    path = tmp_path / "matrix.yaml"
    path.write_text(TEXT)
    return path


def test_a_matrix_is_read_once_and_then_the_same(matrix_file: Path, tmp_path: Path, reader: Reader) -> None:
    first = remembered_matrix(matrix_file, local=LOCAL, folder=tmp_path / "cache")
    second = remembered_matrix(matrix_file, local=LOCAL, folder=tmp_path / "cache")
    assert reader.readings == 1
    assert first == second == load_matrix(matrix_file, local=LOCAL)


def test_a_change_of_the_file_is_seen(matrix_file: Path, tmp_path: Path, reader: Reader) -> None:
    remembered_matrix(matrix_file, local=LOCAL, folder=tmp_path / "cache")
    matrix_file.write_text(TEXT.replace("3.12", "3.13"))
    again = remembered_matrix(matrix_file, local=LOCAL, folder=tmp_path / "cache")
    assert reader.readings == 2
    assert again.cells[0].id == "linux-glibc-x86_64/cp313"
    assert len(list((tmp_path / "cache" / "matrices").iterdir())) == 1


def test_another_computer_has_its_own_reading(matrix_file: Path, tmp_path: Path, reader: Reader) -> None:
    remembered_matrix(matrix_file, local=LOCAL, folder=tmp_path / "cache")
    mac = remembered_matrix(matrix_file, local=Platform(os="macos", arch="arm64"), folder=tmp_path / "cache")
    assert mac.cells[0].id == "macos-arm64/cp312"


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"0\n{}", None])
def test_a_damaged_memory_is_a_miss(matrix_file: Path, tmp_path: Path, reader: Reader, damage: bytes | None) -> None:
    first = remembered_matrix(matrix_file, local=LOCAL, folder=tmp_path / "cache")
    (entry,) = (tmp_path / "cache" / "matrices").iterdir()
    entry.write_bytes(entry.read_bytes().replace(b"windows", b"wimdows") if damage is None else damage)
    assert remembered_matrix(matrix_file, local=LOCAL, folder=tmp_path / "cache") == first
    assert reader.readings == 2


def test_a_corpus_that_vanished_is_reported_and_not_remembered(matrix_file: Path, tmp_path: Path) -> None:
    matrix_file.write_text(TEXT + "corpora: [{path: fixtures}]\n")
    remembered_matrix(matrix_file, local=LOCAL, folder=tmp_path / "cache")
    (tmp_path / "fixtures").rmdir()
    with pytest.raises(InputError, match="H0212"):
        remembered_matrix(matrix_file, local=LOCAL, folder=tmp_path / "cache")


def test_a_corpus_that_appears_is_found(matrix_file: Path, tmp_path: Path) -> None:
    (tmp_path / "fixtures").rmdir()
    assert remembered_matrix(matrix_file, local=LOCAL, folder=tmp_path / "cache").corpora == ()
    (tmp_path / "fixtures").mkdir()
    assert len(remembered_matrix(matrix_file, local=LOCAL, folder=tmp_path / "cache").corpora) == 1


def test_a_cache_that_cannot_be_written_is_no_obstacle(matrix_file: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert remembered_matrix(matrix_file, local=LOCAL, folder=tmp_path / "cache").cells


def test_a_missing_file_is_the_readers_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="H0101"):
        remembered_matrix(tmp_path / "matrix.yaml", local=LOCAL, folder=tmp_path / "cache")
