"""The ``corpora:`` of a matrix file: folders that exist under it, oracles that it can answer, commands that fit.

Where one corpus lies within another, the inner one takes its folder: the outer one leaves it out, so that no
fixture has two identities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from harness.document import Path_, nearest
from harness.model.cell import Corpus, Oracle
from harness.model.platform import Platform

if TYPE_CHECKING:
    from harness.matrix.schema import CorpusEntry, MatrixFile

Report = Callable[[str, Path_, str], None]
DEFAULT = Corpus(path="fixtures")


def in_full(cells: str, local: Platform) -> str:
    """A cell id or pattern in which a leading ``local/`` is this computer's platform."""
    return f"{local}{cells.removeprefix('local')}" if cells.startswith("local/") else cells


def corpora(file: MatrixFile, root: Path, cells: Sequence[str], local: Platform, report: Report) -> tuple[Corpus, ...]:
    """The corpora of a validated file in ``root``; ``fixtures``, if there is such a folder, when it names none."""
    if file.corpora is None:
        return (DEFAULT,) if (root / DEFAULT.path).is_dir() else ()
    found: list[Corpus] = []
    for position, entry in enumerate(file.corpora):
        path: Path_ = ("corpora", position)
        if entry.path in [corpus.path for corpus in found]:
            report("H0205", (*path, "path"), f"{entry.path} is already a corpus")
        _check_folder(entry.path, root, (*path, "path"), report)
        _check_preparation(entry, path, report)
        oracle = _oracle(entry, local)
        if oracle.kind == "reference" and oracle.cell not in cells:
            known = nearest(oracle.cell, cells)
            report("H0215", (*path, "oracle", "reference"), f"{oracle.cell!r} is no cell of the matrix; {known}")
        found.append(_corpus(entry, oracle))
    return tuple(_without_inner(corpus, found) for corpus in found)


def _check_folder(written: str, root: Path, path: Path_, report: Report) -> None:
    folder = root
    for part in written.split("/"):
        folder /= part
        if folder.is_symlink():
            report("H0211", path, f"{written!r} goes through a symbolic link")
            return
    if not folder.is_dir():
        report("H0212", path, f"there is no folder {written!r} beside the matrix file")


def _check_preparation(entry: CorpusEntry, path: Path_, report: Report) -> None:
    if entry.prepare is None:
        if entry.source:
            report("H0107", (*path, "source"), "sources need a command that makes programs of them; add prepare:")
        return
    if not entry.source:
        report("H0107", (*path, "prepare"), "the command needs its sources; add source:, a glob such as *.mochi")
    for hole in ("{source}", "{output}"):
        if not any(hole in word for word in entry.prepare):
            report("H0108", (*path, "prepare"), f"the command lacks {hole}")


def _oracle(entry: CorpusEntry, local: Platform) -> Oracle:
    from harness.matrix.schema import Reference

    if isinstance(entry.oracle, str):
        return Oracle(kind=entry.oracle)
    if isinstance(entry.oracle, Reference):
        return Oracle(kind="reference", cell=in_full(entry.oracle.reference, local))
    return Oracle(kind="command", command=tuple(entry.oracle.command))


def _corpus(entry: CorpusEntry, oracle: Oracle) -> Corpus:
    from harness.matrix.fields import normalisations

    return Corpus(
        path=entry.path,
        layout=entry.layout,
        program=entry.program,
        oracle=oracle,
        prepare=tuple(entry.prepare or ()),
        source=entry.source,
        normalise=normalisations(entry.normalise),
        exclude=tuple(entry.exclude),
        timeout=entry.timeout,
    )


def _without_inner(corpus: Corpus, all_corpora: Sequence[Corpus]) -> Corpus:
    folder = "" if corpus.path == "." else f"{corpus.path}/"
    inner = [
        escape(other.path.removeprefix(folder))
        for other in all_corpora
        if other is not corpus and other.path.startswith(folder)
    ]
    return replace(corpus, exclude=(*corpus.exclude, *inner))
