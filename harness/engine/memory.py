"""What is remembered of this computer and its projects between commands, in the user's cache.

A matrix that was read before is not validated again: every command starts with it, and validation takes longest.
It is keyed by the file's bytes and by this version of the reader, and verified on every read; a bad entry is a miss,
and a miss only costs time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from harness import matrix as reader
from harness import model
from harness.matrix import load_matrix
from harness.model.cell import Matrix
from harness.model.codec import from_json, to_json
from harness.model.platform import Platform


def remembered_matrix(path: Path, *, local: Platform, folder: Path | None = None) -> Matrix:
    """The same as ``load_matrix``, from memory where that is safe. ``folder`` is by default the user's cache."""
    try:
        text = path.read_bytes()
    except OSError:
        return load_matrix(path, local=local)  # which says what is wrong with it
    place = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()
    entry = (folder or cache_folder()) / "matrices" / f"{place}.json"  # one for each file, so that none piles up
    key = _key(path, text, local)
    known = _recall(entry, key)
    if known is not None and _still_holds(known, path):
        return known
    matrix = load_matrix(path, local=local)
    _remember(entry, key, matrix)
    return matrix


def cache_folder() -> Path:
    """Where this user's memories are: they may be removed at any time."""
    from platformdirs import user_cache_path

    return user_cache_path("harness", appauthor=False)


def _key(path: Path, text: bytes, local: Platform) -> str:
    digest = hashlib.sha256(f"{path}\0{local}\0".encode("utf-8", "surrogateescape"))
    for package in (reader, model):
        for source in sorted(Path(package.__path__[0]).glob("*.py")):
            stat = source.stat()
            digest.update(f"{source}:{stat.st_size}:{stat.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    digest.update(text)
    return digest.hexdigest()


def _recall(entry: Path, key: str) -> Matrix | None:
    try:
        seal, _, body = entry.read_text(encoding="ascii").partition("\n")
        return from_json(Matrix, body) if seal == _seal(key, body) else None
    except (OSError, ValueError):
        return None


def _still_holds(matrix: Matrix, path: Path) -> bool:
    """Whether the folders are still there that the reader looked for; without a corpus it must look again."""
    return bool(matrix.corpora) and all((path.parent / corpus.path).is_dir() for corpus in matrix.corpora)


def _seal(key: str, body: str) -> str:
    return hashlib.sha256(f"{key}\0{body}".encode()).hexdigest()


def _remember(entry: Path, key: str, matrix: Matrix) -> None:
    body = to_json(matrix)
    with contextlib.suppress(OSError):
        entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=entry.parent)
        with os.fdopen(descriptor, "w", encoding="ascii", newline="\n") as file:
            file.write(f"{_seal(key, body)}\n{body}")
        Path(name).replace(entry)
