"""The inventory of hosts, ``runners/hosts.yaml``: which hosts serve which cells, and what is known of each.

A closed schema; every problem is told at its line and column. A host that only the matrix names is one of
``~/.ssh/config``. No secret has a place here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from harness.document import read
from harness.errors import InputError
from harness.model.cell import Cell
from harness.runners.ssh_config import Destination, resolve

INVENTORY = Path("runners") / "hosts.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host.

    ``options`` come before what the SSH configuration (``config``, None for the user's) says, by lower-case keyword.
    ``cells`` are patterns over cell ids. ``pythons`` are (pattern over cell ids, command), the first that fits counts.
    ``slots`` is how many jobs it takes at once, 0 for its cores. ``pins`` are the only host keys that are taken, if any.
    """

    name: str
    cells: tuple[str, ...] = ()
    pythons: tuple[tuple[str, tuple[str, ...]], ...] = ()
    slots: int = 0
    shell: str = ""
    pins: tuple[str, ...] = ()
    config: Path | None = None
    options: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def serves(self, cell: Cell) -> bool:
        """Whether the inventory names it for the cell."""
        return any(fnmatchcase(cell.id, pattern) for pattern in self.cells)

    def python(self, cell: Cell) -> tuple[str, ...]:
        """The command that is the cell's Python there; empty means: by name and version."""
        return next((command for pattern, command in self.pythons if fnmatchcase(cell.id, pattern)), ())

    def shell_of(self, cell: Cell) -> str:
        """Its login shell: unless it says otherwise, what OpenSSH starts on such a system."""
        return self.shell or ("cmd" if cell.platform.os == "windows" else "posix")

    def destination(self) -> Destination:
        """Where it is; raises CellUnavailable when the SSH configuration cannot be read."""
        options: Mapping[str, Sequence[str]] = dict(self.options)
        return resolve(self.name, self.config, options)


def read_hosts(root: Path) -> Mapping[str, Host]:
    """The hosts of a project by name, in the order of the file; none where it has no such file. Raises InputError."""
    path = root / INVENTORY
    if not path.is_file():
        return {}
    from harness.runners.hosts_schema import HostsFile

    document = read(path, INVENTORY.as_posix())
    file = document.validate(HostsFile)
    found: dict[str, Host] = {}
    problems = []
    for position, entry in enumerate(file.hosts):
        host = entry.host(root)
        if host.name in found:
            problems.append(document.problem("H0222", ("hosts", position, "name"), f"{host.name} is there already"))
        found[host.name] = host
    if problems:
        raise InputError(problems)
    return found
