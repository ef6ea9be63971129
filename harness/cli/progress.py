"""Progress on stderr while a run goes on: cells, rate and estimate on a terminal, nothing in a pipe."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from harness.model.report import CellReport
from harness.model.verdict import Verdict

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_REFRESH = 0.1


class Progress:
    """A listener of a run that draws one line. On a terminal only; ``quiet`` draws nothing there either.

    ``run`` is the id of the run, once it can be resumed.
    """

    def __init__(self, *, stream: TextIO, quiet: bool) -> None:
        self._stream = stream
        self._is_drawn = stream.isatty() and not quiet
        self.run = ""
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._failed = 0
        self._done = 0
        self._drawn = 0.0
        self._began = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def began(self, run: str) -> None:
        """The run can be resumed."""
        self.run = run

    def surveyed(self, cells: Sequence[CellReport]) -> None:
        """The cells are known: start the line."""
        if not self._is_drawn:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        # With FORCE_COLOR rich would fill a CI log with frames: only a real terminal is interactive.
        console = Console(file=self._stream, force_interactive=self._stream.isatty())
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            refresh_per_second=8,
        )
        verified = sum(cell.is_verified for cell in cells)
        self._task = self._bar.add_task(f"{verified} of {len(cells)} cells", total=None, rate="")
        self._bar.start()

    def planned(self, jobs: int, cells: int) -> None:
        """The number of executions is known."""
        self._began = time.monotonic()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=jobs, description=f"{cells} cell{'s' * (cells != 1)}")

    def judged(self, key: tuple[str, str], verdict: Verdict) -> None:
        """One more."""
        self._done += 1
        self._failed += verdict.kind.is_failure
        now = time.monotonic()
        if self._bar is None or self._task is None or now - self._drawn < _REFRESH:
            return
        self._drawn = now
        rate = f"{self._done / max(now - self._began, 0.001):.0f}/s"
        failed = f", {self._failed} failed" if self._failed else ""
        self._bar.update(self._task, completed=self._done, rate=rate + failed)
