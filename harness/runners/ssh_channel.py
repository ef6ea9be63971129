"""The channel to an agent on a host: one connection, one command, its stdin and stdout.

stderr is drained by a thread of its own, since both streams share a window: unread, it would stop stdout too. A
connection that is destroyed is told from an agent that ended, which tells how.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from harness.errors import CellUnavailable
from harness.runners.ssh_config import Destination
from harness.runners.ssh_connection import Connection

if TYPE_CHECKING:
    import paramiko

_WORDS = 2000
_AT_ITS_END = 2.0
_A_MOMENT = 0.5
_OPEN_WITHIN = 10.0
_LOST = "the connection was lost"
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


class SshChannel:
    """Connects in the background after ``delay`` seconds, runs ``command``, and is a channel to it.

    ``resolve`` gives the destination and the host keys that are pinned for it; ``done`` is called once with how the
    connection came out, None when it stands, and with what was noticed on the way.
    """

    def __init__(
        self,
        resolve: Callable[[], tuple[Destination, Sequence[str]]],
        command: str,
        done: Callable[[CellUnavailable | None, Sequence[str]], None] = lambda refusal, notes: None,
        delay: float = 0.0,
    ) -> None:
        self._resolve = resolve
        self._command = command
        self._done = done
        self._delay = delay
        self._connection = Connection()
        self._channel: paramiko.Channel | None = None
        self._refusal: CellUnavailable | None = None
        self._ready, self._closing = threading.Event(), threading.Event()
        self._has_heard = self._is_over = False
        self._lost = ""
        self._words = b""
        self._draining: threading.Thread | None = None
        threading.Thread(target=self._start, name="harness-ssh", daemon=True).start()

    def read(self) -> bytes:
        """Wait for bytes of stdout."""
        self._ready.wait()
        if self._channel is None or self._closing.is_set() or self._is_over:
            refusal, self._refusal = self._refusal, None
            if refusal is not None:  # also when who could not write has closed us meanwhile
                raise refusal
            if self._lost and not self._is_over:
                self._is_over = True
                raise ConnectionError(self._lost)
            return b""
        data: bytes = self._channel.recv(1 << 18)
        if data:
            self._has_heard = True
            return data
        self._is_over = True
        if self._lost:
            raise ConnectionError(self._lost)
        if not self._closing.is_set():
            self._examine_end()
        return b""

    def write(self, data: bytes) -> None:
        """Send all of it to stdin."""
        self._ready.wait()
        if self._channel is None or self._closing.is_set():
            raise OSError("the connection is closed")
        try:
            self._channel.sendall(data)
        except OSError:
            if not self._closing.is_set() and self._has_died():  # who cannot write closes us, and reads no more
                self._lost = _LOST
            raise

    def close(self) -> None:
        """End the connection; the agent behind it cleans up when its stdin ends."""
        self._closing.set()
        self._ready.set()
        self._connection.close()

    def explain(self) -> str:
        """The exit status and last words of what ran there, or that the connection was lost."""
        if self._lost:
            return self._lost
        status = self._status()
        found = [] if status in (None, 0) else ["killed by a signal" if status == -1 else f"exit status {status}"]
        words = "".join(self._words.decode("utf-8", "replace").strip().splitlines()[-1:])
        return "; ".join([*found, words] if words else found)

    def _start(self) -> None:
        refusal = None
        try:
            self._closing.wait(self._delay)
            if not self._closing.is_set():
                self._channel = self._connect()
        except CellUnavailable as error:
            refusal = error
        except Exception as error:  # noqa: BLE001 - whatever a library raises, the channel has one end
            message = f"{type(error).__name__}: {error}"
            refusal = CellUnavailable("unreachable", message, "harness doctor")
        if not self._closing.is_set():  # else it is only that we were closed
            self._refusal = refusal
            self._done(refusal, self._connection.notes)
        self._ready.set()
        if refusal is not None:
            self._connection.close()

    def _connect(self) -> paramiko.Channel:
        import paramiko

        destination, pins = self._resolve()
        transport = self._connection.open(destination, pins)
        try:
            channel = transport.open_session(timeout=_OPEN_WITHIN)
            self._ask(channel, transport)
        except (paramiko.SSHException, OSError, EOFError) as error:
            message = f"{destination.name} opens no session: {error}"
            raise CellUnavailable("unreachable", message, f"see whether `ssh {destination.name} true` works") from None
        self._draining = threading.Thread(target=self._drain, args=(channel,), name="harness-stderr", daemon=True)
        self._draining.start()
        return channel

    def _ask(self, channel: paramiko.Channel, transport: paramiko.Transport) -> None:
        """Start the command without waiting for the answer: a refusal closes the channel, and a round trip is saved."""
        from paramiko.common import cMSG_CHANNEL_REQUEST
        from paramiko.message import Message

        request = Message()
        request.add_byte(cMSG_CHANNEL_REQUEST)
        request.add_int(channel.remote_chanid)
        request.add_string("exec")
        request.add_boolean(True)
        request.add_string(self._command)
        transport._send_user_message(request)  # type: ignore[attr-defined]

    def _drain(self, channel: paramiko.Channel) -> None:
        with contextlib.suppress(OSError):
            while data := channel.recv_stderr(1 << 16):
                self._words = (self._words + data)[-_WORDS:]

    def _status(self) -> int | None:
        """The exit status of the command, None when it is not known."""
        if self._channel is None or not self._channel.exit_status_ready():
            return None
        status: int = self._channel.exit_status
        return None if status == -1 and self._has_died() else status

    def _has_died(self) -> bool:
        """Whether the connection has ended; its thread is given a moment, since it ends the channels first."""
        transport = self._channel.get_transport() if self._channel is not None else None
        if transport is not None and transport.is_active():
            transport.join(_A_MOMENT)
        return transport is None or not transport.is_active()

    def _examine_end(self) -> None:
        """Tell a lost link from an agent that ended, and one that never began from both; raise what is final."""
        assert self._channel is not None
        self._channel.status_event.wait(_AT_ITS_END)
        if self._draining is not None:
            self._draining.join(_AT_ITS_END)
        status = self._status()
        if status is None and self._has_died():
            self._lost = _LOST
            raise ConnectionError(self._lost)
        if not self._has_heard and status:
            self._explain_stillbirth(status)

    def _explain_stillbirth(self, status: int) -> NoReturn:
        """An agent that ended by itself without a word will not do better the next time."""
        message = f"`{self._command.partition(' -I ')[0]}` on the host: {self.explain()}"
        if status in (_NOT_FOUND, _NOT_EXECUTABLE):
            raise CellUnavailable(
                "no-interpreter", message, "set `python:` of the host, or of the runner in the matrix"
            )
        raise CellUnavailable(
            "broken-interpreter", message, "the agent needs a CPython or PyPy 3.8 or later; set `python:` of the host"
        )
