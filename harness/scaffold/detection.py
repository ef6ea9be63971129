"""Finds the fixtures that a folder has already, and says them as corpora of a matrix file.

A golden gives a fixture away: ``name.out`` beside ``name.py``, or ``expected.stdout`` or ``expect.txt`` beside a
program. What describes the most fixtures with the least left over is chosen, and what is left over is excluded: what
was found can be run. Nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from glob import escape
from itertools import accumulate
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

_NOTHING = Loaded(fixtures=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """A corpus that is there, what it loads, and what it would load too if it did not exclude it: no fixtures yet."""

    corpus: Corpus
    loaded: Loaded
    left_out: Loaded = _NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class _Home:
    """A folder that has fixtures: flat ones, or (with the names of their programs) a folder each."""

    path: str
    programs: frozenset[str] = frozenset()


def detect(root: Path) -> tuple[Detected, ...]:
    """The corpora in a folder, sorted by path; none when it has no fixture."""
    homes = list(_homes(root))
    if any(home.path == "" for home in homes):
        return _usable([_best(root, ".", homes)])
    found = []
    for top in sorted({home.path.split("/")[0] for home in homes}):
        inside = [home for home in homes if home.path.split("/")[0] == top]
        path = DEFAULT.path if top == DEFAULT.path else commonpath(home.path for home in inside)
        found.append(_best(root, path, inside))
    return _usable(found)


def first_corpus(root: Path) -> Corpus:
    """Where the first fixture of a folder without any goes, however much else lies there."""
    return _best(root, DEFAULT.path, []).corpus if (root / DEFAULT.path).is_dir() else DEFAULT


def _usable(found: list[Detected]) -> tuple[Detected, ...]:
    return tuple(one for one in found if one.loaded.fixtures)


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


def _best(root: Path, path: str, homes: list[_Home]) -> Detected:
    """Of all descriptions the one with the most fixtures, then with the least left over, then the plainest."""
    shared = [home.programs for home in homes if home.programs]
    programs = ["main.py", *(sorted(frozenset.intersection(*shared) - {"main.py"}) if shared else ())]
    described = [
        _described(root, Corpus(path=path, layout=layout, program=program))
        for program in programs
        for layout in _LAYOUTS
    ]
    best = max(described, key=lambda one: (len(one.loaded.fixtures), -_left_over(one.loaded)))
    whole = best.loaded
    for pattern in _NO_FIXTURES:
        best = _better(root, best, pattern)
    best = _better(root, best, *_strangers(best))
    left_out = Loaded(
        fixtures=(),
        unblessed=tuple(one for one in whole.unblessed if one not in best.loaded.unblessed),
        problems=tuple(one for one in whole.problems if one not in best.loaded.problems),
    )
    return replace(best, left_out=left_out)


def _strangers(found: Detected) -> tuple[str, ...]:
    """Patterns for what is left over: the topmost folders in which no fixture is, and single files beside fixtures."""
    prefix = "" if found.corpus.path == "." else f"{found.corpus.path}/"
    homes = {path for one in found.loaded.fixtures for path in _above(one.id)}
    ids = [one.id for one in found.loaded.unblessed]
    paths = [*ids, *(one.place.path for one in found.loaded.problems if one.place)]
    tops = {
        next((folder for folder in _above(path) if folder.startswith(prefix) and folder not in homes), path)
        for path in paths
        if path.startswith(prefix)
    }
    return tuple(escape(top.removeprefix(prefix)) for top in sorted(tops))


def _above(path: str) -> list[str]:
    """The folders that a file or folder is in, topmost first."""
    return list(accumulate(path.split("/")[:-1], lambda folder, name: f"{folder}/{name}"))


def _better(root: Path, found: Detected, *patterns: str) -> Detected:
    """The same fixtures with less left over, where these patterns exclude just that."""
    without = _described(root, replace(found.corpus, exclude=(*found.corpus.exclude, *patterns)))
    same = without.loaded.fixtures == found.loaded.fixtures
    return without if same and _left_over(without.loaded) < _left_over(found.loaded) else found


def _described(root: Path, corpus: Corpus) -> Detected:
    return Detected(corpus=corpus, loaded=load_corpus(root, corpus))


def _left_over(loaded: Loaded) -> int:
    return len(loaded.unblessed) + len(loaded.problems)
