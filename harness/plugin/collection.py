"""Collection: the matrix file as a collector, with one item ``fixture@cell`` for each job.

Under ``--dist loadgroup`` pytest-xdist takes what follows the last ``@`` of an id as its group: one group a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

from harness.errors import HarnessError
from harness.model.cell import Cell
from harness.model.fixture import Fixture
from harness.plugin.outcomes import Outcome, complaint

CLASS = "TestCrossPythonDifferential"


class JobError(Exception):
    """A job that failed, or could not be judged; its text is what pytest shows."""


class Source(Protocol):
    """Where jobs and their outcomes come from. Both methods raise HarnessError."""

    def selected(self) -> tuple[tuple[Fixture, ...], tuple[Cell, ...]]:
        """The fixtures and cells of which the jobs are made."""

    def outcome(self, item: JobItem) -> Outcome:
        """Wait for a job."""


class MatrixFile(pytest.File):
    """The matrix file of the project."""

    source: Source

    def collect(self) -> Iterator[pytest.Collector]:
        """The one class, when something is selected."""
        yield JobClass.from_parent(self, name=CLASS)


class JobClass(pytest.Collector):
    """The jobs of the project, in the order of fixtures, then cells."""

    def collect(self) -> Iterator[pytest.Item]:
        """One item a job; raise CollectError with every problem of the project's files."""
        assert isinstance(self.parent, MatrixFile)
        source = self.parent.source
        try:
            fixtures, cells = source.selected()
        except HarnessError as error:
            raise self.CollectError(complaint(error)) from None
        for fixture in fixtures:
            labels = _labels(fixture, self.config)
            for cell in cells:
                name = f"{fixture.id}@{cell.id}"
                yield JobItem.from_parent(
                    self, name=name, fixture=fixture, cell=cell, ask=source.outcome, labels=labels
                )


class JobItem(pytest.Item):
    """One fixture in one cell."""

    def __init__(
        self,
        *,
        fixture: Fixture,
        cell: Cell,
        ask: Callable[[JobItem], Outcome],
        labels: tuple[str, ...],
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        self.key = (fixture.id, cell.id)
        self.cell = cell
        self.outcome: Outcome | None = None
        self._ask = ask
        self.extra_keyword_matches.update(fixture.tags)
        for label in labels:
            self.add_marker(label)

    def setup(self) -> None:
        """Wait for the job; an error or a skip is told here."""
        self.outcome = self._ask(self)
        self.user_properties.append(("harness.verdict", self.outcome.verdict))
        if self.outcome.word == "error":
            raise JobError(self.outcome.text)
        if self.outcome.word == "skipped":
            pytest.skip(self.outcome.text)

    def runtest(self) -> None:
        """Tell how the job ended."""
        assert self.outcome is not None
        if self.outcome.word == "xfailed":
            pytest.xfail(self.outcome.text)  # with --runxfail this returns
        if self.outcome.word != "passed":
            raise JobError(self.outcome.text)

    def reportinfo(self) -> tuple[str, None, str]:
        """The matrix file, and the job's name."""
        return str(self.path), None, self.name


def _labels(fixture: Fixture, config: pytest.Config) -> tuple[str, ...]:
    """The tags of a fixture that may become marks, for ``-m``.

    A marker that takes arguments is the machinery of some plugin, such as ``skip`` or ``timeout``: not a label.
    """
    registered = [str(line) for line in config.getini("markers")]
    taken = {line.partition("(")[0] for line in registered if "(" in line.partition(":")[0]}
    known = {line.partition(":")[0] for line in registered}
    labels = tuple(tag for tag in fixture.tags if tag not in taken)
    for tag in labels:
        if tag not in known:
            config.addinivalue_line("markers", f"{tag}: tag of a fixture")
    return labels
