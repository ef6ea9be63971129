"""One authenticated connection to a host, over its jump hosts; every key on the way is checked before authentication.

Nothing is sent to a host whose key is refused. A connection that is under way can be closed from any thread.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from harness.errors import CellUnavailable
from harness.runners.ssh_config import Destination
from harness.runners.ssh_identity import authenticate
from harness.runners.ssh_keys import read_keys

if TYPE_CHECKING:
    import paramiko

CONNECT_WITHIN = 10.0
# One stream's bytes may be under way while the other's wait to be read.
WINDOW = 16 << 20
_WEAK_CIPHERS = ["3des-cbc", "aes128-cbc", "aes192-cbc", "aes256-cbc"]
_WEAK_MACS = ["hmac-sha1", "hmac-sha1-96", "hmac-md5", "hmac-md5-96"]

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # what matters is raised; only `cli` prints


class _Closeable(Protocol):
    def close(self) -> None:
        """End it."""


class Connection:
    """A way to a host, closed as a whole. ``notes`` are sentences about what was seen on it."""

    def __init__(self) -> None:
        self._parts: list[_Closeable] = []
        self._lock = threading.Lock()
        self._is_closed = False
        self.notes: list[str] = []

    def open(self, destination: Destination, pins: Sequence[str] = ()) -> paramiko.Transport:
        """Connect, check the key, authenticate; so at each jump host before.

        Raises CellUnavailable: ``host-key`` for a key that must not be trusted, ``unreachable`` for all else.
        """
        import paramiko

        before: paramiko.Transport | None = None
        for each in (*destination.jumps, destination):
            try:
                before = self._open(each, pins if each is destination else (), before)
            except paramiko.AuthenticationException as error:
                raise _not_let_in(each, str(error)) from None
            except (OSError, EOFError, paramiko.SSHException) as error:
                message = f"{each.name} ({each}): {str(error) or 'the host ended the connection'}"
                mend = f"see whether `ssh {destination.name}` gets there"
                raise CellUnavailable("unreachable", message, mend) from None
        assert before is not None
        return before

    def close(self) -> None:
        """End everything, whatever is under way. Safe twice."""
        with self._lock:
            self._is_closed = True
            parts, self._parts = self._parts, []
        for part in reversed(parts):
            with contextlib.suppress(OSError, EOFError):
                part.close()

    def _keep(self, part: _Closeable) -> None:
        with self._lock:
            if not self._is_closed:
                self._parts.append(part)
                return
        part.close()
        raise OSError("closed meanwhile")

    def _open(
        self, destination: Destination, pins: Sequence[str], before: paramiko.Transport | None
    ) -> paramiko.Transport:
        import paramiko

        if destination.loosened:
            self.notes.append(
                f"{destination.name}: the SSH configuration asks not to check the host's key; it is checked all the same"
            )
        keys = read_keys(destination, pins)
        transport = paramiko.Transport(
            self._stream(destination, before),
            default_window_size=WINDOW,
            disabled_algorithms={"ciphers": _WEAK_CIPHERS, "macs": _WEAK_MACS},
        )
        self._keep(transport)
        transport.banner_timeout = transport.auth_timeout = transport.handshake_timeout = CONNECT_WITHIN
        options = transport.get_security_options()
        options.key_types = keys.algorithms(options.key_types)
        try:
            transport.start_client(timeout=CONNECT_WITHIN)
        except paramiko.ssh_exception.IncompatiblePeer as error:
            if "host key" not in str(error):
                raise
            message = f"{destination.name}: the host has no key of a type that is allowed"
            raise CellUnavailable(
                "host-key", message, "add its key to known_hosts, or mend HostKeyAlgorithms"
            ) from None
        if not transport.initial_kex_done:
            raise OSError(f"no answer within {CONNECT_WITHIN:.0f} s")
        shown = transport.get_remote_server_key()
        keys.check(shown.get_name(), shown.asbytes())
        authenticate(transport, destination)
        return transport

    def _stream(self, destination: Destination, before: paramiko.Transport | None) -> socket.socket | paramiko.Channel:
        """What the transport speaks over: a channel of the host before, a command's pipes, or a socket."""
        if before is not None:
            target = (destination.address, destination.port)
            channel = before.open_channel("direct-tcpip", target, ("127.0.0.1", 0), timeout=CONNECT_WITHIN)
            self._keep(channel)
            return channel
        if destination.proxy_command:
            return self._command(destination.proxy_command)
        stream = socket.create_connection(
            (destination.address, destination.port), timeout=destination.connect_timeout or CONNECT_WITHIN
        )
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._keep(stream)
        return stream

    def _command(self, command: str) -> socket.socket:
        """ProxyCommand: its stdin and stdout are the connection."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                ["sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._keep(_Process(process))
        self._keep(ours)
        return ours


class _Process:
    """A command that is ended with the connection."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def _not_let_in(destination: Destination, said: str) -> CellUnavailable:
    message = f"{destination.name} ({destination}) lets us not in: {said or 'it takes none of the keys'}"
    return CellUnavailable("unreachable", message, f"see whether `ssh -o BatchMode=yes {destination.name}` gets in")
