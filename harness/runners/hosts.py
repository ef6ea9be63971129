"""One host of the inventory: which cells it serves, with what interpreter, and how it is reached.

What the inventory does not say of a host is what ``ssh NAME`` does; a host that only the matrix names has no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from harness.model.cell import Cell
from harness.runners.ssh_config import Destination, resolve


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
