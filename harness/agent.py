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
``BLOB``     in         a piece of a file too large for a JOB, by sha256 and offset
``RESULT``   out        what one job did; ``held`` says whether its streams wait for FETCH or DROP
``FETCH``    in         send one held stream of one job
``DATA``     out        a piece of it; ``last`` marks the end
``DROP``     in         these results are committed; forget what is held for them
``PING``     both       heartbeat; silence for longer than ``silence`` seconds ends the session
``STOP``     in         finish (or, with ``abort``, kill) what runs, then say BYE
``BYE``      out        number of frames sent before this one and their rolling hash; without it, all is lost
===========  =========  =====================================================================================
"""

from __future__ import annotations

import collections
import errno
import fcntl
import hashlib
import hmac
import json
import os
import resource
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
from typing import Any, Deque, Dict, List, NoReturn, Optional, Tuple

PROTOCOL = 1
HELLO, JOB, BLOB, RESULT, FETCH, DATA, DROP, PING, STOP, BYE = range(1, 11)
MAX_PAYLOAD = 2 * 1024 * 1024
HOLD_LIMIT = 8 * 1024 * 1024
PIECE = 64 * 1024
GRACE_AFTER_EXIT = 0.5
GRACE_AFTER_TERM = 2.0

_HEADER = struct.Struct("!IBQ")
_LENGTH = struct.Struct("!I")
_MAC_SIZE = 32
_PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 4, 36


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
        self.count = 0
        self.chain = b""

    def feed(self, data: bytes) -> List[Tuple[int, Dict[str, Any], bytes]]:
        """Return the complete messages as (type, object, raw bytes); raise ProtocolError at the first bad frame."""
        self._buffer += data
        messages = []
        start = 0
        while len(self._buffer) - start >= _HEADER.size:
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
            messages.append((kind,) + self._parse(body[_HEADER.size :]))
            if kind != BYE:  # BYE attests the frames before it
                self.count += 1
                self.chain = hashlib.sha256(self.chain + mac).digest()
            start = end + _MAC_SIZE
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
    """One output stream of a job: hashed as it comes, held while it is small enough to be asked for."""

    def __init__(self) -> None:
        self.size = 0
        self._hash = hashlib.sha256()
        self._held: List[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
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
        tasks = os.listdir("/proc/%d/task" % pid)
        text = "".join(open("/proc/%d/task/%s/children" % (pid, task)).read() for task in tasks)
        return [int(word) for word in text.split()]
    except FileNotFoundError:
        return _children_by_scan(pid)
    except OSError:
        return []


def _children_by_scan(pid: int) -> List[int]:
    """The same for kernels without /proc/PID/task/TID/children."""
    found = []
    try:
        names = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
    for name in names:
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


def _remove(path: str) -> None:
    """Remove a folder whatever a fixture did to the permissions below it; nothing outside is touched."""
    shutil.rmtree(path, ignore_errors=True)
    if not os.path.lexists(path):
        return
    pending = [path]
    while pending:
        folder = pending.pop()
        try:
            os.chmod(folder, 0o700)
            with os.scandir(folder) as entries:
                pending += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue  # what still resists is left to the next start's sweep
    shutil.rmtree(path, ignore_errors=True)


class Worker:
    """One slot: a process of its own, so that whatever a job leaves behind is adopted by, and known to, its slot.

    It runs one job at a time and ends, killing its job, when the agent's main process closes the socket.
    """

    def __init__(self, control: socket.socket, base: str, number: int, environment: Dict[str, str]) -> None:
        self._control = control
        self._base = base
        self._folder = os.path.join(base, "slot%d" % number)
        self._environment = environment
        self._null = os.open(os.devnull, os.O_RDONLY)
        self._is_linux = sys.platform.startswith("linux")
        self._defaults = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

    def serve(self) -> None:
        """Run jobs until the main process goes away."""
        buffer = bytearray()
        while True:
            data = self._control.recv(1 << 18)
            if not data:
                return
            buffer += data
            while len(buffer) >= 4 and len(buffer) >= 4 + _LENGTH.unpack_from(buffer)[0]:
                end = 4 + _LENGTH.unpack_from(buffer)[0]
                payload = bytes(buffer[4:end])
                del buffer[:end]
                text, _, inline = payload.partition(b"\0")
                reply = json.dumps(self.run(json.loads(text.decode("ascii")), inline)).encode("ascii")
                self._control.sendall(_LENGTH.pack(len(reply)) + reply)

    def run(self, job: Dict[str, Any], inline: bytes) -> Dict[str, Any]:
        """Run one job and return its RESULT; trouble of our own is the ending ``lost``, never a result."""
        try:
            stdin = self._prepare(job, inline)
            return self._execute(job, stdin)
        except (OSError, ValueError) as error:
            _kill_tree()
            return {"id": job["id"], "ending": "lost", "lost": "agent: %s" % error}
        finally:
            os.chdir(self._base)
            self._clean(job)

    def _prepare(self, job: Dict[str, Any], inline: bytes) -> int:
        """Make the private folders and files of a job, enter them, and return the descriptor of its stdin."""
        for name in ("", "work", "home", "tmp"):
            os.mkdir(os.path.join(self._folder, name), 0o700)
        position = 0
        for name, size, blob in job["files"] + [["", job["stdin"][0], job["stdin"][1]]]:
            path = os.path.join(self._folder, "work", *name.split("/")) if name else os.path.join(self._folder, "stdin")
            if "/" in name:
                os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            if blob:
                self._copy_blob(blob, path)
            elif name or size:
                with open(path, "wb", 0) as file:
                    file.write(inline[position : position + size])
            position += size
        os.chdir(os.path.join(self._folder, "work"))
        has_stdin = job["stdin"][0] or job["stdin"][1]
        return os.open(os.path.join(self._folder, "stdin"), os.O_RDONLY) if has_stdin else self._null

    def _copy_blob(self, digest: str, path: str) -> None:
        """Copy a large file into place; it is hashed again, since a fixture of the same user may have touched it."""
        seen = hashlib.sha256()
        with open(os.path.join(self._base, "blob-" + digest), "rb") as source, open(path, "wb") as target:
            for piece in iter(lambda: source.read(PIECE), b""):
                seen.update(piece)
                target.write(piece)
        if seen.hexdigest() != digest:
            raise ValueError("an input file was changed in the cell")

    def _environ(self, job: Dict[str, Any]) -> Dict[str, str]:
        env = dict(self._environment)
        env["HOME"] = os.path.join(self._folder, "home")
        env["TMPDIR"] = os.path.join(self._folder, "tmp")
        for name in job["carry"]:
            if name in os.environ:
                env[name] = os.environ[name]
        env.update(job["env"])
        return env

    def _spawn(self, job: Dict[str, Any], stdin: int, stdout: int, stderr: int) -> int:
        """Start the subject in a session of its own with three descriptors and default signals."""
        argv = job["argv"]
        return os.posix_spawnp(
            argv[0],
            argv,
            self._environ(job),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, stdin, 0),
                (os.POSIX_SPAWN_DUP2, stdout, 1),
                (os.POSIX_SPAWN_DUP2, stderr, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=self._defaults,
        )

    def _execute(self, job: Dict[str, Any], stdin: int) -> Dict[str, Any]:
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        try:
            started = time.monotonic_ns()
            pid = self._spawn(job, stdin, out_write, err_write)
        except OSError:
            os.close(out_read)
            os.close(err_read)
            raise
        finally:
            os.close(out_write)
            os.close(err_write)
            if stdin != self._null:
                os.close(stdin)
        streams = {out_read: Capture(), err_read: Capture()}
        captures = list(streams.values())
        try:
            ending, status, ended = self._watch(job, pid, streams, started)
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
        watch = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1  # type: ignore[attr-defined,unused-ignore]
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
                if status is not None and not streams and not self._has_children():
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
                pause = (deadline - now) / 1e6 if status is None and watch >= 0 else 5.0
                for descriptor, _ in poller.poll(max(0.0, pause)):
                    if descriptor == self._control.fileno():
                        raise OSError(errno.ECONNRESET, "the agent's main process is gone")
                    if descriptor in streams and not self._drain(descriptor, streams, poller):
                        continue
                    if not ending and any(stream.size > job["output"] for stream in streams.values()):
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

    def _has_children(self) -> bool:
        """Whether anything of the job is left. Ends that were only waiting to be reaped are reaped here."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
            return True
        except ChildProcessError:
            return False

    def _kill_leftovers(self, pid: int) -> int:
        """Kill what outlived the program; return how many processes that were (at least, where no one can count)."""
        if self._is_linux:
            return _kill_tree() if self._has_children() else 0
        try:
            os.killpg(pid, signal.SIGKILL)  # no subreaper here: what left the job's session is out of reach
            return 1
        except (ProcessLookupError, PermissionError):
            return 0

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
        work = os.path.join(self._folder, "work")
        try:
            for name, _, _ in job["files"]:
                os.unlink(os.path.join(work, name))
            if job["stdin"][0] or job["stdin"][1]:
                os.unlink(os.path.join(self._folder, "stdin"))
            for folder in (work, os.path.join(self._folder, "home"), os.path.join(self._folder, "tmp"), self._folder):
                os.rmdir(folder)
        except OSError:
            _remove(self._folder)


