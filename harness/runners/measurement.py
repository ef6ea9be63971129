"""Measure an interpreter by running the probe in it, in a closed environment and a private folder, and remember facts.

An interpreter is measured once: the memory is keyed by path, size, time, inode, the probe's text and this system.
A damaged memory is empty; what could not start is never remembered, since it may be mended from outside.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from harness.facts import probe_program, read_facts
from harness.model.cell import Facts
from harness.runners.diagnosis import Diagnosis, diagnose

TIMEOUT = 20.0
_MOST = 1 << 16
# The probe makes its folder itself, and removes it as its last act: it does so even when we are killed meanwhile.
_AT_HOME = """\
import os
try:
    os.mkdir({private!r}, 448)
except TypeError:  # MicroPython knows no modes
    os.mkdir({private!r})
os.chdir({private!r})
{probe}
os.chdir({root!r})
os.rmdir({private!r})
"""


def measure(executable: Path, timeout: float = TIMEOUT) -> Facts | Diagnosis:
    """Run the probe in ``executable`` (not resolved, no flags) and return its facts, or why there are none."""
    parent = Path(tempfile.gettempdir()).absolute()
    private = str(parent / f"harness-probe-{secrets.token_hex(8)}")
    with (
        contextlib.ExitStack() as cleaning,
        # Files, not pipes: a descendant that outlives the interpreter cannot keep us waiting.
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
    ):
        cleaning.callback(shutil.rmtree, private, ignore_errors=True)
        try:
            process = subprocess.Popen(
                [str(executable), "-c", _AT_HOME.format(private=private, root=parent.anchor, probe=probe_program())],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=parent.anchor,  # where nobody but root can put a module in its way
                env=_closed_environment(private),
                start_new_session=True,
            )
        except OSError as error:
            return diagnose(executable, 127, b"", error=error)
        ended = _wait(process, timeout)
        for stream in (stdout, stderr):
            stream.seek(0)
        said, complained = stdout.read(_MOST), stderr.read(_MOST)
    if not ended:
        return diagnose(executable, 0, complained, said, timeout=timeout)
    try:
        return read_facts(said)
    except ValueError:
        return diagnose(executable, process.returncode, complained, said)


def _wait(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """Whether it ended by itself; if not, it and its process group are killed."""
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        if sys.platform == "win32":
            process.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
    return True


def _closed_environment(private: str) -> dict[str, str]:
    """What a job's environment is, so that what is measured here is what a job will see."""
    values = {"PATH": os.defpath, "HOME": private, "TMPDIR": private, "TZ": "UTC", "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    values |= {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1", "COLUMNS": "80"}
    if sys.platform == "win32":
        values |= {"TEMP": private, "TMP": private, "USERPROFILE": private}
        values |= {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
        values["PATH"] = str(Path(os.environ.get("SYSTEMROOT", "C:\\Windows"), "System32"))
    return values


def stamp(executable: Path) -> str:
    """What changes when the file does; raises OSError when it is not there."""
    status = executable.stat()
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"


def _system() -> str:
    """The probe and the system that it measured: with another of either, all facts are old."""
    libc = "-".join(platform.libc_ver()) if sys.platform == "linux" else ""
    where = (probe_program(), platform.system(), platform.release(), platform.machine(), libc)
    return hashlib.sha256("\0".join(where).encode()).hexdigest()


@dataclass(slots=True)
class Memory:
    """Facts of interpreters by path and stamp, kept in one JSON file; without a path, for this process only."""

    path: Path | None
    entries: dict[str, tuple[str, Facts]] = field(default_factory=dict)
    changed: bool = False

    @classmethod
    def load(cls, path: Path | None) -> Memory:
        """Read the file; whatever is wrong with it makes an empty memory."""
        memory = cls(path)
        if path is None:
            return memory
        try:
            data = json.loads(path.read_bytes())
            kept = data["interpreters"]
            if data["system"] == _system() and data["digest"] == _digest(kept):
                memory.entries = {name: (mark, Facts.from_json(facts)) for name, (mark, facts) in kept.items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            memory.entries = {}
        return memory

    def recall(self, executable: Path) -> Facts | None:
        """The facts measured of exactly this file, or None."""
        try:
            mark, facts = self.entries[str(executable)]
            return facts if mark == stamp(executable) else None
        except (KeyError, OSError):
            return None

    def learn(self, executable: Path, facts: Facts) -> None:
        """Remember facts of a file, unless it vanished meanwhile."""
        with contextlib.suppress(OSError):
            self.entries[str(executable)] = (stamp(executable), facts)
            self.changed = True

    def save(self) -> None:
        """Write what is new, in one step; raises OSError when the file cannot be written."""
        if self.path is None or not self.changed:
            return
        kept = {
            name: [mark, facts.to_json()] for name, (mark, facts) in sorted(self.entries.items()) if Path(name).exists()
        }
        data = {"system": _system(), "digest": _digest(kept), "interpreters": kept}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=self.path.name, dir=self.path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(data, file, indent=1)
            Path(draft).replace(self.path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        self.changed = False


def _digest(kept: object) -> str:
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
