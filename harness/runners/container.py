"""The channel to an agent that is the main process of a container, by the attached streams of that process.

The container begins when the channel is first read, so that many begin at once; it is removed when the channel
closes, and removes itself when its agent ends, which an agent does whose stdin ends.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import CellUnavailable
from harness.model.reach import DockerOptions
from harness.runners.daemon import CELL, OWNER, connect_daemon, daemon_errors, owner_mark, said
from harness.wire import agent_arguments

if TYPE_CHECKING:
    from docker import APIClient

INODES = 65_536
SHARED_MEMORY = 64 << 20
_HEADER = struct.Struct(">BxxxI")
_STDOUT, _STDERR = 1, 2
_WORDS = 2000
_AT_ITS_END = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container to be had. ``image`` is an image's id; ``inputs`` are (path here, path in it), read-only."""

    name: str
    cell: str
    image: str
    shown: str
    platform: str
    python: tuple[str, ...]
    options: DockerOptions
    inputs: tuple[tuple[str, str], ...] = ()


def settings_of(container: Container, client: APIClient) -> Mapping[str, Any]:
    """How the daemon is asked for it: every restriction said, none left to a default."""
    import docker

    options = container.options
    host = client.create_host_config(
        auto_remove=True,
        network_mode=options.network,
        read_only=not options.writable_root,
        cap_drop=["ALL"],
        cap_add=list(options.capabilities),
        security_opt=[] if options.new_privileges else ["no-new-privileges"],
        privileged=False,
        pids_limit=options.processes,
        mem_limit=options.memory,
        memswap_limit=options.memory,
        shm_size=SHARED_MEMORY,
        tmpfs={"/tmp": f"rw,nosuid,nodev,exec,mode=1777,size={options.tmpfs},nr_inodes={INODES}"},
        ipc_mode="private",
        mounts=[docker.types.Mount(there, here, type="bind", read_only=True) for here, there in container.inputs],
        log_config=docker.types.LogConfig(type="none"),  # or the daemon would write all that an agent says to a disk
    )
    return {
        "image": container.image,
        "name": container.name,
        "entrypoint": list(container.python),
        "command": list(agent_arguments()),
        "user": options.user,
        "working_dir": "/",
        "stdin_open": True,
        "tty": False,
        "healthcheck": {"test": ["NONE"]},
        "labels": {OWNER: owner_mark(), CELL: container.cell},
        "platform": container.platform,
        "host_config": host,
    }


