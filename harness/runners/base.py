"""The seam: a runner places a cell and opens a duplex byte channel to an agent there. Nothing else is asked of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from harness.model.cell import Cell
from harness.model.reach import RunnerEntry


class Channel(Protocol):
    """A duplex stream of bytes to a Python that waits for an agent's preface on its stdin."""

    def read(self) -> bytes:
        """Wait for bytes; ``b""`` is the end, whatever its cause, and is final.

        May raise CellUnavailable before the first bytes: there is no agent, and trying again would not help; and
        ConnectionError, once: the way to it is lost.
        """

    def write(self, data: bytes) -> None:
        """Send all of it, waiting as long as it takes; raise OSError when the channel is gone."""

    def close(self) -> None:
        """End the channel and whatever runs behind it. Safe from any thread and twice; a blocked read then returns."""

    def explain(self) -> str:
        """What is known of why it ended: an exit status, the last words on stderr. Empty when nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How a cell is served.

    Cells with equal ``machine`` share one agent. Machines with equal ``host`` (empty: a machine is its own) share its
    ``slots``: jobs on all of them together are never more. ``subject`` is the command that takes a program's path.
    ``isolation`` says what keeps a fixture from the rest of that machine. ``connect`` opens the machine's channel and
    may raise CellUnavailable. ``slots`` is 0 where only the machine itself can tell.

    ``others`` are further machines that serve the cell, each its own placement: all of them share its jobs. With
    ``finds_subject`` the subject is only a name there; what it says of itself when it is measured is run.
    """

    cell: Cell
    runner: str
    machine: str
    slots: int
    subject: tuple[str, ...]
    isolation: str
    connect: Callable[[], Channel]
    host: str = ""
    others: tuple[Placement, ...] = ()
    finds_subject: bool = False

    @property
    def machines(self) -> tuple[Placement, ...]:
        """The placements on each machine that serves the cell, itself the first."""
        return (replace(self, others=()) if self.others else self, *self.others)

    def on(self, machine: str) -> Placement:
        """The placement on one of the machines."""
        return next(each for each in self.machines if each.machine == machine)


class Runner(Protocol):
    """A way to reach cells."""

    name: str

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was noticed so far that stops nothing, in sentences: a broken shim, a cache that cannot be written."""

    def place(self, cell: Cell, entry: RunnerEntry | None = None) -> Placement:
        """Say how the cell would be served, cheaply; raise CellUnavailable with the reason and a mend.

        ``entry`` is the one of the cell's runners that is meant, with its options; None has none.
        """


def python_of(cell: Cell) -> str:
    """The name that a cell's interpreter has where several are installed; an interpreter of the user's is hosted."""
    tag = cell.python
    if not tag.version or cell.subject:
        return "python3"
    name = {"cpython": "python", "pypy": "pypy", "graalpy": "graalpy"}[tag.implementation]
    return f"{name}{tag.version}{'t' * ('free-threaded' in tag.build)}{'d' * ('debug' in tag.build)}"
