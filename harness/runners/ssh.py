"""The ssh runner: cells served by hosts, as many for one cell as the inventory or the matrix names for it.

Each host and interpreter has one connection and one agent; the agents of a host share its slots. A host's key is
pinned or known, or nothing is sent to it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import CellUnavailable
from harness.model.cell import Cell
from harness.model.reach import RunnerEntry, SshOptions
from harness.runners.base import Channel, Placement, python_of
from harness.runners.hosts import Host
from harness.runners.inventory import INVENTORY, read_hosts
from harness.runners.ssh_channel import SshChannel
from harness.runners.ssh_config import Destination
from harness.wire import shell_command

ISOLATION = "none"
PATIENCE = 1.5  # seconds, times the failures in a row: a host that restarts its server is there again soon
MOST_PATIENCE = 5.0


class SshRunner:
    """Serves cells with hosts. ``root`` is the project's folder; the inventory in it is read at first need."""

    name = "ssh"

    def __init__(self, *, root: Path = Path()) -> None:
        self._root = root.absolute()
        self._inventory: Mapping[str, Host] | None = None
        self._doors: dict[str, _Door] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was noticed on the way to the hosts."""
        return tuple(dict.fromkeys(note for door in self._doors.values() for note in door.notes))

    @property
    def inventory(self) -> Mapping[str, Host]:
        """The hosts of the project by name; raises InputError."""
        if self._inventory is None:
            self._inventory = read_hosts(self._root)
        return self._inventory

    def place(self, cell: Cell, entry: RunnerEntry | None = None) -> Placement:
        """Name the hosts that serve a cell; connects to none. Raises InputError for an inventory that is wrong."""
        options = entry.ssh if entry and entry.ssh else SshOptions()
        hosts = self._hosts(cell, options)
        if not hosts:
            message = f"no host of {INVENTORY.as_posix()} serves it"
            raise CellUnavailable("no-runner", message, f"name its `cells:` at a host in {INVENTORY.as_posix()}")
        if cell.subject and cell.subject.files:
            message = "files of a subject are not carried to hosts"
            raise CellUnavailable("no-interpreter", message, "install it on the host and leave `files:` out")
        first, *others = (self._on(host, cell, options) for host in hosts)
        return replace(first, others=tuple(others))

    def _hosts(self, cell: Cell, options: SshOptions) -> list[Host]:
        if options.hosts:
            return [self.inventory.get(name, Host(name=name)) for name in dict.fromkeys(options.hosts)]
        return [host for host in self.inventory.values() if host.serves(cell)]

    def _on(self, host: Host, cell: Cell, options: SshOptions) -> Placement:
        python = options.python or host.python(cell) or (python_of(cell),)
        try:
            command = shell_command(python, host.shell_of(cell))
        except ValueError as error:
            raise CellUnavailable("no-interpreter", f"{host.name}: {error}", "mend `python:`") from None
        door = self._doors.setdefault(host.name, _Door(host))
        subject = cell.subject.command if cell.subject else (cell.interpreter,) if cell.interpreter else tuple(python)
        return Placement(
            cell=cell,
            runner=self.name,
            machine=f"host {host.name} ({' '.join(python)})",
            host=f"host {host.name}",
            slots=host.slots,
            subject=subject,
            isolation=ISOLATION,
            connect=lambda: door.connect(command),
            finds_subject=not cell.subject and not cell.interpreter,
        )


class _Door:
    """The way to one host: resolved once, knocked at more patiently after each failure."""

    def __init__(self, host: Host) -> None:
        self.notes: tuple[str, ...] = ()
        self._host = host
        self._lock = threading.Lock()
        self._destination: Destination | None = None
        self._failures = 0

    def connect(self, command: str) -> Channel:
        """Begin to connect; the channel tells how it comes out."""
        delay = min(self._failures * PATIENCE, MOST_PATIENCE)  # without the lock: `ssh -G` may take a while
        return SshChannel(self._resolve, command, self._came_out, delay)

    def _resolve(self) -> tuple[Destination, Sequence[str]]:
        with self._lock:
            if self._destination is None:
                self._destination = self._host.destination()
            return self._destination, self._host.pins

    def _came_out(self, refusal: CellUnavailable | None, notes: Sequence[str]) -> None:
        with self._lock:
            self._failures = self._failures + 1 if refusal else 0
            self.notes = tuple(dict.fromkeys((*self.notes, *notes)))
