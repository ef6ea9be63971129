"""Files of a user's project, there whole or not at all: nobody ever reads half of one, whatever happens meanwhile.

Modes follow the user's umask. Every failure is LocalTrouble naming the path.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from harness.errors import LocalTrouble, Place, Problem


def create_file(path: Path, data: bytes) -> bool:
    """Write a file, and its folders, where nothing is; False, and nothing written, where something is."""
    if os.path.lexists(path):
        return False
    with _trouble(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _draft(path, data) as draft:
            try:
                os.link(draft, path)  # unlike a rename, this never replaces what somebody wrote meanwhile
            except FileExistsError:
                return False
            except OSError:  # a file system without links
                if os.path.lexists(path):
                    return False
                draft.replace(path)
    return True


def replace_file(path: Path, data: bytes) -> None:
    """Write a file in place of the one that may be there, keeping its mode."""
    with _trouble(path), _draft(path, data) as draft:
        with contextlib.suppress(FileNotFoundError):
            draft.chmod(stat.S_IMODE(path.stat().st_mode))
        draft.replace(path)


@contextlib.contextmanager
def _draft(path: Path, data: bytes) -> Iterator[Path]:
    """The bytes on the disk under another name beside ``path``; what is left of it in the end is removed."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _trouble(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = Place(path=os.fsdecode(error.filename or path))
        raise LocalTrouble(Problem(id="H0705", place=place, message=error.strerror or str(error))) from error