class Slot:
    """The main process's view of one worker: its pid, its socket, and the job that it runs."""

    def __init__(self, number: int, pid: int, control: socket.socket) -> None:
        self.number = number
        self.pid = pid
        self.control = control
        self.buffer = bytearray()
        self.jobs: Deque[Tuple[Dict[str, Any], bytes]] = collections.deque()


class Agent:
    """The main process: frames in, jobs to slots, results out. Single-threaded, so that it may fork at any time."""

    def __init__(self, settings: Dict[str, Any], inward: int, outward: int) -> None:
        key = bytes.fromhex(settings["key"])
        self._decoder = Decoder(key, b">")
        self._encoder = Encoder(key, b"<")
        self._settings = settings
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
        self._slots: Dict[int, Slot] = {}
        self._stopping = False
        self._pace = 1e9  # the recent mean duration of a job, in nanoseconds; slow until the contrary is known
        self._heard = self._spoke = time.monotonic()

    @staticmethod
    def _make_base() -> Tuple[str, int]:
        """Make the agent's private folder, locked while it lives; sweep those of agents that were killed."""
        root = os.path.realpath(tempfile.gettempdir())
        for name in os.listdir(root):
            path = os.path.join(root, name)
            try:
                if not name.startswith("harness-agent-") or os.lstat(path).st_uid != os.getuid():
                    continue
                lock = os.open(os.path.join(path, "alive"), os.O_RDWR | os.O_NOFOLLOW)
            except OSError:
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            except OSError:
                continue  # its owner lives
            finally:
                os.close(lock)
        base = tempfile.mkdtemp(prefix="harness-agent-", dir=root)
        alive = os.open(os.path.join(base, "born"), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(alive, fcntl.LOCK_EX)
        os.rename(os.path.join(base, "born"), os.path.join(base, "alive"))  # seen by others only when locked
        return base, alive

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
        status = 1
        try:
            ours.close()
            os.close(self._in)
            os.close(self._out)
            for slot in self._slots.values():
                slot.control.close()
            _prctl(_PR_SET_CHILD_SUBREAPER, 1)
            _prctl(_PR_SET_DUMPABLE, 0)
            Worker(theirs, self._base, number, self._environment).serve()
            status = 0
        except OSError:
            status = 1  # the main process is gone; so is whoever would want to hear of it
        finally:
            _kill_tree()
            if os.getppid() != self._settings["pid"]:
                _remove(self._base)  # nobody else is left to do it
            os._exit(status)

    def _send(self, kind: int, message: Dict[str, Any], data: bytes = b"") -> None:
        self._outgoing += self._encoder.encode(kind, message, data)
        self._spoke = time.monotonic()

    def _serve(self) -> None:
        beat = self._settings["heartbeat"]
        while True:
            self._feed_slots()
            self._feed_fetches()
            if self._outgoing:
                self._write()
            if self._is_finished():
                self._send(BYE, {"count": self._encoder.count, "chain": self._encoder.chain.hex()})
                self._flush()
                return
            now = time.monotonic()
            if now - self._heard > self._settings["silence"]:
                raise ProtocolError("the controller has been silent for %d s" % self._settings["silence"])
            if now - self._spoke >= beat:
                self._send(PING, {})
                continue
            for descriptor, events in self._poller.poll(beat * 500):
                if descriptor == self._in:
                    self._read()
                elif descriptor in self._slots:
                    self._hear_slot(self._slots[descriptor])

    def _is_finished(self) -> bool:
        is_idle = not any(slot.jobs for slot in self._slots.values())
        return self._stopping and is_idle and not self._queue and not self._fetches and not self._outgoing

    def _write(self) -> None:
        try:
            del self._outgoing[: os.write(self._out, self._outgoing)]
        except BlockingIOError:
            pass  # the pipe is full: poll tells when it is not
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
                self._queue.append((message, raw))
            elif kind == BLOB:
                self._store_blob(message, raw)
            elif kind == FETCH:
                path = os.path.join(self._base, "held-%d-%s" % (message["id"], message["stream"]))
                self._fetches.append((message["id"], message["stream"], open(path, "rb")))
            elif kind == DROP:
                self._drop(message["ids"])
            elif kind == STOP:
                self._stop(message["abort"])
            elif kind not in (PING, JOB):
                raise ProtocolError("frame type %d is not for an agent" % kind)

    def _store_blob(self, message: Dict[str, Any], raw: bytes) -> None:
        name = message["digest"]
        if len(name) != 64 or not name.isalnum():
            raise ProtocolError("not a digest")
        with open(os.path.join(self._base, "blob-" + name), "r+b" if message["offset"] else "wb") as file:
            file.seek(message["offset"])
            file.write(raw)

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
                    slot.control.shutdown(socket.SHUT_RDWR)  # the worker kills its job and ends
                    self._poller.unregister(slot.control.fileno())

    def _feed_slots(self) -> None:
        """A job for every idle slot; while many wait, a small second one, so that none idles until we are scheduled."""
        for slot in self._slots.values():
            while self._queue and (not slot.jobs or self._may_prefetch(slot)):
                message, raw = self._queue.popleft()
                payload = json.dumps(message).encode("ascii") + b"\0" + raw
                slot.jobs.append((message, raw))
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
            self._replace(slot)
            return
        slot.buffer += data
        while len(slot.buffer) >= 4 and len(slot.buffer) >= 4 + _LENGTH.unpack_from(slot.buffer)[0]:
            end = 4 + _LENGTH.unpack_from(slot.buffer)[0]
            message = json.loads(slot.buffer[4:end].decode("ascii"))
            del slot.buffer[:end]
            slot.jobs.popleft()
            self._pace += (message.get("duration", 0) - self._pace) / 16
            self._send(RESULT, message)

    def _replace(self, slot: Slot) -> None:
        """A worker died, which only its own job, or whoever may signal us, can have caused: its job is lost."""
        self._poller.unregister(slot.control.fileno())
        del self._slots[slot.control.fileno()]
        slot.control.close()
        _kill_tree(spared=tuple(other.pid for other in self._slots.values()))
        if slot.jobs:
            killer, _ = slot.jobs.popleft()
            self._send(RESULT, {"id": killer["id"], "ending": "lost", "lost": "agent: its worker was killed"})
            self._queue.extendleft(reversed(slot.jobs))
        _remove(os.path.join(self._base, "slot%d" % slot.number))
        if not self._stopping:
            self._start_worker(slot.number)

    def _close(self) -> None:
        """End every worker and everything below it, then remove the agent's folder."""
        for slot in self._slots.values():
            slot.control.close()
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline and _children(os.getpid()):
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.002)
            except ChildProcessError:
                break
        _kill_tree()
        _remove(self._base)
        os.close(self._alive)


def main(settings: Dict[str, Any]) -> NoReturn:
    """Take over the process: keep the real stdout for frames, point descriptor 1 at stderr, and serve."""
    outward = os.dup(1)
    os.dup2(2, 1)
    inward = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.umask(0o022)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the controller decides when a session ends
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    settings["reaper"] = _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    settings["pid"] = os.getpid()
    _prctl(_PR_SET_DUMPABLE, 0)
    status = Agent(settings, inward, outward).run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
