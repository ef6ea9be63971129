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
    """A loaded project. ``unblessed`` are fixtures that lack the golden which their oracle needs."""

    matrix: Matrix
    fixtures: tuple[Fixture, ...]
    unblessed: tuple[Fixture, ...]

    @classmethod
    def load(cls, path: Path, *, local: Platform) -> Project:
        """Read a matrix file and all its corpora; raise InputError with every problem of every file."""
        matrix = remembered_matrix(path, local=local)
        fixtures: list[Fixture] = []
        unblessed: list[Fixture] = []
        problems: list[Problem] = []
        for corpus in matrix.corpora:
            loaded = load_corpus(path.parent, corpus)
            fixtures += loaded.fixtures
            unblessed += loaded.unblessed
            problems += loaded.problems
        if problems:
            raise InputError(problems)
        return cls(
            matrix=matrix,
            fixtures=tuple(sorted(fixtures, key=lambda fixture: fixture.id)),
            unblessed=tuple(sorted(unblessed, key=lambda fixture: fixture.id)),
        )

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
