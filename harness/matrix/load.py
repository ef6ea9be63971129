"""A matrix file to a Matrix: platforms x pythons, exclusions, explicit cells, inclusions, corpora.

Cells come in the order in which they are written. Every problem of the file is reported at once, at its place;
nothing but InputError is raised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import translate
from pathlib import Path
from typing import TYPE_CHECKING

from harness.document import Document, Path_, in_order, nearest, read
from harness.errors import InputError, Problem
from harness.matrix.corpora import corpora, in_full
from harness.model.cell import Cell, Exclusion, Matrix, Tier
from harness.model.platform import Platform, PythonTag
from harness.model.reach import RunnerEntry

if TYPE_CHECKING:
    from harness.matrix.schema import Group, MatrixFile, Settings

_WEAKNESS = {tier: position for position, tier in enumerate(Tier)}
_RUNNERS = tuple(RunnerEntry(name=name) for name in ("local", "docker", "ssh"))
_LOCAL = "local"
MAX_CELLS = 10_000


def load_matrix(path: Path, *, local: Platform) -> Matrix:
    """Read ``path``; raise InputError with all its problems.

    ``local`` is this computer's platform: what the word ``local`` stands for as a platform and in cell patterns.
    Where the file also names that platform by its slug, that entry holds and ``local`` adds nothing.
    """
    from harness.matrix.schema import MatrixFile

    document = read(path)
    return _Loading(document, document.validate(MatrixFile), local, path).matrix()


@dataclass(slots=True, kw_only=True)
class _Declared:
    """A cell and where it was declared."""

    cell: Cell
    path: Path_


class _Loading:
    def __init__(self, document: Document, file: MatrixFile, local: Platform, path: Path) -> None:
        self.document = document
        self.file = file
        self.local = local
        self.path = path
        self.problems: list[Problem] = []

    def matrix(self) -> Matrix:
        declared = self._unique([*self._product(), *self._explicit()])
        ids = [one.cell.id for one in declared]
        excluded = self._excluded(ids)
        cells = [one.cell for one in declared if one.cell.id not in excluded]
        if not cells:
            self._report("H0214", (), self._nothing_left(declared))
        ids = [cell.id for cell in cells]
        for position, include in enumerate(self.file.include):
            pattern = in_full(include.cells, self.local)
            meant = self._matching(pattern, ids, ("include", position, "cells"))
            cells = [_with(cell, include) if cell.id in meant else cell for cell in cells]
        found = corpora(self.file, self.path.parent, ids, self.local, self._report)
        if self.problems:
            raise InputError(in_order(self.problems))
        return Matrix(
            path=str(self.path),
            cells=tuple(cells),
            corpora=found,
            exclusions=tuple(
                Exclusion(cells=in_full(one.cells, self.local), because=one.because) for one in self.file.exclude
            ),
            store=self.file.store,
        )

    def _report(self, id: str, path: Path_, message: str) -> None:
        self.problems.append(self.document.problem(id, path, message))

    def _nothing_left(self, declared: list[_Declared]) -> str:
        if declared:
            return "every cell is excluded"
        if bool(self.file.platforms) != bool(self.file.pythons):
            lacking = "pythons" if self.file.platforms else "platforms"
            return f"no cell is declared: platforms are combined with pythons, and there are no {lacking}"
        return "no cell is declared; write platforms and pythons, or cells"

    def _product(self) -> Iterable[_Declared]:
        platforms = self._platforms()
        pythons = self._pythons()
        if len(platforms) * len(pythons) > MAX_CELLS:
            message = f"with the pythons there are more than {MAX_CELLS} cells"
            raise InputError(self.document.problem("H0109", ("platforms",), message))
        for platform, platform_group in platforms.values():
            for tag, group, path in pythons:
                cell = Cell(platform=platform, python=tag, runners=_RUNNERS)
                for settings in (platform_group, group):
                    cell = _with(cell, settings)
                cell = replace(
                    cell,
                    tier=max(_tier(platform_group), _tier(group), key=_WEAKNESS.__getitem__),
                    timeout_scale=_scale(platform_group) * _scale(group),
                )
                yield _Declared(cell=cell, path=path)

    def _platforms(self) -> dict[str, tuple[Platform, Group | None]]:
        found: dict[str, tuple[Platform, Group | None]] = {}
        written = _entries(self.file.platforms)
        named = [slug for slug, _ in written if slug != _LOCAL]
        for position, (slug, group) in enumerate(written):
            path: Path_ = ("platforms", position if isinstance(self.file.platforms, list) else slug)
            platform = self.local if slug == _LOCAL else Platform.parse(slug)
            if slug == _LOCAL and str(self.local) in named:
                continue
            if str(platform) in found:
                self._report("H0205", path, f"{platform} is already one of the platforms")
                continue
            found[str(platform)] = (platform, group)
        return found

    def _pythons(self) -> list[tuple[PythonTag, Group | None, Path_]]:
        found: list[tuple[PythonTag, Group | None, Path_]] = []
        known: set[PythonTag] = set()
        for position, (text, group) in enumerate(_entries(self.file.pythons)):
            tag = PythonTag.parse(text)
            path: Path_ = ("pythons", position if isinstance(self.file.pythons, list) else text)
            if tag in known:
                self._report("H0205", path, f"{tag} is already one of the pythons")
                continue
            known.add(tag)
            found.append((tag, group, path))
        return found

    def _explicit(self) -> Iterable[_Declared]:
        for position, entry in enumerate(self.file.cells):
            platform = self.local if entry.platform == _LOCAL else Platform.parse(entry.platform)
            cell = Cell(
                platform=platform,
                python=PythonTag.parse(entry.python),
                runners=_RUNNERS,
                interpreter=entry.interpreter,
                subject=entry.subject.subject() if entry.subject else None,
            )
            yield _Declared(cell=_with(cell, entry), path=("cells", position))

    def _unique(self, declared: list[_Declared]) -> list[_Declared]:
        found: dict[str, _Declared] = {}
        for one in declared:
            if one.cell.id in found:
                self._report("H0205", one.path, f"{one.cell.id} is already a cell")
            else:
                found[one.cell.id] = one
        return list(found.values())

    def _excluded(self, ids: list[str]) -> set[str]:
        excluded: set[str] = set()
        for position, entry in enumerate(self.file.exclude):
            excluded.update(self._matching(in_full(entry.cells, self.local), ids, ("exclude", position, "cells")))
        return excluded

    def _matching(self, pattern: str, ids: list[str], path: Path_) -> set[str]:
        fits = re.compile(translate(pattern)).match
        matching = {id for id in ids if fits(id)}
        if not matching and ids:
            self._report("H0206", path, f"{pattern!r} matches no cell; {nearest(pattern, ids)}")
        return matching


def _entries(written: list[str] | dict[str, Group] | None) -> list[tuple[str, Group | None]]:
    if isinstance(written, dict):
        return list(written.items())
    return [(text, None) for text in written or ()]


def _tier(group: Group | None) -> Tier:
    return group.tier if group and group.tier else Tier.ONE


def _scale(group: Group | None) -> float:
    return group.timeout_scale if group and group.timeout_scale else 1.0


def _with(cell: Cell, settings: Settings | None) -> Cell:
    """The cell with settings over its own: env and lists add up, everything else is replaced where it is given."""
    from harness.matrix.fields import normalisations
    from harness.matrix.reach import runner_entries

    if settings is None:
        return cell
    return replace(
        cell,
        tier=settings.tier or cell.tier,
        runners=runner_entries(settings.runners) if settings.runners else cell.runners,
        env=tuple({**dict(cell.env), **settings.env}.items()),
        carry=tuple(dict.fromkeys((*cell.carry, *settings.carry))),
        normalise=tuple(dict.fromkeys((*cell.normalise, *normalisations(settings.normalise)))),
        timeout_scale=settings.timeout_scale or cell.timeout_scale,
    )
