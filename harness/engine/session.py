"""One conversation with one agent: bytes of a channel in, typed messages out, silence noticed.

Two threads: one reads, one writes and keeps time. Everything heard is delivered in order through one function,
ending in exactly one ``Lost`` or ``Bye``.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.runners.base import Channel
from harness.wire import Bye, Hello, JobMessage, Message, ProtocolError, Reader, Settings, Writer, preface

NOISE_LIMIT = 1024 * 1024
HELLO_WITHIN = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The conversation ended without BYE. ``layer`` is agent, channel, protocol or link."""

    layer: str
    message: str


Event = Message | Lost


class Session:
    """A conversation. ``noise`` is what the cell said before the agent did."""

    def __init__(self, channel: Channel, slots: int, deliver: Callable[[Session, Event], None]) -> None:
        self._channel = channel
        self._deliver = deliver
        key = secrets.token_bytes(32)
        self._settings = Settings(key=key, marker=f"harness-{secrets.token_hex(16)}", slots=slots)
        self._reader, self._writer = Reader(key), Writer(key)
        self._outgoing: queue.SimpleQueue[Callable[[], bytes] | None] = queue.SimpleQueue()
        self._heard = time.monotonic()
        self._deadline = self._heard + HELLO_WITHIN
        self._ending: Lost | None = None
        self._over = threading.Event()
        self.noise = b""
        self._threads = (
            threading.Thread(target=self._read, name="harness-read", daemon=True),
            threading.Thread(target=self._write, name="harness-write", daemon=True),
        )

    def start(self) -> None:
        """Send the agent's text and begin to listen."""
        self._outgoing.put(lambda: preface(self._settings))
        for thread in self._threads:
            thread.start()

    def run(self, job: JobMessage) -> None:
        """Ask for one execution."""
        self._outgoing.put(lambda: self._writer.job(job))

    def fetch(self, job: int, stream: str) -> None:
        """Ask for a held stream."""
        self._outgoing.put(lambda: self._writer.fetch(job, stream))

    def drop(self, jobs: tuple[int, ...]) -> None:
        """Acknowledge committed results."""
        self._outgoing.put(lambda: self._writer.drop(jobs))

    def stop(self, *, abort: bool = False) -> None:
        """Ask the agent to end: after its jobs, or at once."""
        self._outgoing.put(lambda: self._writer.stop(abort=abort))

    def watch(self) -> None:
        """End the channel when the other side has been silent for too long. To be called about once a second."""
        now = time.monotonic()
        if now - self._heard > self._settings.silence or now > self._deadline:
            self._ending = Lost(layer="link", message=f"nothing heard for {now - self._heard:.0f} s")
            self._channel.close()

    def close(self) -> None:
        """End the channel; what was not delivered is lost."""
        self._over.set()
        self._outgoing.put(None)
        self._channel.close()
        for thread in self._threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(5.0)

    def _read(self) -> None:
        try:
            rest = self._synchronise()
            while rest:
                for message in self._reader.feed(rest):
                    self._deliver(self, message)
                    if isinstance(message, Hello):
                        self._deadline = float("inf")
                    if isinstance(message, Bye):
                        self._over.set()
                        return
                rest = self._hear()
        except ProtocolError as error:
            self._lose("protocol", str(error))
        else:
            self._lose("agent", "its stream ended without BYE")
        finally:
            self._over.set()
            self._outgoing.put(None)
            self._channel.close()

    def _hear(self) -> bytes:
        data = self._channel.read()
        self._heard = time.monotonic()
        return data

    def _synchronise(self) -> bytes:
        """Pass over what a login shell or a banner says before the agent's marker; keep it for the doctor."""
        marker = self._settings.marker.encode() + b"\n"
        buffer = b""
        while marker not in buffer:
            data = self._hear()
            if not data:
                self.noise = buffer
                raise ProtocolError("the agent did not start")
            buffer += data
            if len(buffer) > NOISE_LIMIT:
                raise ProtocolError("more than 1 MiB of noise before the agent's first word")
        noise, _, rest = buffer.partition(marker)
        self.noise = noise.rstrip(b"\n")
        return rest or self._hear()

    def _lose(self, layer: str, message: str) -> None:
        self._channel.close()
        ending = self._ending or Lost(layer=layer, message=message)
        explanation = self._channel.explain()
        if explanation:
            ending = Lost(layer=ending.layer, message=f"{ending.message}; {explanation}")
        self._deliver(self, ending)

    def _write(self) -> None:
        """Send what is queued; when there is nothing, a heartbeat."""
        beat = self._settings.heartbeat
        while not self._over.is_set():
            try:
                encode = self._outgoing.get(timeout=beat)
            except queue.Empty:
                encode = self._writer.ping
            if encode is None:
                return
            try:
                self._channel.write(encode())
            except OSError as error:
                self._ending = self._ending or Lost(layer="channel", message=f"cannot be written to: {error}")
                self._channel.close()
                return
