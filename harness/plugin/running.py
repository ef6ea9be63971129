"""The run of one process: its store, its agents, and its jobs one by one, opened when the first job is asked for.

A worker of pytest-xdist keeps its part in a store of its own, which it hands on as a bundle.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from harness.engine.cells import place_cells
from harness.engine.dispatch import Dispatcher
from harness.engine.memory import cache_folder
from harness.engine.options import Options
from harness.engine.project import Project, find_matrix
from harness.engine.run import new_record
from harness.engine.stepwise import Stepwise
from harness.errors import HarnessError
from harness.model.cell import Cell
from harness.model.report import Report
from harness.plan import Selection
from harness.plugin.outcomes import Outcome, outcome_of
from harness.reports.escape import terminal
from harness.runners import open_runners
from harness.runners.base import Placement, Runner
from harness.runners.local import slots_here
from harness.store.bundle import write_bundle
from harness.store.database import Store

if TYPE_CHECKING:
    import pytest

Key = tuple[str, str]


def options_of(config: pytest.Config, matrix: Path, jobs: frozenset[Key], require: str) -> Options:
    """The run that a session asks for: equal in all its processes."""
    return Options(
        selection=Selection(cells=tuple(sorted({cell for _, cell in jobs})), only_jobs=jobs),
        require=require,
        arguments=("pytest", *map(str, config.invocation_params.args)),
        config=_named(matrix),
    )


def _named(matrix: Path) -> str:
    """The matrix file as a command must name it; empty where it is found without."""
    with contextlib.suppress(HarnessError):
        if find_matrix(Path.cwd()).samefile(matrix):
            return ""
    return os.path.relpath(matrix)


class Running:
    """Use as a context manager once it is to end: leaving it ends every agent and closes the store."""

    def __init__(self, config: pytest.Config, project: Project, options: Options, cells: Sequence[Cell]) -> None:
        self._options = options
        self._cells = {cell.id: cell for cell in cells}
        part_of = getattr(config, "workerinput", {}).get("harness_run")
        self._record = new_record(project, options, part_of)
        with contextlib.ExitStack() as opened:
            folder = project.store_folder
            if part_of is not None:
                folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="harness-part-"))) / "store"
            self._store = opened.enter_context(Store.open(folder, waiting=partial(say, config)))
            self._bundle = folder / "bundle"
            dispatcher = opened.enter_context(Dispatcher())
            self._stepwise = Stepwise(
                project,
                options,
                self._record,
                self._store,
                _runners(config, project, cells),
                dispatcher,
                is_wary=bool(config.getoption("maxfail")),
            )
            self._opened = opened.pop_all()

    def outcome(self, key: Key, ahead: Iterable[Key]) -> Outcome:
        """Wait for one job; ``ahead`` are those that will be asked for next. Raises HarnessError."""
        report = self._stepwise.conclude(key, ahead)
        return outcome_of(report, self._cells[key[1]], self._stepwise, self._options.require)

    def finish(self) -> Report:
        """Bring the run, or this part of it, to its report."""
        return self._stepwise.finish()

    def pause(self) -> None:
        """Keep what is done, so that the run can be resumed."""
        self._stepwise.pause()

    @property
    def resume_hint(self) -> str:
        """How to go on after ``pause``."""
        return resume_hint(self._record.id, self._options)

    def bundle(self) -> bytes:
        """This part of the run, as it travels to the controller."""
        write_bundle(self._store, self._record.id, self._bundle)
        return self._bundle.read_bytes()

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)


def say(config: pytest.Config, message: str) -> None:
    """Say something at once, also while pytest captures what is printed."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    if reporter is not None:
        with capture.global_and_fixture_disabled() if capture is not None else contextlib.nullcontext():
            reporter.write_line(f"harness: {terminal(message)}")
            reporter.flush()  # or in a pipe it would be heard when the wait is over


def resume_hint(run: str, options: Options) -> str:
    """How to go on with a run that is not at its end."""
    where = f" -c {shlex.quote(options.config)}" if options.config else ""
    return f"what is done is kept; go on with `harness run --resume {run}{where}`"


def _runners(config: pytest.Config, project: Project, cells: Sequence[Cell]) -> Mapping[str, Runner]:
    """The runners; workers that run jobs at the same time share the slots of this computer."""
    cache = cache_folder() / "interpreters.json"
    runners = open_runners(project.root, cache=cache)
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if config.getoption("loadgroup", False):  # a cell is one worker's, so that no more work than there are cells
        placed = place_cells(cells, runners)
        workers = min(workers, sum(isinstance(placement, Placement) for _, placement in placed))
    if workers < 2:
        return runners
    return open_runners(project.root, slots=max(1, slots_here() // workers), cache=cache)
