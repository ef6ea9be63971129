"""The disk under the store: private folders, files that are there whole or not at all, and what its failures mean.

Every failure of the disk or of SQLite becomes one of the store's errors here, by one table, naming the path.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.errors import LocalTrouble, Place, Problem
from harness.model.codec import CodecError


class Damaged(Exception):
    """Something stored is not what was stored: its digest, its shape or its owner's mark is wrong."""


_FULL = ("H0701", "no space is left on the disk")
_READ_ONLY = ("H0701", "it is read-only")
_DAMAGED = ("H0702", "it is damaged")

# SQLite's primary result codes. What is absent (misuse, constraint, no such table) would be our own bug, exit 70.
_SQLITE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_IOERR: ("H0701", "the disk reports an error"),
    sqlite3.SQLITE_CANTOPEN: ("H0701", "it cannot be opened"),
    sqlite3.SQLITE_PERM: ("H0701", "permission is denied"),
    sqlite3.SQLITE_BUSY: ("H0701", "another program keeps it locked"),
    sqlite3.SQLITE_PROTOCOL: ("H0701", "its file system does not lock files"),
    sqlite3.SQLITE_NOLFS: ("H0701", "its file system does not take so large a file"),
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: ("H0702", "it is not a SQLite database"),
}
_ERRNO = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EROFS: _READ_ONLY}


def _meaning(error: Exception) -> tuple[str, str] | None:
    if isinstance(error, sqlite3.Error):
        return _SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    if isinstance(error, OSError):
        return _ERRNO.get(error.errno or 0, ("H0701", error.strerror or str(error)))
    return "H0702", str(error)


@contextlib.contextmanager
def local_trouble(path: Path) -> Iterator[None]:
    """Raise LocalTrouble with the path for whatever the disk, SQLite or stored bytes do wrong in the block."""
    try:
        yield
    except (OSError, sqlite3.Error, zlib.error, UnicodeDecodeError, CodecError, Damaged) as error:
        meaning = _meaning(error)
        if meaning is None:
            raise
        identity, message = meaning
        culprit = getattr(error, "filename", None) or path
        raise LocalTrouble(Problem(id=identity, message=message, place=Place(path=os.fsdecode(culprit)))) from error


def private_folder(folder: Path) -> Path:
    """Make a folder that only its owner can enter, or accept the one that is there.

    Raises PermissionError when it is a link or another user's: who can put a link there could read or replace
    what is stored.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(errno.EPERM, "it is not a folder of its own, but a link or a file", str(folder))
    if hasattr(os, "geteuid") and found.st_uid not in (0, os.geteuid()):
        raise PermissionError(errno.EPERM, f"it belongs to another user (uid {found.st_uid})", str(folder))
    return folder


def write_whole(path: Path, parts: Iterable[bytes], *, scratch: Path) -> None:
    """Write a file of mode 0600 that is there whole, durably, or not at all, whatever happens meanwhile.

    ``scratch`` is a folder on the same file system. Raises OSError; then ``path`` is as it was.
    """
    file = tempfile.NamedTemporaryFile(dir=scratch, prefix=".harness-", suffix=".tmp", delete=False)  # noqa: SIM115
    try:
        with file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(file.name).unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # A rename is durable only once its folder is. Windows cannot open one (PermissionError), and journals renames.
    with contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
