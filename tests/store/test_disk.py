"""Files are there whole or not at all; failures of the disk have a meaning and a path."""

from __future__ import annotations

import errno
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import CATALOGUE, LocalTrouble
from harness.model.codec import CodecError
from harness.store import disk
from harness.store.disk import Damaged, local_trouble, private_folder, write_whole


def failure(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("said by SQLite")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize("code", disk._SQLITE)
def test_each_failure_of_sqlite_in_the_table_is_local_trouble_with_the_path(code: int) -> None:
    extended = code | 7 << 8  # such as SQLITE_IOERR_WRITE
    with pytest.raises(LocalTrouble) as trouble, local_trouble(Path("some/where")):
        raise failure(extended)
    (problem,) = trouble.value.problems
    assert problem.id in CATALOGUE
    assert str(problem.place) == "some/where"
    assert isinstance(trouble.value.__cause__, sqlite3.Error)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_ERROR])
def test_a_failure_that_is_our_own_fault_stays_what_it_is(code: int) -> None:
    with pytest.raises(sqlite3.OperationalError), local_trouble(Path("p")):
        raise failure(code)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "x", "f"), "error[H0701]: f: no space is left on the disk"),
        (OSError(errno.EDQUOT, "x", "f"), "error[H0701]: f: no space is left on the disk"),
        (OSError(errno.EROFS, "x", b"f"), "error[H0701]: f: it is read-only"),
        (PermissionError(errno.EACCES, "Permission denied", Path("f")), "error[H0701]: f: Permission denied"),
        (OSError("no number"), "error[H0701]: p: no number"),
        (zlib.error("bad"), "error[H0702]: p: bad"),
        (CodecError("missing").within(".a"), "error[H0702]: p: a: missing"),
        (Damaged("a row"), "error[H0702]: p: a row"),
    ],
)
def test_each_other_failure_is_local_trouble_in_words(error: Exception, said: str) -> None:
    with pytest.raises(LocalTrouble) as trouble, local_trouble(Path("p")):
        raise error
    assert str(trouble.value) == said


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), local_trouble(Path("p")):
        raise KeyError("k")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"before")
    write_whole(target, (b"af", b"ter"), scratch=tmp_path)
    assert target.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [target]


def test_a_write_that_breaks_off_leaves_the_file_as_it_was_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"before")

    def parts() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(target, parts(), scratch=tmp_path)
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PermissionError, match="not a folder of its own"):
        private_folder(tmp_path / "file")
