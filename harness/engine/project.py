"""A project on disk: its matrix file, its fixtures and its store, found and read once per command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.engine.memory import remembered_matrix
from harness.errors import InputError, Problem, UsageError
from harness.fixtures import load_corpus
from harness.model.cell import Corpus, Matrix, Oracle
from harness.model.fixture import Fixture
from harness.model.platform import Platform

MATRIX_NAMES = ("matrix.yaml", "matrix.yml")


def find_matrix(folder: Path) -> Path:
    """The matrix file of a folder or of the nearest one above it; raise UsageError (H0002) when there is none."""
    for place in (folder, *folder.parents):
        for name in MATRIX_NAMES:
            if (place / name).is_file():
                return place / name
    raise UsageError(Problem(id="H0002", message=f"no matrix.yaml in {folder} or above it"))


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project: its matrix, and its fixtures, which are read when they are first asked for."""

    matrix: Matrix

    @classmethod
    def load(cls, path: Path, *, local: Platform) -> Project:
        """Read a matrix file; raise InputError with every problem in it."""
        return cls(matrix=remembered_matrix(path, local=local))

    @property
    def fixtures(self) -> tuple[Fixture, ...]:
        """Every fixture that can be judged, by id; raises InputError with every problem of every corpus."""
        return self._loaded[0]

    @property
    def unblessed(self) -> tuple[Fixture, ...]:
        """The fixtures that lack the golden which their oracle needs, by id; raises InputError likewise."""
        return self._loaded[1]

    @cached_property
    def _loaded(self) -> tuple[tuple[Fixture, ...], tuple[Fixture, ...]]:
        loaded = [load_corpus(self.root, corpus) for corpus in self.matrix.corpora]
        problems = [problem for one in loaded for problem in one.problems]
        if problems:
            raise InputError(problems)
        fixtures = [fixture for one in loaded for fixture in one.fixtures]
        unblessed = [fixture for one in loaded for fixture in one.unblessed]
        return tuple(sorted(fixtures, key=_id)), tuple(sorted(unblessed, key=_id))

    @property
    def root(self) -> Path:
        """The folder of the matrix file, to which fixture ids and all paths are relative."""
        return Path(self.matrix.path).parent

    @property
    def store_folder(self) -> Path:
        """Where runs are kept."""
        return self.root / self.matrix.store

    @cached_property
    def corpora(self) -> Mapping[str, Corpus]:
        """The corpora by their path, which is what a fixture names."""
        return {corpus.path: corpus for corpus in self.matrix.corpora}

    @cached_property
    def oracles(self) -> Mapping[str, Oracle]:
        """Who judges each corpus."""
        return {path: corpus.oracle for path, corpus in self.corpora.items()}


def _id(fixture: Fixture) -> str:
    return fixture.id
