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
``FETCH``    in         send one held stream of one job
``DATA``     out        a piece of it; ``last`` marks the end
``DROP``     in         these results are committed; forget what is held for them
``PING``     both       heartbeat; silence for longer than ``silence`` seconds ends the session
``STOP``     in         finish (or, with ``abort``, kill) what runs, then say BYE
``BYE``      out        number of frames sent before this one and their rolling hash; without it, all is lost
===========  =========  =====================================================================================

A JOB whose object would not fit in a frame has ``message``: the sha256 of a BLOB that holds the object.
"""

from __future__ import annotations

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
from typing import Any, Deque, Dict, List, NoReturn, Optional, Tuple

if sys.platform != "win32":
    import fcntl
    import resource

PROTOCOL = 1
HELLO, JOB, BLOB, RESULT, FETCH, DATA, DROP, PING, STOP, BYE = range(1, 11)
MAX_PAYLOAD = 2 * 1024 * 1024
HOLD_LIMIT = 8 * 1024 * 1024
PIECE = 64 * 1024
GRACE_AFTER_EXIT = 0.5
GRACE_AFTER_TERM = 2.0
LONGEST_GRACE = GRACE_AFTER_TERM + GRACE_AFTER_EXIT
LONGEST_POLL = 3600 * 1000
HOLD_RESULTS = 0.1
LIMITS = ("memory-limit", "process-limit", "disk-limit")
ROOM_IN_MEMORY = 1024 * 1024 * 1024

_HEADER = struct.Struct("!IBQ")
_LENGTH = struct.Struct("!I")
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
        payload = json.dumps(message, separators=(",", ":")).encode("ascii")
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


class Capture:
    """One output stream of a job: hashed as it comes, held while it is small enough to be asked for.

    What comes after ``limit`` bytes is passed over: a stream that was cut off is the same however late that was.
    """

    def __init__(self, limit: int) -> None:
        self.size = 0
        self.is_over = False
        self._limit = limit
        self._hash = hashlib.sha256()
        self._held: List[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        if self.size + len(data) > self._limit:
            self.is_over = True
            data = data[: self._limit - self.size]
        self.size += len(data)
        self._hash.update(data)
        if self.size <= HOLD_LIMIT:
            self._held.append(data)
        else:
            self._held.clear()

    @property
    def is_held(self) -> bool:
        """Whether every byte is still at hand."""
        return self.size <= HOLD_LIMIT

    @property
    def digest(self) -> str:
        """sha256 of all bytes so far, in hex."""
        return self._hash.hexdigest()

    def save(self, path: str) -> None:
        """Write the held bytes to a file of the agent's own."""
        with open(path, "wb") as file:
            file.writelines(self._held)


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
    """Text of a message as this system's own: its UTF-8 bytes, whatever the locale that we were started in."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def _open_up(path: str) -> bool:
    """Whether this is a folder, which is then made ours to read and write; never follows a link."""
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
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
            continue  # the other one may
    return False


def _remove(path: str) -> None:
    """Remove a folder whatever a fixture did to it: permissions, links, trees deeper than any path may be long.

    Folders within folders are moved up before they are emptied, so that no path grows. What resists even that is
    left to the next agent's sweep.
    """
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
        self._counters = [counter for counter in self._COUNTERS if os.access(counter[1], os.R_OK)]
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
        for _, path, name in self._counters:
            with open(path, "rb") as file:
                words = file.read().split()
            counts.append(int(words[words.index(name) + 1]) if name in words else 0)
        return counts

    def _has_room(self) -> bool:
        space = os.statvfs(self._folder)
        has_files = not space.f_files or space.f_favail >= self._FILES  # some file systems do not count them
        return has_files and space.f_bavail * space.f_frsize >= self._BYTES


class Worker:
    """One slot: a process of its own, so that whatever a job leaves behind is adopted by, and known to, its slot.

    It runs one job at a time and ends, killing its job, when the agent's main process closes the socket: in order
    after an empty message, else because it died, and then the agent's folder is the workers' to remove.
    """

    def __init__(self, control: socket.socket, base: str, number: int, environment: Dict[str, str]) -> None:
        self._control = control
        self._base = base
        self._folder = os.path.join(base, "slot%d" % number)
        self._environment = environment
        self._null = os.open(os.devnull, os.O_RDONLY)
        self._limits = Limits(base)
        self._reaps = _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._can_posix_spawn = hasattr(os, "posix_spawnp")
        self._can_watch = hasattr(os, "pidfd_open")
        self._defaults = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]
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
        reply = json.dumps(self.run(job, inline)).encode("ascii")
        self._control.sendall(_LENGTH.pack(len(reply)) + reply)
        os.chdir(self._base)
        self._clean(job)

    def run(self, job: Dict[str, Any], inline: bytes) -> Dict[str, Any]:
        """Run one job and return its RESULT; trouble of our own is the ending ``lost``, never a result."""
        try:
            if "message" in job:
                with open(self._blob(job["id"], job["message"]), "rb") as file:
                    job.update(json.loads(self._verified(file.read(), job["message"])))
            stdin = self._prepare(job, inline)
            return self._execute(job, stdin)
        except Exception as error:  # noqa: BLE001 - a job that cannot be run must not take its worker with it
            _kill_tree()
            return {"id": job["id"], "ending": "lost", "lost": "agent: %s" % (str(error) or type(error).__name__)}

    def _prepare(self, job: Dict[str, Any], inline: bytes) -> int:
        """Make the private folders and files of a job, enter them, and return the descriptor of its stdin."""
        for name in ("", "work", "home", "tmp"):
            os.mkdir(os.path.join(self._folder, name), 0o700)
        position = 0
        for name, size, blob in job["files"] + [["", job["stdin"][0], job["stdin"][1]]]:
            path = self._path_of(name) if name else os.path.join(self._folder, "stdin")
            if "/" in name:
                os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            if blob:
                self._copy_blob(self._blob(job["id"], blob), blob, path)
            elif name or size:
                with open(path, "wb", 0) as file:
                    file.write(inline[position : position + size])
            position += size
        os.chdir(os.path.join(self._folder, "work"))
        return os.open(os.path.join(self._folder, "stdin"), os.O_RDONLY) if any(job["stdin"]) else self._null

    def _path_of(self, name: str) -> str:
        return os.path.join(self._folder, "work", *_native(name).split("/"))

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
        env["HOME"] = os.path.join(self._folder, "home")
        env["TMPDIR"] = os.path.join(self._folder, "tmp")
        for name in job["carry"]:
            if name in os.environ:
                env[name] = os.environ[name]
        for name, value in job["env"].items():
            env[_native(name)] = _native(value)
        return env

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

    def _execute(self, job: Dict[str, Any], stdin: int) -> Dict[str, Any]:
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
        streams = {out_read: Capture(job["output"]), err_read: Capture(job["output"])}
        captures = list(streams.values())
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
            code = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            ending = ending or ("signalled" if os.WIFSIGNALED(status) else "exited")
        out, err = captures
        wanted = job["expect"]
        agrees = (
            ending == "exited"
            and not leaked
            and code == wanted["exit"]
            and out.digest in wanted["stdout"]
            and wanted["stderr"] in ("", err.digest)
        )
        limit = "" if agrees else self._limits.hit()
        if limit:
            ending = limit
            os.chdir(self._base)
            _remove(self._folder)  # it may fill what the held streams need
        held = []
        for name, capture in (("stdout", out), ("stderr", err)):
            if not agrees and capture.size and capture.is_held:
                capture.save(os.path.join(self._base, "held-%d-%s" % (job["id"], name)))
                held.append(name)
        return {
            "id": job["id"],
            "ending": ending,
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
                os.unlink(os.path.join(self._folder, "stdin"))
            for name in ("work", "home", "tmp", ""):
                os.rmdir(os.path.join(self._folder, name))
        except OSError:
            _remove(self._folder)
            if os.path.lexists(self._folder):
                self._folder += "+"  # it resists, even us: the next job must not suffer


class Slot:
    """The main process's view of one worker: its pid, its socket, the job that it runs and perhaps the next one."""

    def __init__(self, number: int, pid: int, control: socket.socket) -> None:
        self.number = number
        self.pid = pid
        self.control = control
        self.buffer = bytearray()
        self.jobs: Deque[Tuple[Dict[str, Any], bytes]] = collections.deque()
        self.deadline = 0.0
        self.is_beside_others = False


