"""The local runner: cells of this computer's own platform, served by the interpreters that are installed here.

One agent, started with the Python that runs us, serves all of them; it is no sandbox (``isolation: none``).
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from harness.errors import CellUnavailable
from harness.model.cell import Cell
from harness.model.platform import Platform, canonical_arch
from harness.model.reach import RunnerEntry, Subject
from harness.runners.base import Placement
from harness.runners.diagnosis import Diagnosis
from harness.runners.interpreters import Discovery, discover, matching
from harness.runners.measurement import measure
from harness.wire import agent_arguments

MACHINE = "this computer"

# What a terminal sends, Ctrl-C above all, is for the controller, which then ends its agents in order.
_OUT_OF_REACH: dict[str, Any]
if sys.platform == "win32":
    _OUT_OF_REACH = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
else:
    _OUT_OF_REACH = {"start_new_session": True}


def this_platform() -> Platform:
    """The platform of this computer, as the Python that runs us sees it."""
    os_name = {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)
    arch = canonical_arch(platform.machine())
    if arch == "x86_64" and struct.calcsize("P") == 4:
        arch = "i386"  # a 32-bit userland on a 64-bit kernel
    if os_name != "linux":
        spelling = {"macos": {"aarch64": "arm64"}, "windows": {"x86_64": "amd64", "aarch64": "arm64"}}
        return Platform(os=os_name, arch=spelling.get(os_name, {}).get(arch, arch))
    return Platform(os="linux", libc="glibc" if _has_glibc() else "musl", arch=arch)


def _has_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (ValueError, OSError):
        return False


def slots_here() -> int:
    """How many jobs this computer takes at once: the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class LocalRunner:
    """Serves the cells of this computer.

    ``root`` is where relative interpreter paths start from, ``slots`` bounds the jobs at once (0: the cores), and
    ``cache`` is the file that remembers measurements. Discovery happens at first need.
    """

    name = "local"

    def __init__(self, *, root: Path = Path(), slots: int = 0, cache: Path | None = None) -> None:
        self._root = root
        self._slots = slots or slots_here()
        self._cache = cache
        self._platform = this_platform()
        self._discovery: Discovery | None = None

    @property
    def discovery(self) -> Discovery:
        """What interpreters there are; found and measured once."""
        if self._discovery is None:
            self._discovery = discover(self._cache)
        return self._discovery

    @property
    def warnings(self) -> tuple[str, ...]:
        """What discovery noticed; nothing before it was needed."""
        return self._discovery.warnings if self._discovery else ()

    def place(self, cell: Cell, entry: RunnerEntry | None = None) -> Placement:
        """Find the interpreter that serves a cell."""
        if cell.subject is not None:
            return self.serve(cell, *self._subject(cell, cell.subject))
        if cell.platform != self._platform:
            raise CellUnavailable("no-runner", f"this computer is {self._platform}")
        if cell.interpreter:
            return self.serve(cell, str(self._named(cell)))
        found = matching(cell, self.discovery.interpreters)
        if found is None:
            raise self._missing(cell)
        return self.serve(cell, str(found.path))

    def serve(self, cell: Cell, *subject: str) -> Placement:
        """The placement of a cell with this subject, whatever its claim."""
        return Placement(
            cell=cell,
            runner=self.name,
            machine=MACHINE,
            slots=self._slots,
            subject=subject,
            isolation="none",
            connect=LocalChannel,
        )

    def _named(self, cell: Cell) -> Path:
        """The interpreter that the matrix names: as written, since a virtual environment is more than its base."""
        path = (self._root / cell.interpreter).absolute()
        if not path.exists():
            raise CellUnavailable("no-interpreter", f"{path} is not there", "mend the cell's `interpreter:`")
        measured = measure(path)
        if isinstance(measured, Diagnosis):
            raise CellUnavailable("broken-interpreter", measured.message, measured.mend)
        return path

    def _subject(self, cell: Cell, subject: Subject) -> tuple[str, ...]:
        """The command of a subject, with full paths: a job has a folder of its own."""
        if cell.platform != self._platform and not cell.platform.arch.startswith("wasm"):
            raise CellUnavailable("no-runner", f"this computer is {self._platform}")
        laid = {name: str((self._root / name).absolute()) for name in subject.files}
        gone = [path for path in laid.values() if not os.path.lexists(path)]
        if gone:
            raise CellUnavailable("no-interpreter", f"{gone[0]} is not there", "mend the cell's `subject:`")
        first, *rest = (laid.get(word.removeprefix("./"), word) for word in subject.command)
        if "/" in first and not Path(first).is_absolute():
            raise CellUnavailable(
                "no-interpreter",
                f"{first} would be looked for in the private folder of each job",
                "name it in the `files:` of the cell's `subject:`, or write its full path",
            )
        found = shutil.which(first)
        if found is None:
            raise CellUnavailable(
                "no-interpreter", f"{first} is not there", "install it, or mend the cell's `subject:`"
            )
        return (found, *rest)

    def _missing(self, cell: Cell) -> CellUnavailable:
        """Why nothing serves the cell: a broken interpreter that could have, or none at all."""
        version, build = cell.python.version, cell.python.build
        if not version:
            return CellUnavailable("no-interpreter", f"{cell.python} is only a name", "set the cell's `interpreter:`")
        wanted = f"python{version}{'t' if 'free-threaded' in build else ''}"
        for broken in self.discovery.broken:
            if any(Path(name).name == wanted for name in (str(broken.path), *broken.found_as)):
                return CellUnavailable("broken-interpreter", broken.diagnosis.message, broken.diagnosis.mend)
        name = {"cpython": "CPython", "pypy": "PyPy", "graalpy": "GraalPy"}[cell.python.implementation]
        what = name if build == "default" else f"{build} {name}"
        request = version if name == "CPython" else f"{name.lower()}{version}"
        suffix = "t" if "free-threaded" in build else ""
        return CellUnavailable(
            "no-interpreter", f"no {what} {version} on this computer", f"uv python install {request}{suffix}"
        )


