"""The agent: the one file that runs in a cell, executes fixtures there and reports what it observed.

It is sent as text over stdin to ``python -I -u -c BOOTSTRAP``; it imports nothing of ours, installs nothing and
leaves nothing behind. It never judges: it is told which digests are expected only to know which bytes may be
dropped. Syntax and library of Python 3.8; longer than other modules because it must be a single file.

The protocol. A frame is ``length u32, type u8, sequence u64`` (big-endian), the payload, and an HMAC-SHA256 over
direction, header and payload under a key that only this session knows. Sequences count from 0 in each direction.
A payload is one JSON object in ASCII, optionally followed by a NUL and raw bytes.

===========  =========  =====================================================================================
frame        direction  meaning
===========  =========  =====================================================================================
``HELLO``    out        facts of agent and machine; sent once, after a line with the random marker
``JOB``      in         run this: argv, env, files, stdin, limits, expected digests; inline bytes follow
``BLOB``     in         a piece of a file too large for a JOB, by job, sha256 and offset
``RESULT``   out        what one job did; ``held`` says whether its streams wait for FETCH or DROP
``FETCH``    in         send one held stream of one job; of one above HOLD_LIMIT, its outline
``DATA``     out        a piece of it; ``last`` marks the end
``DROP``     in         these results are committed; forget what is held for them
``PING``     both       heartbeat; silence for longer than ``silence`` seconds ends the session
``STOP``     in         finish (or, with ``abort``, kill) what runs, then say BYE
``BYE``      out        number of frames sent before this one and their rolling hash; without it, all is lost
===========  =========  =====================================================================================

A JOB whose object would not fit in a frame has ``message``: the sha256 of a BLOB that holds the object. One with
``window``, a start and a size, asks for these bytes of stdout in its outline, which is: size of the stream u64, start
of the window u64, head, tail, sha256 of each chunk, bytes of the window.
"""

from __future__ import annotations

import abc
import collections
import contextlib
import errno
import hashlib
import hmac
import json
import os
import select
import signal
import socket
import stat
import struct
import sys
import tempfile
import time
from typing import Any, Deque, Dict, Iterable, List, NoReturn, Optional, Tuple

if sys.platform == "win32":
    import _winapi
    import ctypes
    import msvcrt
    import queue
    import shutil
    import subprocess
    import threading
    from ctypes import wintypes
else:
    import fcntl
    import resource

PROTOCOL = 1
HELLO, JOB, BLOB, RESULT, FETCH, DATA, DROP, PING, STOP, BYE = range(1, 11)
MAX_PAYLOAD = 2 * 1024 * 1024
HOLD_LIMIT = 8 * 1024 * 1024
PIECE = 64 * 1024
CHUNK = 64 * 1024
LONGEST_COMMAND_LINE = 32767
GRACE_AFTER_EXIT = 0.5
GRACE_AFTER_TERM = 2.0
LONGEST_GRACE = GRACE_AFTER_TERM + GRACE_AFTER_EXIT
LONGEST_POLL = 3600 * 1000
HOLD_RESULTS = 0.1
LIMITS = ("memory-limit", "process-limit", "disk-limit")
ROOM_IN_MEMORY = 1024 * 1024 * 1024

_to_json = json.JSONEncoder(separators=(",", ":")).encode
_HEADER = struct.Struct("!IBQ")
_LENGTH = struct.Struct("!I")
_OUTLINE = struct.Struct("!QQ")
_MAC_SIZE = 32
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 1, 4, 36


class ProtocolError(Exception):
    """Bytes that are no frame of this session. The session must end; nothing after them can be trusted."""


class Encoder:
    """Turns messages into authenticated frames of one direction. ``count`` and ``chain`` are what BYE attests."""

    def __init__(self, key: bytes, direction: bytes) -> None:
        self._key, self._direction = key, direction
        self.count = 0
        self.chain = b""

    def encode(self, kind: int, message: Dict[str, Any], data: bytes = b"") -> bytes:
        """Return the next frame; raise ValueError when it would exceed MAX_PAYLOAD."""
        payload = _to_json(message).encode("ascii")
        if data:
            payload = payload + b"\0" + data
        if len(payload) > MAX_PAYLOAD:
            raise ValueError("a frame of %d bytes is too large" % len(payload))
        body = _HEADER.pack(len(payload), kind, self.count) + payload
        mac = hmac.digest(self._key, self._direction + body, "sha256")
        self.count += 1
        self.chain = hashlib.sha256(self.chain + mac).digest()
        return body + mac


class Decoder:
    """Takes the bytes of one direction as they come and gives the messages in them; total over all inputs."""

    def __init__(self, key: bytes, direction: bytes) -> None:
        self._key, self._direction = key, direction
        self._buffer = bytearray()
        self._is_over = False
        self.count = 0
        self.chain = b""

    def feed(self, data: bytes) -> List[Tuple[int, Dict[str, Any], bytes]]:
        """Return the complete messages as (type, object, raw bytes); raise ProtocolError at the first bad frame."""
        self._buffer += data
        messages = []
        start = 0
        while not self._is_over and len(self._buffer) - start >= _HEADER.size:
            length, kind, sequence = _HEADER.unpack_from(self._buffer, start)
            if length > MAX_PAYLOAD or sequence != self.count or not HELLO <= kind <= BYE:
                raise ProtocolError("bad frame header after %d frames" % self.count)
            end = start + _HEADER.size + length
            if len(self._buffer) < end + _MAC_SIZE:
                break
            body = bytes(self._buffer[start:end])
            mac = bytes(self._buffer[end : end + _MAC_SIZE])
            if not hmac.compare_digest(mac, hmac.digest(self._key, self._direction + body, "sha256")):
                raise ProtocolError("frame %d is not authentic" % self.count)
            messages.append((kind, *self._parse(body[_HEADER.size :])))
            start = end + _MAC_SIZE
            if kind == BYE:  # it attests the frames before it, and nothing follows it
                self._is_over = True
            else:
                self.count += 1
                self.chain = hashlib.sha256(self.chain + mac).digest()
        if self._is_over and start < len(self._buffer):
            raise ProtocolError("bytes after BYE")
        del self._buffer[:start]
        return messages

    def _parse(self, payload: bytes) -> Tuple[Dict[str, Any], bytes]:
        text, _, data = payload.partition(b"\0")
        try:
            message = json.loads(text.decode("ascii"))
        except (ValueError, RecursionError):
            raise ProtocolError("frame %d is not JSON" % self.count) from None
        if not isinstance(message, dict):
            raise ProtocolError("frame %d is not an object" % self.count)
        return message, data


class Outliner:
    """What is kept of a stream too large to be held: head, tail, a digest for each chunk, and the bytes of a window.

    Its memory grows by 32 bytes for each 64 KiB of the stream.
    """

    def __init__(self, window: Tuple[int, int]) -> None:
        self._start, self._end = window[0], window[0] + window[1]
        self._size = 0
        self._head = bytearray()
        self._tail = bytearray()
        self._chunks = bytearray()
        self._window = bytearray()
        self._chunk = hashlib.sha256()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        before, view = self._size, memoryview(data)
        while view:
            part = view[: CHUNK - self._size % CHUNK]
            self._chunk.update(part)
            self._size += len(part)
            if self._size % CHUNK == 0:
                self._chunks += self._chunk.digest()
                self._chunk = hashlib.sha256()
            view = view[len(part) :]
        if before < CHUNK:
            self._head += data[: CHUNK - before]
        if before < self._end and self._size > self._start:
            self._window += data[max(self._start - before, 0) : self._end - before]
        self._tail += data[-CHUNK:]
        if len(self._tail) > 16 * CHUNK:
            del self._tail[:-CHUNK]

    def parts(self) -> List[bytes]:
        """The encoded outline, in pieces."""
        last = self._chunk.digest() if self._size % CHUNK else b""
        header = _OUTLINE.pack(self._size, self._start if self._window else 0)
        return [header, bytes(self._head), bytes(self._tail[-CHUNK:]), bytes(self._chunks), last, bytes(self._window)]


