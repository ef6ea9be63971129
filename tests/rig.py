"""What tests of the lower half share: tasks made from a few words, a sink that keeps all, and a look for leftovers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.engine.dispatch import Dispatcher, Outcome, Task, Work
from harness.model.cell import Cell
from harness.model.fixture import Payload
from harness.model.platform import PythonTag
from harness.runners.base import Placement
from harness.runners.local import LocalRunner, this_platform
from harness.wire import DEFAULT_TIMING, Expected, Timing

HERE = Cell(platform=this_platform(), python=PythonTag.parse("here"))
QUICK = Timing(heartbeat=0.1, silence=1.5, hello=5.0, patience=1.0, stalled=2.0)


@dataclass
class Kept:
    """A sink that wants everything and keeps it. ``events`` tells in which order things happened."""

    stop_after: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    known: frozenset[str] = frozenset()

    def wants(self, digest: str) -> bool:
        return digest not in self.known

    def finished(self, outcome: Outcome) -> bool:
        self.events.append(f"finished {outcome.task.key[0]}")
        return bool(self.stop_after) and len(self.final) + 1 >= self.stop_after

    def commit(self, outcomes: Sequence[Outcome]) -> None:
        self.events.append("commit")
        self.outcomes += outcomes

    @property
    def final(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.retried]

    def of(self, name: str) -> Outcome:
        (found,) = (outcome for outcome in self.final if outcome.task.key[0] == name)
        return found

    def stdout(self, name: str) -> bytes:
        outcome = self.of(name)
        assert not outcome.result.lost, outcome.result.lost
        return outcome.streams.get(outcome.result.stdout.digest, b"")

    def stderr(self, name: str) -> bytes:
        outcome = self.of(name)
        return outcome.streams.get(outcome.result.stderr.digest, b"")


def serve_here(*subject: str, slots: int = 2) -> Placement:
    """This computer, with the system's plain Python as the subject unless another one is named."""
    return LocalRunner(slots=slots).serve(HERE, *(subject or (PYTHON,)))


def _plain_python() -> str:
    """A Python that starts quickly: not a shim, not a virtual environment."""
    import sys

    return str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())


PYTHON = _plain_python()


def task(
    placement: Placement,
    name: str,
    program: str = "",
    *,
    payload: Payload | None = None,
    args: tuple[str, ...] = (),
    stdin: bytes = b"",
    env: tuple[tuple[str, str], ...] = (),
    files: tuple[tuple[str, bytes], ...] = (),
    timeout: float = 30.0,
    output: int = 1 << 26,
    expect: Expected = Expected(exit=-1),  # noqa: B008 - a frozen value
    attempt: int = 1,
) -> Task:
    """One execution of a program in a placement; nothing is expected, so that all bytes come back."""
    payload = payload or Payload(
        program="main.py", files=(("main.py", program.encode()), *files), stdin=stdin, args=args, env=env
    )
    work = Work(payload=payload, expect=expect)
    return Task(
        key=(name, placement.cell.id),
        attempt=attempt,
        placement=placement,
        load=lambda: work,
        timeout=timeout,
        output=output,
    )


def execute(*tasks: Task, sink: Kept | None = None, timing: Timing = DEFAULT_TIMING) -> Kept:
    """Run tasks in a dispatcher of their own."""
    sink = sink or Kept()
    with Dispatcher(timing) as dispatcher:
        dispatcher.execute(tasks, sink)
    return sink


def eventually(holds: Callable[[], bool], within: float = 30.0) -> bool:
    """Wait for something to become true; whether it did."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def processes_of(folder: Path) -> list[str]:
    """The processes, but ourselves, that have this folder in their environment or are in it: agents and their jobs."""
    mark = os.fsencode(folder)
    found = []
    for entry in Path("/proc").glob("*"):  # nothing on systems without it
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            command = (entry / "cmdline").read_bytes()
            state = (entry / "stat").read_bytes().rpartition(b")")[2].split()[0]
        except OSError:
            continue  # it ended, or belongs to somebody else
        if state != b"Z" and mark in environment:
            found.append(f"{entry.name}: {command.replace(bytes(1), b' ').decode(errors='replace')}")
    return found


def folders_in(folder: Path) -> list[str]:
    """The agents' folders that are there."""
    return sorted(path.name for path in folder.glob("harness-agent-*"))