class LocalChannel:
    """The pipes of an agent started on this computer: with the Python that runs us, or with this command."""

    def __init__(self, *command: str) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the channel
        self._process = subprocess.Popen(
            [*(command or (sys.executable,)), *agent_arguments()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            **_OUT_OF_REACH,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._reading, self._writing, self._ending = threading.Lock(), threading.Lock(), threading.Lock()
        self._words = ""

    @property
    def pid(self) -> int:
        """The agent's process."""
        return self._process.pid

    def read(self) -> bytes:
        """Wait for bytes."""
        with self._reading:
            return b"" if self._stdout.closed else self._stdout.read(1 << 18)

    def write(self, data: bytes) -> None:
        """Send all of it."""
        view = memoryview(data)
        while view:
            try:
                with self._writing:
                    view = view[self._stdin.write(view) :]
            except ValueError as error:  # closed by another thread
                raise OSError(str(error)) from None

    def close(self) -> None:
        """End the agent: at the end of its stdin it cleans up by itself; one that does not is killed."""
        if sys.platform != "win32":
            with contextlib.suppress(OSError):  # a pending write to a dead agent
                self._stdin.close()
            self._process.send_signal(signal.SIGCONT)  # a fixture may have stopped it
        else:  # to close a pipe there waits until nobody writes to it, and so for ever on an agent that hangs
            if not self._writing.acquire(timeout=5.0):
                self._process.kill()
                self._writing.acquire()
            self._stdin.close()
            self._writing.release()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with self._ending:
            if not self._errors.closed:
                self._words = self._last_words()
                self._errors.close()
        with self._reading:  # who was reading has seen the end by now
            self._stdout.close()

    def explain(self) -> str:
        """Exit status and last words."""
        with self._ending:
            words = self._words if self._errors.closed else self._last_words()
        status = self._process.poll()
        if not status:
            return words
        ended = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
        return f"{ended}; {words}" if words else ended

    def _last_words(self) -> str:
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - 2000))
        return "".join(self._errors.read().decode("utf-8", "replace").strip().splitlines()[-1:])