class Capture:
    """One output stream of a job: hashed as it comes, held while it is small enough, else kept in outline.

    What comes after ``limit`` bytes is passed over: a stream that was cut off is the same however late that was.
    """

    def __init__(self, limit: int, window: Tuple[int, int] = (0, 0)) -> None:
        self.size = 0
        self.is_over = False
        self._limit = limit
        self._window = window
        self._hash = hashlib.sha256()
        self._held: List[bytes] = []
        self._outliner: Optional[Outliner] = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        if self.size + len(data) > self._limit:
            self.is_over = True
            data = data[: self._limit - self.size]
        self.size += len(data)
        self._hash.update(data)
        if self.size <= HOLD_LIMIT:
            self._held.append(data)
        elif data:
            self._outline(data)

    def _outline(self, data: bytes) -> None:
        if self._outliner is None:
            self._outliner = Outliner(self._window)
            for piece in self._held:
                self._outliner.feed(piece)
            self._held.clear()
        self._outliner.feed(data)

    @property
    def digest(self) -> str:
        """sha256 of all bytes so far, in hex."""
        return self._hash.hexdigest()

    def save(self, path: str) -> None:
        """Write the held bytes, or the outline of too many, to a file of the agent's own."""
        with open(path, "wb") as file:
            file.writelines(self._outliner.parts() if self._outliner else self._held)


def _prctl(option: int, value: int) -> bool:
    try:
        import ctypes

        return bool(ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError):
        return False


def _children(pid: int) -> List[int]:
    """Direct children of a process, from /proc; empty where there is none."""
    try:
        found = []
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task)) as file:
                found += [int(word) for word in file.read().split()]
        return found
    except FileNotFoundError:  # a kernel without this file, or a process that is gone
        return _children_by_scan(pid)
    except OSError:
        return []


