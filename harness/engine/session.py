"""One conversation with one agent: bytes of a channel in, typed messages out, silence noticed.

Two threads: one reads, one writes and keeps time. Everything heard is delivered in order through one function,
ending in exactly one ``Lost`` or ``Bye``.
"""

from __future__ import annotations

import contextlib
import queue
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.errors import CellUnavailable
from harness.runners.base import Channel
from harness.wire import (
    DEFAULT_TIMING,
    Bye,
    Hello,
    JobMessage,
    Message,
    ProtocolError,
    Reader,
    Settings,
    Timing,
    Writer,
    preface,
)

NOISE_LIMIT = 1024 * 1024
BATCH = 32
PIECE = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The conversation ended without BYE. ``layer`` is agent, channel, protocol or link.

    ``refusal`` is there when it never began, and will not.
    """

    layer: str
    message: str
    refusal: CellUnavailable | None = None


Event = Message | Lost


class _StillBornError(Exception):
    """The other side never became an agent."""


class Session:
    """A conversation.

    ``noise`` is what the cell said before the agent did; ``moved`` is when anything but a heartbeat was last sent,
    on the monotonic clock.
    """

    def __init__(
        self, channel: Channel, slots: int, deliver: Callable[[Session, Event], None], timing: Timing = DEFAULT_TIMING
    ) -> None:
        self._channel = channel
        self._deliver = deliver
        key = secrets.token_bytes(32)
        self._settings = Settings(key=key, marker=f"harness-{secrets.token_hex(16)}", slots=slots, timing=timing)
        self._reader, self._writer = Reader(key), Writer(key)
        self._outgoing: queue.SimpleQueue[Callable[[], bytes] | None] = queue.SimpleQueue()
        self._heard = self.moved = time.monotonic()
        self._deadline = self._heard + timing.hello
        self._ending: Lost | None = None
        self._unwritten = ""
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
        if self._deadline == float("inf") and now - self._heard > self._settings.timing.silence:
            self._break(f"nothing heard for {now - self._heard:.0f} s")
        elif now > self._deadline:
            self._break("no word from its agent in time")

    def _break(self, message: str) -> None:
        self._ending = self._ending or Lost(layer="link", message=message)
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
                    if isinstance(message, Hello):
                        self._deadline = float("inf")
                    if isinstance(message, Bye):
                        self._over.set()
                    self._deliver(self, message)
                    if self._over.is_set():
                        return
                rest = self._hear()
            self._lose("agent", "its stream ended without BYE")
        except _StillBornError as error:
            self._lose("agent", str(error))
        except ProtocolError as error:
            self._lose("protocol", str(error))
        except ConnectionError as error:
            self._lose("link", str(error))
        except CellUnavailable as error:
            self._channel.close()
            self._deliver(self, Lost(layer="agent", message=error.message, refusal=error))
        except Exception as error:  # noqa: BLE001 - whatever a channel raises, the conversation has exactly one end
            self._lose("channel", f"{type(error).__name__}: {error}")
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
            buffer += data
            self.noise = buffer[-NOISE_LIMIT:]
            if not data:
                raise _StillBornError("it did not start")
            if len(buffer) > NOISE_LIMIT:
                raise _StillBornError("more than 1 MiB of noise before its first word")
        noise, _, rest = buffer.partition(marker)
        self.noise = noise.rstrip(b"\n")
        return rest or self._hear()

    def _lose(self, layer: str, message: str) -> None:
        unwritten = self._unwritten  # before we end the channel ourselves
        self._channel.close()
        ending = self._ending or Lost(layer=layer, message=message)
        explanation = self._channel.explain() or unwritten
        if explanation:
            ending = Lost(layer=ending.layer, message=f"{ending.message}; {explanation}")
        self._deliver(self, ending)

    def _write(self) -> None:
        """Send what is queued; when there is nothing, a heartbeat."""
        beat = self._settings.timing.heartbeat
        while not self._over.is_set():
            said = self._to_say(beat)
            try:
                data = b"".join(encode() for encode in said if encode) if said else self._writer.ping()
                for start in range(0, len(data), PIECE):
                    self._channel.write(data[start : start + PIECE])
                    if said:
                        self.moved = time.monotonic()
            except Exception as error:  # noqa: BLE001 - whatever a channel raises; the reader tells of the end
                self._unwritten = f"it cannot be written to: {error}"
                self._channel.close()
                return
            if None in said:
                return

    def _to_say(self, beat: float) -> list[Callable[[], bytes] | None]:
        """What is queued, a batch of it, so that the agent is not woken for each; nothing after a beat of silence."""
        said: list[Callable[[], bytes] | None] = []
        with contextlib.suppress(queue.Empty):
            said.append(self._outgoing.get(timeout=beat))
            while len(said) < BATCH:
                said.append(self._outgoing.get_nowait())
        return said
