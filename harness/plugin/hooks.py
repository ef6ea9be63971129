"""The hooks of a session that collects the matrix: header, collection, reports, end and summary.

One object for all three kinds of process: pytest alone, a controller of pytest-xdist, and one of its workers.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from harness.engine.project import Project
from harness.errors import CATALOGUE, HarnessError, InputError, Problem
from harness.model.cell import Cell
from harness.model.fixture import Fixture
from harness.model.report import Report
from harness.plan import Selection, select_cells
from harness.plugin.collection import JobError, JobItem, MatrixFile
from harness.plugin.outcomes import Outcome, complaint
from harness.plugin.running import Running, options_of
from harness.plugin.workers import Controller, ahead_of, is_controller, is_worker
from harness.reports.summary import plural

REQUIREMENTS = ("available", "tier-1", "all")
_WIDTH = 80


class Hooks:
    """Registered only when the matrix is among what pytest is asked to collect."""

    def __init__(self, config: pytest.Config, matrix: Path) -> None:
        self._config = config
        self._matrix = matrix
        self._controller = Controller()
        self._running: Running | None = None
        self._report: Report | None = None
        self._last_words: list[str] = []
        self._began = time.monotonic()
        self.require = str(config.getoption("harness_require") or config.getini("harness_require"))
        if self.require not in REQUIREMENTS:
            raise pytest.UsageError(f"harness_require is one of {', '.join(REQUIREMENTS)}, not {self.require!r}")

    @cached_property
    def project(self) -> Project:
        """The project; raises InputError with every problem of its matrix file."""
        from harness.runners.local import this_platform

        return Project.load(self._matrix, local=this_platform())

    def selected(self) -> tuple[tuple[Fixture, ...], tuple[Cell, ...]]:
        """The fixtures, and the cells that the options select; raises InputError and UsageError."""
        options = self._config.option
        selection = Selection(
            cells=tuple(options.harness_cell),
            platforms=tuple(options.harness_platform),
            pythons=tuple(options.harness_python),
        )
        cells = select_cells(self.project.matrix.cells, selection)
        if self.project.unblessed:
            raise InputError(
                [
                    Problem(id="H0301", message=f"{one.id}: there is no expected stdout", hint=CATALOGUE["H0301"].mend)
                    for one in self.project.unblessed
                ]
            )
        return self.project.fixtures, cells

    def pytest_report_header(self) -> list[str]:
        """One line; none when the collection will say what is wrong."""
        try:
            fixtures, cells = self.selected()
        except HarnessError:
            return []
        return [f"harness: {self._matrix.name}, {plural(len(fixtures), 'fixture')} x {plural(len(cells), 'cell')}"]

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> MatrixFile | None:
        """The matrix file, and no other."""
        if file_path != self._matrix:
            return None
        collector = MatrixFile.from_parent(parent, path=file_path)
        collector.source = self
        return collector

    def outcome(self, item: JobItem) -> Outcome:
        """Wait for a job; what pytest will ask for next is run meanwhile. Raises HarnessError."""
        if self._running is None:
            jobs = [one for one in item.session.items if isinstance(one, JobItem)]
            options = options_of(self._config, self._matrix, frozenset(one.key for one in jobs), self.require)
            cells = tuple({one.cell.id: one.cell for one in jobs}.values())
            self._running = Running(self._config, self.project, options, cells)
        ahead = (one.key for one in ahead_of(item) if isinstance(one, JobItem))
        return self._running.outcome(item.key, ahead)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """A job's report tells how long the job ran, not how long we waited; skips name the matrix; no tracebacks."""
        report = yield
        if not isinstance(item, JobItem) or call.when == "teardown":
            return report
        report.duration = item.outcome.seconds if item.outcome and call.when == "call" else 0.0
        if report.skipped and item.outcome and not hasattr(report, "wasxfail"):
            report.longrepr = (str(item.path), None, item.outcome.text)  # type: ignore[assignment]
        error = call.excinfo.value if call.excinfo else None
        if isinstance(error, JobError):
            report.longrepr = str(error)
        elif isinstance(error, HarnessError):
            report.longrepr = complaint(error)
        return report

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Bring the run to its end: in the store, or for a worker in a bundle that its controller takes."""
        try:
            if is_controller(self._config):
                self._gather()
            elif self._running is not None:
                self._end(self._running, exitstatus)
        except HarnessError as error:
            self._last_words += complaint(error).splitlines()
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED
        if exitstatus == pytest.ExitCode.OK and self._has_run_nothing(session):
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED

    def _has_run_nothing(self, session: pytest.Session) -> bool:
        """Whether no job was executed, and there was no other test."""
        report = self._report
        return report is not None and report.exit_code == 4 and session.testscollected == report.coverage.planned

    def _gather(self) -> None:
        if not self._controller.parts:
            return
        ended = self._controller.end(self._config, self.project, time.monotonic() - self._began)
        if isinstance(ended, Report):
            self._report = ended
        else:
            self._last_words.append(ended)

    def _end(self, running: Running, exitstatus: int) -> None:
        with running:
            if is_worker(self._config):
                running.finish()
                self._config.workeroutput["harness_part"] = running.bundle()  # type: ignore[attr-defined]
            elif exitstatus == pytest.ExitCode.INTERRUPTED:
                running.pause()
                self._last_words.append(running.resume_hint)
            else:
                self._report = running.finish()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker which run it takes part in."""
        node.workerinput["harness_run"] = self._controller.identity

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Take a worker's part of the run."""
        self._controller.take(getattr(node, "workeroutput", {}).get("harness_part"), has_crashed=error is not None)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """A small table, the coverage, and the verdict in words."""
        lines = list(self._last_words)
        if self._report is not None:
            from harness.reports.terminal import render_totals

            totals = render_totals(self._report, width=_WIDTH)
            lines += totals[-1:] if terminalreporter.verbosity < 0 else totals
        if lines:
            terminalreporter.write_sep("=", "harness")
        for line in lines:
            terminalreporter.write_line(line)