class DockerChannel:
    """The streams of a container's main process."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._socket: socket.socket | None = None
        self._ready = threading.Event()
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._is_closed = self._is_over = False
        self._owners: tuple[Any, ...] = ()
        self._id = ""
        self._buffer = bytearray()
        self._words = b""
        self._status: int | None = None
        self._trouble = ""
        self._heard = False
        self._waiting: threading.Thread | None = None

    @property
    def id(self) -> str:
        """The daemon's id of the container; empty before it has one."""
        return self._id

    def read(self) -> bytes:
        """Wait for bytes of stdout. Raises CellUnavailable when there is no such container, or no agent in it."""
        if not self._ready.is_set():
            try:
                self._start()
            finally:
                self._ready.set()
        while not self._is_over:
            data = self._payload()
            if data:
                self._heard = True
                return data
            self._receive()
        self._buffer.clear()
        if not self._heard and not self._is_closed:
            self._explain_stillbirth()
        return b""

    def _receive(self) -> None:
        with self._reading:
            try:
                data = self._socket.recv(1 << 18) if self._socket else b""
            except OSError:  # closed by another thread, or by the daemon
                data = b""
        self._buffer += data
        self._is_over = not data

    def _payload(self) -> bytes:
        """The next piece of stdout that is complete; what is of stderr is kept as words."""
        while len(self._buffer) >= _HEADER.size:
            stream, size = _HEADER.unpack_from(self._buffer)
            if stream not in (_STDOUT, _STDERR):
                self._trouble, self._is_over = "the daemon's stream is damaged", True
                return b""
            if len(self._buffer) < _HEADER.size + size:
                return b""
            data = bytes(self._buffer[_HEADER.size : _HEADER.size + size])
            del self._buffer[: _HEADER.size + size]
            if stream == _STDERR:
                self._words = (self._words + data)[-_WORDS:]
            elif data:
                return data
        return b""

    def _start(self) -> None:
        import docker

        with daemon_errors():
            client = connect_daemon()
            try:
                self._id = client.create_container(**settings_of(self._container, client))["Id"]
                attached = client.attach_socket(self._id, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
                # Its own methods have no deadlines and close too early; the socket below them is a plain one.
                self._socket = getattr(attached, "_sock", attached)
                self._owners = (attached, client)
                self._socket.settimeout(None)
                self._waiting = threading.Thread(target=self._wait, name="harness-wait", daemon=True)
                self._waiting.start()
                client.start(self._id)
            except docker.errors.APIError as error:
                client.close()
                self._remove()
                raise self._refusal(said(error)) from None
        with self._lock:
            is_late = self._is_closed
        if is_late:  # closed meanwhile, when there was nothing to be closed yet
            self._end()

    def _refusal(self, message: str) -> CellUnavailable:
        python = " ".join(self._container.python)
        if "executable file not found" in message or "no such file or directory" in message:
            return CellUnavailable(
                "no-interpreter",
                f"the image {self._container.shown} has no {python}",
                "set the runner's `python:`, or derive an image that has a CPython or PyPy 3.8 or later for the agent",
            )
        if "o such image" in message or "does not match the specified platform" in message:
            return CellUnavailable("no-image", message, f"docker pull {self._container.shown}")
        return CellUnavailable("no-docker", f"the Docker daemon refuses: {message}", "mend what it says")

    def _explain_stillbirth(self) -> None:
        """An agent that ended by itself without a word will not do better the next time."""
        self._join()
        words = self._last_words()
        if "exec format error" in words:
            raise CellUnavailable(
                "broken-interpreter",
                f"this computer cannot run programs of {self._container.platform}",
                "register an emulator with binfmt_misc (Debian: qemu-user-binfmt)",
            )
        if self._status and self._status < 128:
            python = " ".join(self._container.python)
            raise CellUnavailable(
                "broken-interpreter",
                f"{python} of the image {self._container.shown} cannot host an agent: {self.explain()}",
                "the agent needs a CPython or PyPy 3.8 or later; set the runner's `python:`, and another `subject:`",
            )

    def _wait(self) -> None:
        """Learn the exit status, which nobody can tell any more once the container has removed itself."""
        import docker

        try:
            client = connect_daemon(timeout=None)
            with contextlib.closing(client):
                self._status = client.wait(self._id, condition="removed")["StatusCode"]
        except docker.errors.APIError:
            return  # it was gone before we could ask
        except (CellUnavailable, OSError):
            self._trouble = "the Docker daemon went away"

    def write(self, data: bytes) -> None:
        """Send all of it to stdin."""
        self._ready.wait()
        if self._socket is None or self._is_closed:
            raise OSError("the container is gone")
        self._socket.sendall(data)

    def close(self) -> None:
        """End the container with all that runs in it."""
        with self._lock:
            self._is_closed = True
        self._ready.set()
        self._end()

    def _end(self) -> None:
        if self._socket is not None:
            if self._is_over:
                self._join()  # it ends by itself: its own exit status says more than ours
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._remove()
        self._join()
        if self._socket is not None:
            with self._reading:  # who was reading has seen the end by now
                self._socket.close()
            for owner in self._owners:
                owner.close()

    def _join(self) -> None:
        if self._waiting is not None and self._waiting.is_alive():
            self._waiting.join(_AT_ITS_END)

    def _remove(self) -> None:
        import docker

        if not self._id or self._status is not None:
            return
        # Gone already, or about to be; and what a daemon that is gone leaves is reaped later.
        with contextlib.suppress(CellUnavailable, docker.errors.NotFound), daemon_errors():
            client = connect_daemon()
            with contextlib.closing(client):
                client.remove_container(self._id, force=True, v=True)

    def explain(self) -> str:
        """Why it ended: an exit status, the agent's last words, or the daemon's end."""
        found = [self._trouble] if self._trouble else []
        if self._status:
            found.append(
                f"killed by signal {self._status - 128}" if self._status > 128 else f"exit status {self._status}"
            )
        words = self._last_words()
        return "; ".join([*found, words] if words else found)

    def _last_words(self) -> str:
        return "".join(self._words.decode("utf-8", "replace").strip().splitlines()[-1:])
