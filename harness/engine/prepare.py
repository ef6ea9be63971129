"""Preparing: fixtures whose program is made from a source by the corpus's own command, such as a transpiler.

The command is the user's and runs here, in the project's folder and with the user's environment. What it made is
reused as long as command, the files it names and the source are the same bytes. A failure is a result of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from harness.engine.project import Project
from harness.errors import LocalTrouble, Problem
from harness.model.fixture import Fixture
from harness.model.report import FixtureReport

TIMEOUT = 120.0
_MOST = 1 << 16


def prepare(
    project: Project, fixtures: Sequence[Fixture], folder: Path
) -> tuple[dict[str, Fixture], tuple[FixtureReport, ...]]:
    """Make the programs of those fixtures that have a source.

    ``folder`` is the store's. Returned are the fixtures with their program added, by id, and the failures.
    """
    wanted = [fixture for fixture in fixtures if fixture.source is not None]
    made: dict[str, Fixture] = {}
    failed: list[FixtureReport] = []
    if not wanted:
        return made, ()
    commands = _Commands()
    root = project.root.absolute()
    tools = {path: _tool_digest(root, corpus.prepare) for path, corpus in project.corpora.items()}

    def one(fixture: Fixture) -> Fixture | FixtureReport:
        making = _Making(
            commands=commands, root=root, command=project.corpora[fixture.corpus].prepare, tool=tools[fixture.corpus]
        )
        return making.prepare(fixture, folder.absolute() / "prepared")

    for leftover in (folder / "prepared").glob("*/making-*"):  # of a run that was killed; this one is the only writer
        shutil.rmtree(leftover, ignore_errors=True)
    pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
    try:
        for result in pool.map(one, wanted):
            if isinstance(result, Fixture):
                made[result.id] = result
            else:
                failed.append(result)
    finally:
        commands.end()
        pool.shutdown(cancel_futures=True)
    return made, tuple(failed)


class _Commands:
    """The commands under way, so that an interrupted run can end them and whatever they started."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._turn = threading.Lock()
        self._is_over = False

    def run(self, command: Sequence[str], folder: Path) -> tuple[int | None, bytes]:
        """Exit status (None: it was stopped after TIMEOUT) and what it said, on stderr if anything; raise OSError."""
        # Files, not pipes: what outlives the command cannot keep us waiting.
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            with self._turn:
                if self._is_over:
                    return None, b""
                process = subprocess.Popen(
                    command, cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
                )
                self._running.add(process)
            try:
                status: int | None = process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                status = None
            with self._turn:
                _kill(process)
                self._running.discard(process)
            stdout.seek(0)
            stderr.seek(0)
            return status, stderr.read(_MOST).strip() or stdout.read(_MOST).strip()

    def end(self) -> None:
        """Kill what runs, and start nothing more."""
        with self._turn:
            self._is_over = True
            for process in self._running:
                _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a command and, where there are process groups, what it has left behind."""
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tool_digest(root: Path, command: Sequence[str]) -> bytes:
    """A digest of the command and of every file that it names, so that a new transpiler makes new programs."""
    digest = hashlib.sha256()
    for word in command:
        digest.update(word.encode() + b"\0")
        path = Path(shutil.which(word) or root / word)
        if "{" not in word and path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Making:
    """How the programs of one corpus are made. ``root`` is absolute: the command runs there, not where we stand."""

    commands: _Commands
    root: Path
    command: tuple[str, ...]
    tool: bytes

    def prepare(self, fixture: Fixture, folder: Path) -> Fixture | FixtureReport:
        """The fixture with its program, made now or before; or why there is none."""
        assert fixture.source is not None
        try:
            key = hashlib.sha256(self.tool + fixture.source.name.encode() + b"\0" + fixture.source.read_bytes())
            name = key.hexdigest()
            program = folder / name[:2] / name[2:] / Path(fixture.program).name
            problem = "" if _is_sound(program) else self._make(fixture.source.absolute(), program)
        except OSError as error:
            raise LocalTrouble(Problem(id="H0705", message=f"{error.filename}: {error.strerror}")) from None
        if problem:
            return FixtureReport(fixture=fixture.id, result="prepare-failed", message=problem)
        return replace(fixture, files=tuple(sorted((*fixture.files, (fixture.program, program)))))

    def _make(self, source: Path, program: Path) -> str:
        """Run the command into a folder of its own and move that into place at once; return what went wrong, or ""."""
        program.parent.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=program.parent.parent, prefix="making-"))
        try:
            output = making / program.name
            problem = self._run(source, output)
            if not problem and not output.is_file():
                problem = f"`{self._words}` ended with 0 but wrote no {program.name}"
            if not problem:
                _seal(output).write_bytes(_digest(output))
                shutil.rmtree(program.parent, ignore_errors=True)
                try:
                    making.replace(program.parent)
                except OSError:
                    if not _is_sound(program):  # else a fixture with the same source was faster
                        raise
            return problem
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def _run(self, source: Path, output: Path) -> str:
        places = {"{source}": str(source), "{output}": str(output)}
        try:
            status, said = self.commands.run([_filled(word, places) for word in self.command], self.root)
        except OSError as error:
            return f"`{self.command[0]}` cannot be started: {error.strerror}"
        if status is None:
            return f"`{self._words}` did not end within {TIMEOUT:.0f} s"
        words = said.decode("utf-8", "replace").splitlines()
        return "; ".join([f"`{self._words}` ended with {status}", *words[-1:]]) if status else ""

    @property
    def _words(self) -> str:
        return " ".join(self.command)


def _is_sound(program: Path) -> bool:
    """Whether a program made before is there and still what it was."""
    try:
        return _seal(program).read_bytes() == _digest(program)
    except OSError:
        return False


def _seal(program: Path) -> Path:
    return program.with_name("digest")


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).hexdigest().encode()


def _filled(word: str, places: dict[str, str]) -> str:
    for name, value in places.items():
        word = word.replace(name, value)
    return word
