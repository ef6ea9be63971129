"""The command line, unchanged, in a process that dies at a chosen moment. Nothing of ours is patched.

    python -m tests.campaigns.doomed MOMENT ARGUMENT...

``process:N`` dies as its Nth child is about to start; ``insert:N``, ``commit:N`` and ``report:N`` before the Nth such
statement of the store is executed; ``page:N:P`` inside the Nth COMMIT, in the middle of the write that reaches beyond P
thousandths of the database; ``rename:N`` as the Nth blob is about to get its name, ``blob:N`` in the middle of writing it.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import resource

STATEMENTS = {
    "insert": "INSERT INTO observations",
    "commit": "COMMIT",
    "page": "COMMIT",
    "report": "INSERT OR REPLACE INTO reports",
}
_connect = sqlite3.connect


class Doom:
    """Counts what happens, and ends the process when it is time."""

    def __init__(self, moment: str) -> None:
        self.kind, *numbers = moment.split(":")
        self.number, self.where = [*map(int, numbers), 0, 0][:2]
        self.seen: Counter[str] = Counter()
        self.database = Path()

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        """An audit hook."""
        match (self.kind, event):
            case ("process", "subprocess.Popen"):
                self.count(die)
            case ("rename", "os.rename") if "/blobs/" in str(arguments[1]):
                self.count(die)
            case ("blob", "tempfile.mkstemp") if "/incoming/" in str(arguments[0]):
                self.count(lambda: forbid_writing(beyond=1))

    def connect(self, database: str, **options: Any) -> sqlite3.Connection:
        """In place of sqlite3.connect: the same, traced."""
        connection: sqlite3.Connection = _connect(database, **options)
        self.database = Path(database.removeprefix("file://").partition("?")[0])
        connection.set_trace_callback(self.hear_statement)
        return connection

    def hear_statement(self, statement: str) -> None:
        """The trace callback of every connection."""
        if statement.lstrip().startswith(STATEMENTS[self.kind]):
            self.count(self.forbid_page if self.kind == "page" else die)

    def count(self, act: Callable[[], None]) -> None:
        self.seen[self.kind] += 1
        if self.seen[self.kind] == self.number:
            act()

    def forbid_page(self) -> None:
        forbid_writing(beyond=1 + self.database.stat().st_size * self.where // 1000)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def forbid_writing(*, beyond: int) -> None:
    """Let the kernel end us in the middle of a write that makes a file longer than this; Python would ignore it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (beyond, resource.RLIM_INFINITY))


def main(moment: str, *arguments: str) -> None:
    doom = Doom(moment)
    sys.addaudithook(doom.hear)
    if doom.kind in STATEMENTS:
        sqlite3.connect = doom.connect  # type: ignore[assignment]  # the one signature that is used
    from harness.cli import main

    main(list(arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
