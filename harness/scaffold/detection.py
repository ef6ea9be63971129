"""Finds the fixtures that a folder has already, and says them as corpora of a matrix file.

A golden gives a fixture away: ``name.out`` beside ``name.py``, or ``expected.stdout`` or ``expect.txt`` beside a
program. What describes the most fixtures with the least left over is chosen. Nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from glob import escape
from os.path import commonpath
from pathlib import Path

from harness.fixtures import Loaded, load_corpus
from harness.fixtures.layouts import STDOUT
from harness.matrix.corpora import DEFAULT
from harness.model.cell import Corpus
from harness.model.paths import name_trouble

_NEVER = frozenset({"__pycache__", "node_modules", "site-packages"})
# Programs that lie beside fixtures and, without a golden, are none.
_NO_FIXTURES = ("test_*.py", "*/test_*.py", "*_test.py", "setup.py", "noxfile.py")
_LAYOUTS = ("auto", "folder", "flat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """A corpus that is there, and what it loads."""

    corpus: Corpus
    loaded: Loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class _Home:
    """A folder that has fixtures: flat ones, or (with the names of their programs) a folder each."""

    path: str
    programs: frozenset[str] = frozenset()


def detect(root: Path) -> tuple[Detected, ...]:
    """The corpora in a folder, sorted by path; none when it has no fixture."""
    homes = list(_homes(root))
    if any(home.path == "" for home in homes):
        return (_best(root, ".", homes, _strangers(root, homes)),)
    tops = sorted({home.path.split("/")[0] for home in homes})
    found = []
    for top in tops:
        inside = [home for home in homes if home.path.split("/")[0] == top]
        path = DEFAULT.path if top == DEFAULT.path else commonpath(home.path for home in inside)
        found.append(_best(root, path, inside, ()))
    return tuple(found)


def _homes(root: Path) -> Iterator[_Home]:
    for folder, names, files in os.walk(root):
        path = Path(folder).relative_to(root).as_posix()
        path = "" if path == "." else path
        names[:] = sorted(name for name in names if _is_entered(Path(folder, name)))
        present = set(files)
        if path and not present.isdisjoint(STDOUT):
            names.clear()
            parent = path.rpartition("/")[0]
            yield _Home(path=parent, programs=frozenset(name for name in files if name.endswith(".py")))
        elif any(name.endswith(".out") and f"{name[:-4]}.py" in present for name in files):
            yield _Home(path=path)


def _is_entered(folder: Path) -> bool:
    """Whether fixtures may be in a folder, and a matrix may name it."""
    if name_trouble(folder.name):
        return False
    return not (folder.name.startswith(".") or folder.name in _NEVER or (folder / "pyvenv.cfg").exists())


def _strangers(root: Path, homes: list[_Home]) -> tuple[str, ...]:
    """Patterns for the folders of ``root`` in which no golden is: their programs are something else."""
    known = {home.path.split("/")[0] for home in homes}
    beside = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and _is_entered(Path(entry.path)))
    return tuple(f"{escape(name)}/*" for name in beside if name not in known)


def _best(root: Path, path: str, homes: list[_Home], strangers: tuple[str, ...]) -> Detected:
    """Of all descriptions the one with the most fixtures, then with the least left over, then the plainest."""
    shared = [home.programs for home in homes if home.programs]
    programs = ["main.py", *(sorted(frozenset.intersection(*shared) - {"main.py"}) if shared else ())]
    described = [
        _described(root, Corpus(path=path, layout=layout, program=program))
        for program in programs
        for layout in _LAYOUTS
    ]
    best = max(described, key=lambda one: (len(one.loaded.fixtures), -_left_over(one.loaded)))
    for pattern in (*strangers, *_NO_FIXTURES):
        without = _described(root, replace(best.corpus, exclude=(*best.corpus.exclude, pattern)))
        if without.loaded.fixtures == best.loaded.fixtures and _left_over(without.loaded) < _left_over(best.loaded):
            best = without
    return best


def _described(root: Path, corpus: Corpus) -> Detected:
    return Detected(corpus=corpus, loaded=load_corpus(root, corpus))


def _left_over(loaded: Loaded) -> int:
    return len(loaded.unblessed) + len(loaded.problems)