def _children_by_scan(pid: int) -> List[int]:
    """The same for kernels without /proc/PID/task/TID/children."""
    found = []
    for name in _processes():
        try:
            with open("/proc/%s/stat" % name, "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == pid:
                    found.append(int(name))
        except (OSError, ValueError, IndexError):
            continue  # it ended while we looked
    return found


def _kill_tree(spared: Tuple[int, ...] = ()) -> int:
    """Kill every descendant of this process but ``spared`` children, until none is left; return how many there were."""
    killed = set()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        todo = [pid for pid in _children(os.getpid()) if pid not in spared]
        if not todo:
            break
        for pid in todo:
            todo.extend(_children(pid))
            try:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            except ProcessLookupError:
                continue  # it ended by itself
        for pid in todo:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue  # a grandchild: it becomes ours and is reaped in the next round
        time.sleep(0.002)
    return len(killed)


def _strays(folder: str) -> List[int]:
    """The processes of a job, wherever they went: HOME, in this folder, gives them away."""
    mark = os.fsencode(folder) + b"/"
    found = []
    for name in _processes():
        try:
            with open("/proc/%s/environ" % name, "rb") as file:
                if mark in file.read():
                    found.append(int(name))
        except OSError:
            continue  # it ended, or belongs to somebody else
    return found


def _kill_strays(folder: str) -> int:
    """Kill what no subreaper can: jobs of an agent that was killed, or of a worker that is none; return how many."""
    killed = set()
    deadline = time.monotonic() + 10
    found = _strays(folder)
    while found and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        found = _strays(folder)
    return len(killed)


def _processes() -> List[str]:
    try:
        return [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _native(text: str) -> str:
    """Text of a message as this system's own: on POSIX its UTF-8 bytes, whatever the locale that we were started in."""
    if sys.platform == "win32":
        return text
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def _extended(path: str) -> str:
    """A path for our own use: on Windows in the form that may be longer than 260 characters."""
    return "\\\\?\\" + path if sys.platform == "win32" and path[1:2] == ":" else path


def _open_up(path: str) -> bool:
    """Whether this is a folder, which is then made ours to read and write; never follows a link, or a junction."""
    try:
        status = os.lstat(path)
        junction = getattr(status, "st_reparse_tag", 0)
        if junction or not stat.S_ISDIR(status.st_mode):
            return False
        os.chmod(path, 0o700)
        return True
    except OSError:
        return False


def _entries(path: str) -> List[str]:
    """The paths of what is in a folder; nothing where there is none."""
    try:
        return [os.path.join(path, name) for name in os.listdir(path)] if _open_up(path) else []
    except OSError:
        return []


def _unlink(path: str) -> bool:
    """Remove a file, a link or an empty folder; whether it is gone."""
    for function in (os.unlink, os.rmdir):
        try:
            function(path)
            return True
        except FileNotFoundError:
            return True
        except OSError:
            if sys.platform == "win32":
                _make_writable(path)  # what is read-only resists there
            continue  # the other one may
    return False


def _make_writable(path: str) -> None:
    with contextlib.suppress(OSError):
        os.chmod(path, stat.S_IREAD | stat.S_IWRITE)


def _remove(path: str) -> None:
    """Remove a folder whatever a fixture did to it: permissions, links, trees deeper than any path may be long.

    Folders within folders are moved up before they are emptied, so that no path grows. What resists even that is
    left to the next agent's sweep.
    """
    path = _extended(path)
    moved = 0
    is_moving = True
    while is_moving and not _unlink(path):
        is_moving = False
        for outer in _entries(path):
            for inner in _entries(outer):
                moved += 1
                if not _unlink(inner):
                    try:
                        _open_up(inner)
                        os.rename(inner, os.path.join(path, ".moved-%d" % moved))
                    except OSError:
                        continue
                is_moving = True
            is_moving = _unlink(outer) or is_moving


def _free_space(path: str) -> int:
    if sys.platform == "win32":
        return shutil.disk_usage(path).free
    space = os.statvfs(path)
    return space.f_bavail * space.f_frsize


def _system_environment() -> Dict[str, str]:
    """What of a job's environment differs from system to system: where programs are, and what they cannot do without."""
    if sys.platform == "win32":
        root = os.environ.get("SYSTEMROOT", "C:\\Windows")
        return {"SYSTEMROOT": root, "PATH": "%s\\System32;%s;%s\\System32\\Wbem" % (root, root, root)}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def _temporary_root() -> str:
    """Where to work: where the user's TMPDIR says, else in memory where there is plenty, else on disk.

    A job makes and removes four folders; on a disk with a journal that costs as much as a tenth of a Python's start.
    """
    memory = "/dev/shm"
    try:
        space = os.statvfs(memory)
        is_roomy = space.f_bavail * space.f_frsize >= ROOM_IN_MEMORY and not space.f_flag & os.ST_NOEXEC
    except (OSError, AttributeError):
        is_roomy = False
    is_ours = is_roomy and not os.environ.get("TMPDIR") and os.access(memory, os.W_OK | os.X_OK)
    return memory if is_ours else os.path.realpath(tempfile.gettempdir())


class Limits:
    """Limits that this machine sets, such as a container's: whether one has been hit is known from counters and space.

    They belong to the machine and not to a job. Where there are no such files nothing is ever hit.
    """

    _COUNTERS: Tuple[Tuple[str, str, bytes], ...] = (
        ("memory-limit", "/sys/fs/cgroup/memory.events", b"oom_kill"),
        ("memory-limit", "/sys/fs/cgroup/memory/memory.oom_control", b"oom_kill"),
        ("process-limit", "/sys/fs/cgroup/pids.events", b"max"),
        ("process-limit", "/sys/fs/cgroup/pids/pids.events", b"max"),
    )
    _BYTES, _FILES = 1024 * 1024, 64

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._counters: List[Tuple[str, int, bytes]] = []
        for ending, path, name in self._COUNTERS:
            with contextlib.suppress(OSError):  # a system without it
                self._counters.append((ending, os.open(path, os.O_RDONLY), name))
        self._before: List[int] = []
        self._is_roomy = False

    def begin(self) -> None:
        """A job begins: what happened before is not its doing."""
        self._before = self._counts()
        self._is_roomy = self._has_room()

    def hit(self) -> str:
        """The ending of a job that ran into a limit since; empty when none was hit."""
        for (ending, _, _), before, now in zip(self._counters, self._before, self._counts()):
            if now > before:
                return ending
        return "disk-limit" if self._is_roomy and not self._has_room() else ""

    def _counts(self) -> List[int]:
        counts = []
        for _, descriptor, name in self._counters:
            words = os.pread(descriptor, 4096, 0).split()
            counts.append(int(words[words.index(name) + 1]) if name in words else 0)
        return counts

    def _has_room(self) -> bool:
        space = os.statvfs(self._folder)
        has_files = not space.f_files or space.f_favail >= self._FILES  # some file systems do not count them
        return has_files and space.f_bavail * space.f_frsize >= self._BYTES


class Workplace(abc.ABC):
    """Where one slot's jobs are prepared, executed and cleared away. How they are executed is the system's own."""

    def __init__(self, base: str, number: int, environment: Dict[str, str]) -> None:
        self._base = base
        self._settle_in(os.path.join(base, "slot%d" % number))
        self._environment = environment

    def _settle_in(self, folder: str) -> None:
        """Take this folder for the jobs to come."""
        self._folder = folder
        self._work, self._home, self._tmp, self._stdin = (
            folder + os.sep + name for name in ("work", "home", "tmp", "stdin")
        )

    @abc.abstractmethod
    def _execute(self, job: Dict[str, Any]) -> Dict[str, Any]:
        """Run a job that has been prepared, and kill what it leaves behind; return its RESULT."""

    @abc.abstractmethod
    def _kill(self) -> None:
        """Kill what a job has started that could not be watched to its end."""

    @staticmethod
    @abc.abstractmethod
    def _meaning(status: int) -> Tuple[str, int]:
        """What the system says of a process that ended, as (ending, code)."""

    def _limit_hit(self) -> str:
        """The ending of a job that ran into a limit of this machine; empty where none is known to have been hit."""
        return ""

    def run(self, job: Dict[str, Any], inline: bytes) -> Dict[str, Any]:
        """Run one job and return its RESULT; trouble of our own is the ending ``lost``, never a result."""
        try:
            if "message" in job:
                with open(self._blob(job["id"], job["message"]), "rb") as file:
                    job.update(json.loads(self._verified(file.read(), job["message"])))
            self._prepare(job, inline)
            return self._execute(job)
        except Exception as error:  # noqa: BLE001 - a job that cannot be run must not take its worker with it
            self._kill()
            return {"id": job["id"], "ending": "lost", "lost": "agent: %s" % (str(error) or type(error).__name__)}

    def _prepare(self, job: Dict[str, Any], inline: bytes) -> None:
        """Make the private folders and files of a job."""
        for folder in (self._folder, self._work, self._home, self._tmp):
            os.mkdir(folder, 0o700)
        position = 0
        for name, size, blob in job["files"] + [["", job["stdin"][0], job["stdin"][1]]]:
            path = self._path_of(name) if name else self._stdin
            if "/" in name:
                os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            if blob:
                self._copy_blob(self._blob(job["id"], blob), blob, path)
            elif name or size:
                with open(path, "wb", 0) as file:
                    file.write(inline[position : position + size])
            position += size

    def _path_of(self, name: str) -> str:
        return self._work + "/" + _native(name)

    def _blob(self, job: int, digest: str) -> str:
        return os.path.join(self._base, "blob-%d-%s" % (job, digest))

    @staticmethod
    def _verified(data: bytes, digest: str) -> bytes:
        if hashlib.sha256(data).hexdigest() != digest:
            raise ValueError("an input was changed in the cell")
        return data

    @staticmethod
    def _copy_blob(blob: str, digest: str, path: str) -> None:
        """Copy a large file into place; it is hashed again, since a fixture of the same user may have touched it."""
        seen = hashlib.sha256()
        with open(blob, "rb") as source, open(path, "wb") as target:
            for piece in iter(lambda: source.read(PIECE), b""):
                seen.update(piece)
                target.write(piece)
        if seen.hexdigest() != digest:
            raise ValueError("an input was changed in the cell")

    def _environ(self, job: Dict[str, Any]) -> Dict[str, str]:
        env = dict(self._environment)
        env["HOME"], env["TMPDIR"] = self._home, self._tmp
        for name in job["carry"]:
            if name in os.environ:
                env[name] = os.environ[name]
        for name, value in job["env"].items():
            env[_native(name)] = _native(value)
        return env

    @staticmethod
    def _captures(job: Dict[str, Any]) -> List[Capture]:
        """What takes in stdout and stderr."""
        start, size = job.get("window", (0, 0))
        return [Capture(job["output"], (start, size)), Capture(job["output"])]

    def _result(
        self,
        job: Dict[str, Any],
        captures: List[Capture],
        ending: str,
        status: Optional[int],
        duration: int,
        leaked: int,
    ) -> Dict[str, Any]:
        code = 0
        if status is not None:
            meaning, code = self._meaning(status)
            ending = ending or meaning
        out, err = captures
        wanted = job["expect"]
        agrees = (
            ending == "exited"
            and not leaked
            and code == wanted["exit"]
            and out.digest in wanted["stdout"]
            and wanted["stderr"] in ("", err.digest)
        )
        limit = "" if agrees else self._limit_hit()
        held = []
        for name, capture in (("stdout", out), ("stderr", err)):
            if not agrees and capture.size:
                capture.save(os.path.join(self._base, "held-%d-%s" % (job["id"], name)))
                held.append(name)
        return {
            "id": job["id"],
            "ending": limit or ending,
            "code": code,
            "stdout": [out.size, out.digest],
            "stderr": [err.size, err.digest],
            "leaked": leaked,
            "duration": duration,
            "held": held,
        }

    def _clean(self, job: Dict[str, Any]) -> None:
        """Remove the job's folder: by name where it only holds what we put there, else as a tree."""
        try:
            for name, _, _ in job.get("files", ()):
                os.unlink(self._path_of(name))
            if any(job.get("stdin", ())):
                os.unlink(self._stdin)
            for folder in (self._work, self._home, self._tmp, self._folder):
                os.rmdir(folder)
        except OSError:
            _remove(self._folder)
            if os.path.lexists(self._folder):
                self._settle_in(self._folder + "+")  # it resists, even us: the next job must not suffer


class Worker(Workplace):
    """One slot: a process of its own, so that whatever a job leaves behind is adopted by, and known to, its slot.

    It runs one job at a time and ends, killing its job, when the agent's main process closes the socket: in order
    after an empty message, else because it died, and then the agent's folder is the workers' to remove.
    """

    def __init__(self, control: socket.socket, base: str, number: int, environment: Dict[str, str]) -> None:
        super().__init__(base, number, environment)
        self._control = control
        self._null = os.open(os.devnull, os.O_RDONLY)
        self._limits = Limits(base)
        self._reaps = _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._can_posix_spawn = hasattr(os, "posix_spawnp")
        self._can_watch = hasattr(os, "pidfd_open")
        # Handlers end with the exec by themselves; what is ignored would stay so.
        self._defaults = [number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN]
        if os.path.isdir(self._folder):
            _remove(self._folder)  # of a worker that was killed

    def serve(self) -> bool:
        """Run jobs until the main process goes away; return whether it did so in order.

        A result is sent before its job's folder is removed.
        """
        buffer = bytearray()
        try:
            while True:
                data = self._control.recv(PIECE)
                if not data:
                    return False
                buffer += data
                while len(buffer) >= 4 and len(buffer) >= 4 + _LENGTH.unpack_from(buffer)[0]:
                    end = 4 + _LENGTH.unpack_from(buffer)[0]
                    payload = bytes(buffer[4:end])
                    del buffer[:end]
                    if not payload:
                        return True
                    self._answer(payload)
        except ConnectionError:  # in the middle of a job; behind the next one, an empty message may still be there
            rest = b"".join(iter(lambda: self._control.recv(PIECE), b""))
            return rest.endswith(_LENGTH.pack(0))

    def _answer(self, payload: bytes) -> None:
        text, _, inline = payload.partition(b"\0")
        job = json.loads(text.decode("ascii"))
        reply = _to_json(self.run(job, inline)).encode("ascii")
        self._control.sendall(_LENGTH.pack(len(reply)) + reply)
        os.chdir(self._base)
        self._clean(job)

    def _kill(self) -> None:
        _kill_tree()

    @staticmethod
    def _meaning(status: int) -> Tuple[str, int]:
        return ("signalled", os.WTERMSIG(status)) if os.WIFSIGNALED(status) else ("exited", os.WEXITSTATUS(status))

    def _enter(self, job: Dict[str, Any]) -> int:
        """Enter the folder of a job and return the descriptor of its stdin."""
        os.chdir(self._work)
        return os.open(self._stdin, os.O_RDONLY) if any(job["stdin"]) else self._null

    def _spawn(self, job: Dict[str, Any], descriptors: Tuple[int, int, int]) -> int:
        """Start the subject in a session of its own with three descriptors and default signals."""
        argv = [_native(word) for word in job["argv"]]
        env = self._environ(job)
        if self._can_posix_spawn:
            try:
                return os.posix_spawnp(
                    argv[0],
                    argv,
                    env,
                    file_actions=[(os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate(descriptors)],
                    setsid=True,
                    setsigmask=[],
                    setsigdef=self._defaults,
                )
            except NotImplementedError:  # a C library without setsid in it
                self._can_posix_spawn = False
        return self._fork(argv, env, descriptors)

    def _fork(self, argv: List[str], env: Dict[str, str], descriptors: Tuple[int, int, int]) -> int:
        """The same by hand, for PyPy and for old C libraries."""
        failure_read, failure_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                for target, source in enumerate(descriptors):
                    os.dup2(source, target)
                for number in self._defaults:
                    signal.signal(number, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_SETMASK, [])
                os.execvpe(argv[0], argv, env)
            except OSError as error:
                os.write(failure_write, b"%d" % (error.errno or errno.EIO))
            finally:
                os._exit(127)
        os.close(failure_write)
        with open(failure_read, "rb") as file:
            failure = file.read()
        if failure:
            os.waitpid(pid, 0)
            raise OSError(int(failure), os.strerror(int(failure)), argv[0])
        return pid

    def _pidfd(self, pid: int) -> int:
        """A descriptor that tells of the end of a process; -1 where the kernel or a filter does not give one."""
        if self._can_watch:
            try:
                return int(os.pidfd_open(pid))  # type: ignore[attr-defined,unused-ignore]
            except OSError:
                self._can_watch = False
        return -1

    def _execute(self, job: Dict[str, Any]) -> Dict[str, Any]:
        stdin = self._enter(job)
        self._limits.begin()
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        try:
            started = time.monotonic_ns()
            pid = self._spawn(job, (stdin, out_write, err_write))
        except BaseException:
            os.close(out_read)
            os.close(err_read)
            raise
        finally:
            os.close(out_write)
            os.close(err_write)
            if stdin != self._null:
                os.close(stdin)
        captures = self._captures(job)
        streams = dict(zip((out_read, err_read), captures))
        try:
            ending, status, ended = self._watch(job, pid, streams, started)
        except BaseException:
            self._has_group(pid, signal.SIGKILL)  # all that is within reach where there is no subreaper
            raise
        finally:
            for descriptor in streams:
                os.close(descriptor)
        leaked = self._kill_leftovers(pid)
        return self._result(job, captures, ending, status, ended - started, leaked)

    def _watch(
        self, job: Dict[str, Any], pid: int, streams: Dict[int, Capture], started: int
    ) -> Tuple[str, Optional[int], int]:
        """Drain both streams until the job is over, enforcing its limits; return (ending, wait status, when)."""
        poller = select.poll()
        for descriptor in streams:
            poller.register(descriptor, select.POLLIN)
        poller.register(self._control.fileno(), 0)  # only its hang-up counts here
        watch = self._pidfd(pid)
        if watch >= 0:
            poller.register(watch, select.POLLIN)
        deadline = started + int(job["timeout"] * 1e9)
        ending, status, ended = "", None, 0
        try:
            while True:
                if status is None:
                    reaped, raw = os.waitpid(pid, os.WNOHANG)
                    if reaped:
                        status, ended = raw, time.monotonic_ns()
                        deadline = ended + int(GRACE_AFTER_EXIT * 1e9)
                        if watch >= 0:
                            poller.unregister(watch)
                if status is not None and not streams and not self._is_peopled(pid):
                    return ending, status, ended
                now = time.monotonic_ns()
                if now >= deadline:
                    if status is not None:
                        return ending, status, ended
                    if ending:
                        os.kill(pid, signal.SIGKILL)  # asked politely before; the rest of the tree follows
                        deadline = now + int(GRACE_AFTER_TERM * 1e9)
                    else:
                        ending = "timeout"
                        self._signal(pid, signal.SIGTERM)
                        deadline = now + int(GRACE_AFTER_TERM * 1e9)
                # Without a pidfd, or while only stray children are left, nothing wakes us: look again soon.
                pause = (deadline - now) // 1000000 + 1 if status is None and watch >= 0 else 5
                for descriptor, _ in poller.poll(max(0, min(pause, LONGEST_POLL))):
                    if descriptor == self._control.fileno():
                        raise OSError(errno.ECONNRESET, "the agent's main process is gone")
                    if descriptor in streams and not self._drain(descriptor, streams, poller):
                        continue
                    if not ending and any(stream.is_over for stream in streams.values()):
                        ending = "output-limit"
                        self._signal(pid, signal.SIGKILL)
        finally:
            if watch >= 0:
                os.close(watch)

    @staticmethod
    def _drain(descriptor: int, streams: Dict[int, Capture], poller: Any) -> bool:
        """Read what is there; close the stream at its end. Return whether bytes came."""
        data = os.read(descriptor, PIECE)
        if data:
            streams[descriptor].feed(data)
            return True
        poller.unregister(descriptor)
        os.close(descriptor)
        del streams[descriptor]
        return False

    @staticmethod
    def _signal(pid: int, number: int) -> None:
        """Signal the job's whole group, and wake it when it has stopped itself."""
        for each in (number, signal.SIGCONT):
            try:
                os.killpg(pid, each)
            except (ProcessLookupError, PermissionError):
                return  # it is over, or about to be

    def _is_peopled(self, pid: int) -> bool:
        """Whether anything of the job is left. Ends that were only waiting to be reaped are reaped here."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
            return True
        except ChildProcessError:
            return not self._reaps and (self._has_group(pid, 0) or bool(_strays(self._folder)))

    @staticmethod
    def _has_group(pid: int, number: int) -> bool:
        """Signal what is left in the job's own group; whether there was anything."""
        try:
            os.killpg(pid, number)
            return True
        except (ProcessLookupError, PermissionError):  # macOS refuses where only a zombie is left
            return False

    def _kill_leftovers(self, pid: int) -> int:
        """Kill what outlived the program; return how many processes that were (at least, where no one can count)."""
        if not self._is_peopled(pid):
            return 0
        if not self._reaps:  # what left the job's session is within reach where /proc tells of it
            return _kill_strays(self._folder) or int(self._has_group(pid, signal.SIGKILL))
        return _kill_tree()

    def _limit_hit(self) -> str:
        limit = self._limits.hit()
        if limit:
            os.chdir(self._base)
            _remove(self._folder)  # it may fill what the held streams need
        return limit


class Slot:
    """What is known of one slot: the job that it runs and perhaps the next one, and when it must have answered."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.jobs: Deque[Tuple[Dict[str, Any], bytes]] = collections.deque()
        self.deadline = 0.0
        self.is_beside_others = False


def _cores() -> int:
    """How many jobs this machine takes at once: the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class WorkerSlot(Slot):
    """The main process's view of one worker: its pid and its socket."""

    def __init__(self, number: int, pid: int, control: socket.socket) -> None:
        super().__init__(number)
        self.pid = pid
        self.control = control
        self.buffer = bytearray()


class Host(abc.ABC):
    """What an agent is on every system: frames in, jobs into a queue, held streams out. ``slots`` may change."""

    def __init__(self, settings: Dict[str, Any], base: str, slots: Iterable[Slot]) -> None:
        key = bytes.fromhex(settings["key"])
        self._decoder = Decoder(key, b">")
        self._encoder = Encoder(key, b"<")
        self._settings = settings
        settings["slots"] = settings["slots"] or _cores()
        self._base = base
        self._outgoing = bytearray(("\n%s\n" % settings["marker"]).encode("ascii"))
        self._queue: Deque[Tuple[Dict[str, Any], bytes]] = collections.deque()
        self._fetches: Deque[Tuple[int, str, Any]] = collections.deque()
        self._locale = self._find_locale()
        self._environment = self._closed_environment()
        self._all_slots = slots
        self._blobs: Dict[int, List[str]] = {}
        self._stopping = False
        self._heard = self._spoke = time.monotonic()

    @abc.abstractmethod
    def _start(self) -> None:
        """Make the slots ready."""

    @abc.abstractmethod
    def _serve(self) -> None:
        """Hold the session to its BYE; raise OSError or ProtocolError when it ends otherwise."""

    @abc.abstractmethod
    def _accept(self, message: Dict[str, Any], raw: bytes) -> None:
        """Put a job into the queue."""

    @abc.abstractmethod
    def _abort(self) -> None:
        """Kill the jobs that run; nobody waits for their results."""

    @abc.abstractmethod
    def _close(self) -> None:
        """End every slot and everything below it, then remove the agent's folder."""

    @staticmethod
    def _find_locale() -> str:
        import locale

        for name in ("C.UTF-8", "C"):
            try:
                locale.setlocale(locale.LC_ALL, name)
                return name
            except locale.Error:
                continue
        return "C"

    def _closed_environment(self) -> Dict[str, str]:
        return {
            **_system_environment(),
            "TZ": "UTC",
            "LC_ALL": self._locale,
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_COLOR": "1",
            "COLUMNS": "80",
            "TERM": "dumb",
        }

    def run(self) -> int:
        """Serve the session to its end; return the exit status of the agent."""
        self._start()
        self._send(HELLO, self._hello())
        try:
            self._serve()
            return 0
        except (OSError, ProtocolError) as error:
            sys.stderr.write("agent: %s\n" % error)
            return 1
        finally:
            self._close()

    def _hello(self) -> Dict[str, Any]:
        return {
            "protocol": PROTOCOL,
            "python": "%d.%d.%d" % sys.version_info[:3],
            "pid": os.getpid(),
            "slots": self._settings["slots"],
            "locale": self._locale,
            "clock": time.time(),
            "free": _free_space(self._base),
            "reaper": self._settings["reaper"],
            "user": os.getuid() if sys.platform != "win32" else 0,
        }

    def _send(self, kind: int, message: Dict[str, Any], data: bytes = b"") -> None:
        self._outgoing += self._encoder.encode(kind, message, data)
        self._spoke = time.monotonic()

    def _is_finished(self) -> bool:
        is_idle = not any(slot.jobs for slot in self._all_slots)
        return self._stopping and is_idle and not self._queue and not self._fetches and not self._outgoing

    def _take(self, data: bytes) -> None:
        """Do what the controller asks for in these bytes."""
        if not data:
            raise ProtocolError("the controller is gone")
        self._heard = time.monotonic()
        for kind, message, raw in self._decoder.feed(data):
            if kind == JOB and not self._stopping:
                self._accept(message, raw)
            elif kind == BLOB:
                self._store_blob(message, raw)
            elif kind == FETCH:
                path = os.path.join(self._base, "held-%d-%s" % (message["id"], message["stream"]))
                file = open(path, "rb")  # noqa: SIM115 - closed when it has been sent
                self._fetches.append((message["id"], message["stream"], file))
            elif kind == DROP:
                self._drop(message["ids"])
            elif kind == STOP:
                self._stop(message["abort"])
            elif kind not in (PING, JOB):
                raise ProtocolError("frame type %d is not for an agent" % kind)

    def _store_blob(self, message: Dict[str, Any], raw: bytes) -> None:
        path = os.path.join(self._base, "blob-%d-%s" % (message["job"], message["digest"]))
        if not message["offset"]:
            self._blobs.setdefault(message["job"], []).append(path)
        with open(path, "r+b" if message["offset"] else "wb") as file:
            file.seek(message["offset"])
            file.write(raw)

    def _finish(self, slot: Slot) -> None:
        """The slot's job is over: forget its blobs, and give the next one its time."""
        job, _ = slot.jobs.popleft()
        slot.is_beside_others = False
        for path in self._blobs.pop(job["id"], ()):
            _unlink(path)
        self._set_deadline(slot)

    def _set_deadline(self, slot: Slot) -> None:
        if slot.jobs:
            limit = slot.jobs[0][0]["timeout"] + LONGEST_GRACE
            slot.deadline = time.monotonic() + limit + self._settings["patience"]
            busy = [other for other in self._all_slots if other.jobs]
            for each in busy if len(busy) > 1 else ():
                each.is_beside_others = True

    def _drop(self, ids: List[int]) -> None:
        for job in ids:
            for name in ("stdout", "stderr"):
                _unlink(os.path.join(self._base, "held-%d-%s" % (job, name)))

    def _stop(self, abort: bool) -> None:
        self._stopping = True
        if abort:
            self._queue.clear()
            for _, _, file in self._fetches:
                file.close()
            self._fetches.clear()
            self._abort()

    def _feed_fetches(self) -> None:
        while self._fetches and len(self._outgoing) < 4 * PIECE:
            job, stream, file = self._fetches[0]
            data = file.read(4 * PIECE)
            last = len(data) < 4 * PIECE
            self._send(DATA, {"id": job, "stream": stream, "last": last}, data)
            if last:
                file.close()
                self._fetches.popleft()


class Agent(Host):
    """The main process on POSIX systems. Single-threaded, so that it may fork at any time."""

    def __init__(self, settings: Dict[str, Any], inward: int, outward: int) -> None:
        base, self._alive = self._make_base()
        self._slots: Dict[int, WorkerSlot] = {}
        super().__init__(settings, base, self._slots.values())
        self._in, self._out = inward, outward
        self._poller = select.poll()
        self._poller.register(inward, select.POLLIN)
        self._is_writing = False
        self._written = 0.0
        self._pace = 1e9  # the recent mean duration of a job, in nanoseconds; slow until the contrary is known

    @staticmethod
    def _make_base() -> Tuple[str, int]:
        """Make the agent's private folder, locked while it or a worker lives; sweep those of agents that were killed."""
        root = _temporary_root()
        for name in os.listdir(root):
            path = os.path.join(root, name)
            try:
                if not name.startswith("harness-agent-") or os.lstat(path).st_uid != os.getuid():
                    continue
                lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            except OSError:
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _kill_strays(path)
                _remove(path)
            except OSError:
                continue  # its owner lives
            finally:
                os.close(lock)
        while True:
            base = tempfile.mkdtemp(prefix="harness-agent-", dir=root)
            try:
                alive = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue
            fcntl.flock(alive, fcntl.LOCK_EX)
            if os.path.isdir(base):
                return base, alive
            os.close(alive)  # swept by another agent before it was locked

    def _start(self) -> None:
        os.set_blocking(self._out, False)
        for number in range(self._settings["slots"]):
            self._start_worker(number)

    def _start_worker(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            self._become_worker(number, ours, theirs)
        theirs.close()
        self._slots[ours.fileno()] = WorkerSlot(number, pid, ours)
        self._poller.register(ours.fileno(), select.POLLIN)

    def _become_worker(self, number: int, ours: socket.socket, theirs: socket.socket) -> NoReturn:
        status, is_in_order = 1, False
        try:
            ours.close()
            os.close(self._in)
            os.close(self._out)
            for slot in self._slots.values():
                slot.control.close()
            _prctl(_PR_SET_DUMPABLE, 0)
            _prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)  # stopped by a fixture, it must still see its parent's end
            is_in_order = Worker(theirs, self._base, number, self._environment).serve()
            status = 0
        finally:
            _kill_tree()
            deadline = time.monotonic() + 1
            while not is_in_order and os.getppid() == self._settings["pid"] and time.monotonic() < deadline:
                time.sleep(0.002)  # its sockets close a little before it is gone
            if os.getppid() != self._settings["pid"]:
                _kill_strays(self._base)  # nobody else is left to do it
                _remove(self._base)
            os._exit(status)

    def _serve(self) -> None:
        beat = self._settings["heartbeat"]
        while True:
            self._feed_slots()
            self._feed_fetches()
            is_held = self._may_hold()
            if self._outgoing and not is_held:
                self._write()
            if self._is_finished():
                self._send(BYE, {"count": self._encoder.count, "chain": self._encoder.chain.hex()})
                self._flush()
                return
            if time.monotonic() - self._spoke >= beat:
                self._send(PING, {})
                continue
            for descriptor, _ in self._poller.poll(HOLD_RESULTS * 1000 if is_held else int(beat * 500)):
                if descriptor == self._in:
                    self._take(os.read(self._in, 1 << 18))
                elif descriptor in self._slots:
                    self._hear_slot(self._slots[descriptor])
            now = time.monotonic()  # after reading: what has come while we were kept from running counts
            if now - self._heard > self._settings["silence"]:
                raise ProtocolError("the controller has been silent for %d s" % self._settings["silence"])
            for slot in [slot for slot in self._slots.values() if slot.jobs and now > slot.deadline]:
                self._replace(slot, "its worker did not answer")

    def _may_hold(self) -> bool:
        """Whether results may wait for others: each write wakes the controller, which shares the cores here."""
        is_busy = len(self._queue) > len(self._slots) and len(self._outgoing) < PIECE
        return is_busy and time.monotonic() - self._written < HOLD_RESULTS

    def _write(self) -> None:
        self._written = time.monotonic()
        with contextlib.suppress(BlockingIOError):  # the pipe is full: poll tells when it is not
            del self._outgoing[: os.write(self._out, self._outgoing)]
        if bool(self._outgoing) != self._is_writing:
            self._is_writing = bool(self._outgoing)
            if self._is_writing:
                self._poller.register(self._out, select.POLLOUT)
            else:
                self._poller.unregister(self._out)

    def _flush(self) -> None:
        os.set_blocking(self._out, True)
        while self._outgoing:
            del self._outgoing[: os.write(self._out, self._outgoing)]

    def _accept(self, message: Dict[str, Any], raw: bytes) -> None:
        self._queue.append((message, _to_json(message).encode("ascii") + b"\0" + raw))

    def _abort(self) -> None:
        for slot in self._slots.values():
            if slot.jobs:
                slot.jobs.clear()
                self._dismiss(slot)
                slot.control.shutdown(socket.SHUT_RDWR)  # the worker kills its job and ends
                self._poller.unregister(slot.control.fileno())

    def _feed_slots(self) -> None:
        """A job for every idle slot; while many wait, a small second one, so that none idles until we are scheduled."""
        for slot in self._slots.values():
            while self._queue and (not slot.jobs or self._may_prefetch(slot)):
                message, payload = self._queue.popleft()
                slot.jobs.append((message, payload))
                if len(slot.jobs) == 1:
                    self._set_deadline(slot)
                slot.control.sendall(_LENGTH.pack(len(payload)) + payload)

    def _may_prefetch(self, slot: WorkerSlot) -> bool:
        # Behind a long job a second one would only wait; and what a busy worker does not read yet must fit into
        # the socket, or we would wait for it.
        is_worth_it = self._pace < 50e6 and len(self._queue) > 2 * len(self._slots)
        return is_worth_it and len(slot.jobs) < 2 and len(self._queue[0][1]) < PIECE

    def _hear_slot(self, slot: WorkerSlot) -> None:
        try:
            data = slot.control.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            self._replace(slot, "its worker was killed")
            return
        slot.buffer += data
        while len(slot.buffer) >= 4 and len(slot.buffer) >= 4 + _LENGTH.unpack_from(slot.buffer)[0]:
            end = 4 + _LENGTH.unpack_from(slot.buffer)[0]
            message = json.loads(slot.buffer[4:end].decode("ascii"))
            del slot.buffer[:end]
            if slot.is_beside_others and message["ending"] in LIMITS:
                message = self._unsure(message)
            self._finish(slot)
            self._pace += (message.get("duration", 0) - self._pace) / 16
            if message.get("leaked"):
                self._reap()
            self._send(RESULT, message)

    def _reap(self) -> None:
        """Forget orphans that became ours, as they do under a worker that is no subreaper; a worker's end is heard."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue

    def _unsure(self, message: Dict[str, Any]) -> Dict[str, Any]:
        """A limit of the machine was hit while several jobs ran, and it cannot be said by which: alone it can."""
        self._drop([message["id"]])
        why = "agent: a %s was hit while other jobs ran beside it" % message["ending"].replace("-", " ")
        return {"id": message["id"], "ending": "lost", "lost": why}

    def _replace(self, slot: WorkerSlot, why: str) -> None:
        """A worker died or hangs, which only its own job, or whoever may signal us, can have caused: its job is lost."""
        self._end(slot)
        del self._slots[slot.control.fileno()]
        slot.control.close()
        _kill_tree(spared=tuple(other.pid for other in self._slots.values()))
        if slot.jobs:
            self._send(RESULT, {"id": slot.jobs[0][0]["id"], "ending": "lost", "lost": "agent: " + why})
            self._finish(slot)
            self._queue.extendleft(reversed(slot.jobs))
        if not os.path.isdir(self._base):
            raise OSError(errno.ENOENT, "a fixture removed the agent's folder")
        if not self._stopping:
            self._start_worker(slot.number)

    def _end(self, slot: WorkerSlot) -> None:
        """Take a worker's process away."""
        with contextlib.suppress(KeyError):  # an abort has done it
            self._poller.unregister(slot.control.fileno())
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(slot.pid, signal.SIGKILL)
            os.waitpid(slot.pid, 0)

    def _close(self) -> None:
        for slot in self._slots.values():
            self._dismiss(slot)
            slot.control.close()
        waiting = [slot.pid for slot in self._slots.values()]
        deadline = time.monotonic() + 3
        while waiting and time.monotonic() < deadline:
            waiting = [pid for pid in waiting if not self._has_ended(pid)]
            time.sleep(0.002)
        for pid in waiting:
            os.kill(pid, signal.SIGKILL)
        _kill_tree()
        _remove(self._base)
        os.close(self._alive)

    @staticmethod
    def _dismiss(slot: WorkerSlot) -> None:
        """Tell a worker that its end is in order."""
        with contextlib.suppress(OSError):  # it has ended, or has been told
            slot.control.settimeout(0)
            slot.control.sendall(_LENGTH.pack(0))
            os.kill(slot.pid, signal.SIGCONT)  # a fixture may have stopped it

    @staticmethod
    def _has_ended(pid: int) -> bool:
        try:
            return os.waitpid(pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return True


if sys.platform == "win32":
    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _ntdll = ctypes.WinDLL("ntdll")
    _HANDLES = wintypes.HANDLE * 2
    _kernel32.CreateJobObjectW.restype = _kernel32.CreateEventW.restype = wintypes.HANDLE
    _kernel32.OpenProcess.restype = wintypes.HANDLE
    for _function, _arguments in (
        (_kernel32.CreateJobObjectW, [wintypes.LPVOID, wintypes.LPCWSTR]),
        (_kernel32.SetInformationJobObject, [wintypes.HANDLE, wintypes.INT, wintypes.LPVOID, wintypes.DWORD]),
        (
            _kernel32.QueryInformationJobObject,
            [wintypes.HANDLE, wintypes.INT, wintypes.LPVOID, wintypes.DWORD, wintypes.LPVOID],
        ),
        (_kernel32.AssignProcessToJobObject, [wintypes.HANDLE, wintypes.HANDLE]),
        (_kernel32.TerminateJobObject, [wintypes.HANDLE, wintypes.UINT]),
        (_kernel32.CreateEventW, [wintypes.LPVOID, wintypes.BOOL, wintypes.BOOL, wintypes.LPCWSTR]),
        (_kernel32.SetEvent, [wintypes.HANDLE]),
        (_kernel32.WaitForMultipleObjects, [wintypes.DWORD, wintypes.LPVOID, wintypes.BOOL, wintypes.DWORD]),
        (_kernel32.OpenProcess, [wintypes.DWORD, wintypes.BOOL, wintypes.DWORD]),
        (
            _kernel32.QueryFullProcessImageNameW,
            [wintypes.HANDLE, wintypes.DWORD, wintypes.LPWSTR, wintypes.LPVOID],
        ),
        (_kernel32.CloseHandle, [wintypes.HANDLE]),
        (_kernel32.SetStdHandle, [wintypes.DWORD, wintypes.HANDLE]),
        (_kernel32.SetConsoleCtrlHandler, [wintypes.LPVOID, wintypes.BOOL]),
        (_kernel32.SetErrorMode, [wintypes.UINT]),
        (_ntdll.NtResumeProcess, [wintypes.HANDLE]),
    ):
        _function.argtypes = _arguments
    _PROCESS_IDS, _EXTENDED_LIMITS = 3, 9
    _DIE_ON_UNHANDLED_EXCEPTION, _KILL_ON_JOB_CLOSE = 0x400, 0x2000
    _QUERY_LIMITED_INFORMATION = 0x1000
    _CREATE_SUSPENDED, _CREATE_NO_WINDOW = 0x4, 0x08000000
    _NO_DIALOGS = 0x8003
    _KILLED = 1  # the exit status of what we kill

    class ExtendedLimits(ctypes.Structure):
        """JOBOBJECT_EXTENDED_LIMIT_INFORMATION, of which only the flags are used."""

        _fields_ = (
            ("times", ctypes.c_int64 * 2),
            ("flags", wintypes.DWORD),
            ("working_set", ctypes.c_size_t * 2),
            ("processes", wintypes.DWORD),
            ("affinity", ctypes.c_size_t),
            ("classes", wintypes.DWORD * 2),
            ("counters", ctypes.c_uint64 * 6),
            ("memory", ctypes.c_size_t * 4),
        )

    class ProcessIds(ctypes.Structure):
        """JOBOBJECT_BASIC_PROCESS_ID_LIST, with room for so many; ``assigned`` tells of all."""

        _fields_ = (
            ("assigned", wintypes.DWORD),
            ("listed", wintypes.DWORD),
            ("ids", ctypes.c_size_t * 1024),
        )

    def _checked(value: Any) -> Any:
        """The answer of a function that says 0 when it has failed."""
        if not value:
            raise ctypes.WinError(ctypes.get_last_error())
        return value

    def _is_console_host(pid: int) -> bool:
        """Whether this is the process behind a console, which the system starts and ends with its clients."""
        process = _kernel32.OpenProcess(_QUERY_LIMITED_INFORMATION, False, pid)
        if not process:
            return False
        try:
            path = ctypes.create_unicode_buffer(1024)
            size = wintypes.DWORD(1024)
            found = _kernel32.QueryFullProcessImageNameW(process, 0, path, ctypes.byref(size))
            return bool(found) and path.value.lower().endswith("\\system32\\conhost.exe")
        finally:
            _kernel32.CloseHandle(process)

    class JobObject:
        """What holds every process of one job: none can leave it, and when it is closed, or we die, all are killed."""

        def __init__(self) -> None:
            self._handle = _checked(_kernel32.CreateJobObjectW(None, None))
            limits = ExtendedLimits(flags=_KILL_ON_JOB_CLOSE | _DIE_ON_UNHANDLED_EXCEPTION)
            size = ctypes.sizeof(limits)
            _checked(_kernel32.SetInformationJobObject(self._handle, _EXTENDED_LIMITS, ctypes.byref(limits), size))

        def take(self, handle: int) -> None:
            """Take in a process, and with it all that it will start; raise OSError."""
            _checked(_kernel32.AssignProcessToJobObject(self._handle, handle))

        def release(self, process: subprocess.Popen[bytes]) -> None:
            """Take in a process that was started suspended, and only then let it run."""
            handle = int(process._handle)  # type: ignore[attr-defined]
            try:
                self.take(handle)
                if _ntdll.NtResumeProcess(handle):  # ResumeThread wants a handle that subprocess has closed
                    raise OSError(errno.EIO, "the process cannot be resumed")
            except OSError:
                process.kill()
                raise

        def count(self) -> int:
            """How many processes are in it, but for those of consoles."""
            found = ProcessIds()
            # More than there is room for is no failure here: `assigned` still counts them.
            _kernel32.QueryInformationJobObject(
                self._handle, _PROCESS_IDS, ctypes.byref(found), ctypes.sizeof(found), None
            )
            hosts = sum(_is_console_host(pid) for pid in found.ids[: min(found.listed, 1024)])
            return int(found.assigned) - hosts

        def kill(self) -> None:
            """Kill all that is in it."""
            _checked(_kernel32.TerminateJobObject(self._handle, _KILLED))

        def close(self) -> None:
            """Kill all that is in it, and give it up."""
            _kernel32.CloseHandle(self._handle)

    def _start_thread(function: Any, *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        thread.start()
        return thread

    class Drain:
        """A thread that reads one stream of a job to its end. ``wake`` is set at the limit and at the end."""

        def __init__(self, descriptor: int, capture: Capture, wake: int) -> None:
            self.capture = capture
            self.trouble: Optional[BaseException] = None
            self._descriptor, self._wake = descriptor, wake
            self._thread = _start_thread(self._run)

        @property
        def is_done(self) -> bool:
            """Whether the stream has ended."""
            return not self._thread.is_alive()

        def _run(self) -> None:
            try:
                for data in iter(lambda: os.read(self._descriptor, PIECE), b""):
                    self.capture.feed(data)
                    if self.capture.is_over:
                        _kernel32.SetEvent(self._wake)
            except BaseException as error:  # noqa: BLE001 - whose thread we are asks for it
                self.trouble = error
            finally:
                os.close(self._descriptor)
                _kernel32.SetEvent(self._wake)

        def finish(self) -> Capture:
            """What was said; raise OSError when not all of it could be read, or somebody still holds the pipe."""
            self._thread.join(GRACE_AFTER_TERM)
            if self.trouble or not self.is_done:
                raise OSError(errno.EIO, "a stream could not be read to its end: %s" % (self.trouble or "it is held"))
            return self.capture

    class WindowsWorkplace(Workplace):
        """One slot: each job in a job object and with a console of its own, two threads draining its streams."""

        def __init__(self, base: str, number: int, environment: Dict[str, str]) -> None:
            super().__init__(base, number, environment)
            self._wake = _checked(_kernel32.CreateEventW(None, False, False, None))
            self._is_aborted = False

        def abort(self) -> None:
            """Kill the job that runs, and let no other one begin. May be called from any thread."""
            self._is_aborted = True
            _kernel32.SetEvent(self._wake)

        def clear(self, job: Dict[str, Any]) -> None:
            """Remove the job's folder."""
            self._clean(job)

        def _kill(self) -> None:
            """Nothing is left to do: a job object that is closed kills what it holds."""

        @staticmethod
        def _meaning(status: int) -> Tuple[str, int]:
            return "exited", status

        def _environ(self, job: Dict[str, Any]) -> Dict[str, str]:
            # There a variable's name knows no case: of two that differ in nothing else, the later one is meant.
            env = {name.upper(): value for name, value in super()._environ(job).items()}
            for name, folder in (("USERPROFILE", self._home), ("TEMP", self._tmp), ("TMP", self._tmp)):
                env.setdefault(name, folder)
            return env

        def _path_of(self, name: str) -> str:
            return _extended(os.path.join(self._work, *name.split("/")))

        def _open_stdin(self, job: Dict[str, Any]) -> int:
            """A descriptor of the job's stdin; without one a pipe that has ended, since NUL passes for a terminal."""
            if any(job["stdin"]):
                return os.open(self._stdin, os.O_RDONLY | os.O_BINARY)
            reading, writing = _pipe()
            os.close(writing)
            return reading

        def _spawn(self, job: Dict[str, Any], family: JobObject, out: int, err: int) -> subprocess.Popen[bytes]:
            """Start the subject within a job object; it inherits three handles and nothing else."""
            command = subprocess.list2cmdline(job["argv"])
            if len(command.encode("utf-16-le", "surrogatepass")) // 2 >= LONGEST_COMMAND_LINE:
                raise ValueError("arguments too long: Windows takes %d characters" % (LONGEST_COMMAND_LINE - 1))
            stdin = self._open_stdin(job)
            try:
                process = subprocess.Popen(
                    command,
                    stdin=stdin,
                    stdout=out,
                    stderr=err,
                    env=self._environ(job),
                    cwd=self._work,
                    # A console of its own, which is never seen: on one that it shared, a job could send Ctrl-C and
                    # Ctrl-Break to its neighbours, and to us. So neither can be sent to it: a timeout kills at once.
                    creationflags=_CREATE_SUSPENDED | _CREATE_NO_WINDOW,
                )
            finally:
                os.close(stdin)
            family.release(process)
            return process

        def _execute(self, job: Dict[str, Any]) -> Dict[str, Any]:
            family = JobObject()
            try:
                out_read, out_write = _pipe()
                err_read, err_write = _pipe()
                try:
                    started = time.perf_counter_ns()  # before 3.13 the monotonic clock ticks 64 times a second
                    process = self._spawn(job, family, out_write, err_write)
                except BaseException:
                    os.close(out_read)
                    os.close(err_read)
                    raise
                finally:
                    os.close(out_write)
                    os.close(err_write)
                drains = [
                    Drain(descriptor, capture, self._wake)
                    for descriptor, capture in zip((out_read, err_read), self._captures(job))
                ]
                ending, status, ended = self._watch(job, family, process, drains, started)
                leaked = family.count()
                family.kill()
                captures = [drain.finish() for drain in drains]
                if not ending and any(capture.is_over for capture in captures):
                    ending = "output-limit"  # said in its last moments
            finally:
                family.close()
            return self._result(job, captures, ending, status, ended - started, leaked)

        def _watch(
            self,
            job: Dict[str, Any],
            family: JobObject,
            process: subprocess.Popen[bytes],
            drains: List[Drain],
            started: int,
        ) -> Tuple[str, int, int]:
            """Wait until the job is over, enforcing its limits; return (ending, exit status, when)."""
            waits = _HANDLES(self._wake, int(process._handle))  # type: ignore[attr-defined]
            deadline = started + int(job["timeout"] * 1e9)
            ending, ended = "", 0
            while True:
                if self._is_aborted:
                    raise OSError(errno.ECONNRESET, "the session was aborted")
                status = process.poll()
                now = time.perf_counter_ns()
                if status is not None:
                    if not ended:
                        ended, deadline = now, now + int(GRACE_AFTER_EXIT * 1e9)
                    is_quiet = all(drain.is_done for drain in drains) and not family.count()
                    if is_quiet or now >= deadline:
                        return ending, status, ended
                elif now >= deadline and ending:
                    raise OSError(errno.EBUSY, "the job cannot be killed")
                elif now >= deadline:
                    ending, deadline = "timeout", now + int(GRACE_AFTER_TERM * 1e9)
                    family.kill()
                if not ending and any(drain.capture.is_over for drain in drains):
                    ending, deadline = "output-limit", now + int(GRACE_AFTER_TERM * 1e9)
                    family.kill()
                # While only stray children are left, nothing wakes us: look again soon.
                pause = 5 if status is not None else min(max((deadline - now) // 1000000 + 1, 0), LONGEST_POLL)
                _kernel32.WaitForMultipleObjects(1 if status is not None else 2, waits, False, pause)

    def _pipe() -> Tuple[int, int]:
        """A pipe of bytes as two descriptors (reading, writing) that nobody inherits, roomier than os.pipe's."""
        reading, writing = _winapi.CreatePipe(None, PIECE)
        return msvcrt.open_osfhandle(reading, os.O_RDONLY), msvcrt.open_osfhandle(writing, 0)

    class ThreadSlot(Slot):
        """A slot and the thread that runs its jobs, one at a time; ``tell(slot, result)`` hears of each."""

        def __init__(self, number: int, workplace: WindowsWorkplace, tell: Any) -> None:
            super().__init__(number)
            self.workplace = workplace
            self._tell = tell
            self._orders: queue.SimpleQueue[Optional[Tuple[Dict[str, Any], bytes]]] = queue.SimpleQueue()
            self.thread = _start_thread(self._run)

        def run(self, job: Dict[str, Any], inline: bytes) -> None:
            """Give it a job."""
            self.jobs.append((job, b""))
            self._orders.put((job, inline))

        def end(self) -> None:
            """Let it end: now, and with it the job that it runs."""
            self.workplace.abort()
            self._orders.put(None)

        def _run(self) -> None:
            for job, inline in iter(self._orders.get, None):
                self._tell(self, self.workplace.run(job, inline))
                self.workplace.clear(job)

    class WindowsAgent(Host):
        """The agent on Windows: a thread for each slot, one that reads, one that writes; this one decides and waits.

        What another thread has to say is a function and its argument in ``_events``, called by the one that decides.
        """

        def __init__(self, settings: Dict[str, Any], inward: int, outward: int) -> None:
            base, self._alive = self._make_base()
            self._slots: List[ThreadSlot] = []
            super().__init__(settings, base, self._slots)
            self._in, self._out = inward, outward
            self._events: queue.SimpleQueue[Tuple[Any, Any]] = queue.SimpleQueue()
            self._room = threading.Semaphore(16)  # pieces of input that may wait for us
            self._to_write: queue.SimpleQueue[bytes] = queue.SimpleQueue()
            self._is_writing = False

        @staticmethod
        def _make_base() -> Tuple[str, int]:
            """Make the agent's private folder; sweep those of agents that were killed.

            Beside each folder is a file that its agent holds open, which nobody can remove meanwhile. It is there first.
            """
            root = _temporary_root()
            for name in {os.path.splitext(name)[0] for name in os.listdir(root) if name.startswith("harness-agent-")}:
                path = os.path.join(root, name)
                try:
                    os.unlink(path + ".alive")
                except FileNotFoundError:
                    pass  # its agent was killed while it was leaving
                except OSError:
                    continue  # its owner lives
                _remove(path)
            alive, path = tempfile.mkstemp(".alive", "harness-agent-", root)
            base = os.path.splitext(path)[0]
            os.mkdir(base, 0o700)
            return base, alive

        def _start(self) -> None:
            for number in range(self._settings["slots"]):
                self._slots.append(self._new_slot(number))
            _start_thread(self._read)
            _start_thread(self._write)

        def _new_slot(self, number: int) -> ThreadSlot:
            def tell(slot: ThreadSlot, message: Dict[str, Any]) -> None:
                self._events.put((self._answered, (slot, message)))

            return ThreadSlot(number, WindowsWorkplace(self._base, number, self._environment), tell)

        def _read(self) -> None:
            data = b"x"
            while data:
                self._room.acquire()
                try:
                    data = os.read(self._in, 1 << 18)
                except OSError:
                    data = b""
                self._events.put((self._hear, data))

        def _hear(self, data: bytes) -> None:
            self._room.release()
            self._take(data)

        def _write(self) -> None:
            try:
                while True:
                    left = memoryview(self._to_write.get())
                    while left:
                        left = left[os.write(self._out, left) :]
                    self._events.put((self._wrote, None))
            except OSError as error:
                self._events.put((self._fail, error))

        def _wrote(self, _: None) -> None:
            self._is_writing = False

        @staticmethod
        def _fail(error: OSError) -> None:
            raise error

        def _hand_over(self) -> None:
            """Let the other thread write what has gathered, unless it is at it still."""
            if self._outgoing and not self._is_writing:
                self._is_writing = True
                self._to_write.put(bytes(self._outgoing))
                self._outgoing.clear()

        def _accept(self, message: Dict[str, Any], raw: bytes) -> None:
            self._queue.append((message, raw))

        def _serve(self) -> None:
            beat = self._settings["heartbeat"]
            while True:
                for slot in self._slots:
                    if self._queue and not slot.jobs:
                        slot.run(*self._queue.popleft())
                        self._set_deadline(slot)
                self._feed_fetches()
                self._hand_over()
                if self._is_finished() and not self._is_writing:
                    self._send(BYE, {"count": self._encoder.count, "chain": self._encoder.chain.hex()})
                    self._hand_over()
                    while self._is_writing:
                        self._attend(beat)
                    return
                if time.monotonic() - self._spoke >= beat:
                    self._send(PING, {})
                    continue
                self._attend(beat / 2)

        def _attend(self, pause: float) -> None:
            """Wait for what the other threads have to say, and do it; notice what is late."""
            with contextlib.suppress(queue.Empty):
                act, value = self._events.get(timeout=pause)
                while True:
                    act(value)
                    act, value = self._events.get_nowait()
            now = time.monotonic()  # after hearing: what has come while we were kept from running counts
            if now - self._heard > self._settings["silence"]:
                raise ProtocolError("the controller has been silent for %d s" % self._settings["silence"])
            for slot in [slot for slot in self._slots if slot.jobs and now > slot.deadline]:
                self._replace(slot)

        def _answered(self, answer: Tuple[ThreadSlot, Dict[str, Any]]) -> None:
            slot, message = answer
            if slot in self._slots and slot.jobs:  # else it was given up before
                self._finish(slot)
                self._send(RESULT, message)

        def _replace(self, slot: ThreadSlot) -> None:
            """A slot hangs in something that no one can interrupt: its job is lost, and another one takes its place."""
            slot.end()
            self._send(
                RESULT, {"id": slot.jobs[0][0]["id"], "ending": "lost", "lost": "agent: its slot does not answer"}
            )
            self._finish(slot)
            self._slots.remove(slot)
            self._slots.append(self._new_slot(slot.number + self._settings["slots"]))

        def _abort(self) -> None:
            for slot in self._slots:
                slot.jobs.clear()
                slot.end()

        def _close(self) -> None:
            deadline = time.monotonic() + 3
            for slot in self._slots:
                slot.end()
            for slot in self._slots:
                slot.thread.join(max(0.0, deadline - time.monotonic()))
            # Who looks at new files, against viruses say, may hold one for a moment.
            while not _unlink(self._base) and time.monotonic() < deadline:
                _remove(self._base)
                time.sleep(0.01)
            os.close(self._alive)
            _unlink(self._base + ".alive")

    def _become_windows_agent(inward: int, outward: int) -> None:
        """Make the descriptors ones of bytes, and let nothing that a console or a crash does stop us or a job."""
        for descriptor in (0, 1, inward, outward):
            msvcrt.setmode(descriptor, os.O_BINARY)
        for name, descriptor in ((-10, 0), (-11, 1)):  # STD_INPUT_HANDLE, STD_OUTPUT_HANDLE
            _kernel32.SetStdHandle(name & 0xFFFFFFFF, msvcrt.get_osfhandle(descriptor))
        _kernel32.SetConsoleCtrlHandler(None, False)  # a job would inherit that Ctrl-C is ignored
        for number in (signal.SIGINT, signal.SIGBREAK):
            signal.signal(number, signal.SIG_IGN)  # the controller decides when a session ends
        _kernel32.SetErrorMode(_NO_DIALOGS)
        # Killed in the moment between a job's start and its way into its own job object, we would leave it behind.
        JobObject().take(_winapi.GetCurrentProcess())  # never closed: it ends with us


def main(settings: Dict[str, Any]) -> NoReturn:
    """Take over the process: keep the real stdout for frames, point descriptor 1 at stderr, and serve.

    What the process that started us left open, ignored or blocked must not reach a fixture.
    """
    outward = os.dup(1)
    os.dup2(2, 1)
    inward = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    if sys.platform == "win32":
        _become_windows_agent(inward, outward)
        settings["reaper"] = True  # the job objects
        _leave(WindowsAgent(settings, inward, outward))
    os.umask(0o022)
    for descriptor in range(3, 1024):
        try:
            os.set_inheritable(descriptor, False)
        except OSError:
            continue  # most are not open
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the controller decides when a session ends
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    settings["reaper"] = _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    settings["pid"] = os.getpid()
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
    _leave(Agent(settings, inward, outward))


def _leave(agent: Host) -> NoReturn:
    status = agent.run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