def _cores() -> int:
    """How many jobs this machine takes at once: the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Agent:
    """The main process: frames in, jobs to slots, results out. Single-threaded, so that it may fork at any time."""

    def __init__(self, settings: Dict[str, Any], inward: int, outward: int) -> None:
        key = bytes.fromhex(settings["key"])
        self._decoder = Decoder(key, b">")
        self._encoder = Encoder(key, b"<")
        self._settings = settings
        settings["slots"] = settings["slots"] or _cores()
        self._in, self._out = inward, outward
        self._outgoing = bytearray(("\n%s\n" % settings["marker"]).encode("ascii"))
        self._queue: Deque[Tuple[Dict[str, Any], bytes]] = collections.deque()
        self._fetches: Deque[Tuple[int, str, Any]] = collections.deque()
        self._base, self._alive = self._make_base()
        self._locale = self._find_locale()
        self._environment = self._closed_environment()
        self._poller = select.poll()
        self._poller.register(inward, select.POLLIN)
        self._is_writing = False
        self._written = 0.0
        self._slots: Dict[int, Slot] = {}
        self._blobs: Dict[int, List[str]] = {}
        self._stopping = False
        self._pace = 1e9  # the recent mean duration of a job, in nanoseconds; slow until the contrary is known
        self._heard = self._spoke = time.monotonic()

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
            "PATH": "/usr/local/bin:/usr/bin:/bin",
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
        os.set_blocking(self._out, False)
        for number in range(self._settings["slots"]):
            self._start_worker(number)
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
        space = os.statvfs(self._base)
        return {
            "protocol": PROTOCOL,
            "python": "%d.%d.%d" % sys.version_info[:3],
            "pid": os.getpid(),
            "slots": self._settings["slots"],
            "locale": self._locale,
            "clock": time.time(),
            "free": space.f_bavail * space.f_frsize,
            "reaper": self._settings["reaper"],
            "user": os.getuid(),
        }

    def _start_worker(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            self._become_worker(number, ours, theirs)
        theirs.close()
        self._slots[ours.fileno()] = Slot(number, pid, ours)
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

    def _send(self, kind: int, message: Dict[str, Any], data: bytes = b"") -> None:
        self._outgoing += self._encoder.encode(kind, message, data)
        self._spoke = time.monotonic()

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
                    self._read()
                elif descriptor in self._slots:
                    self._hear_slot(self._slots[descriptor])
            now = time.monotonic()  # after reading: what has come while we were kept from running counts
            if now - self._heard > self._settings["silence"]:
                raise ProtocolError("the controller has been silent for %d s" % self._settings["silence"])
            for slot in [slot for slot in self._slots.values() if slot.jobs and now > slot.deadline]:
                self._replace(slot, "its worker did not answer")

    def _is_finished(self) -> bool:
        is_idle = not any(slot.jobs for slot in self._slots.values())
        return self._stopping and is_idle and not self._queue and not self._fetches and not self._outgoing

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

    def _read(self) -> None:
        data = os.read(self._in, 1 << 18)
        if not data:
            raise ProtocolError("the controller is gone")
        self._heard = time.monotonic()
        for kind, message, raw in self._decoder.feed(data):
            if kind == JOB and not self._stopping:
                self._queue.append((message, json.dumps(message).encode("ascii") + b"\0" + raw))
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
            busy = [other for other in self._slots.values() if other.jobs]
            for each in busy if len(busy) > 1 else ():
                each.is_beside_others = True

    def _drop(self, ids: List[int]) -> None:
        for job in ids:
            for name in ("stdout", "stderr"):
                try:
                    os.unlink(os.path.join(self._base, "held-%d-%s" % (job, name)))
                except FileNotFoundError:
                    continue

    def _stop(self, abort: bool) -> None:
        self._stopping = True
        if abort:
            self._queue.clear()
            self._fetches.clear()
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

    def _may_prefetch(self, slot: Slot) -> bool:
        # Behind a long job a second one would only wait; and what a busy worker does not read yet must fit into
        # the socket, or we would wait for it.
        is_worth_it = self._pace < 50e6 and len(self._queue) > 2 * len(self._slots)
        return is_worth_it and len(slot.jobs) < 2 and len(self._queue[0][1]) < PIECE

    def _feed_fetches(self) -> None:
        while self._fetches and len(self._outgoing) < 4 * PIECE:
            job, stream, file = self._fetches[0]
            data = file.read(4 * PIECE)
            last = len(data) < 4 * PIECE
            self._send(DATA, {"id": job, "stream": stream, "last": last}, data)
            if last:
                file.close()
                self._fetches.popleft()

    def _hear_slot(self, slot: Slot) -> None:
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

    def _replace(self, slot: Slot, why: str) -> None:
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

    def _end(self, slot: Slot) -> None:
        """Take a worker's process away."""
        with contextlib.suppress(KeyError):  # an abort has done it
            self._poller.unregister(slot.control.fileno())
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(slot.pid, signal.SIGKILL)
            os.waitpid(slot.pid, 0)

    def _close(self) -> None:
        """End every worker and everything below it, then remove the agent's folder."""
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
    def _dismiss(slot: Slot) -> None:
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
    status = Agent(settings, inward, outward).run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
