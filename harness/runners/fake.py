"""A runner without a machine: jobs are answered by a function, and every frame of the conversation can be scripted.

For tests of whatever stands above the seam. ``FakeRunner(program)`` behaves like any other runner; a ``script`` in
place of the program takes the agent's part and may misbehave as it likes.
"""

from __future__ import annotations

import ast
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from harness import agent
from harness.agent import Decoder, Encoder
from harness.model.cell import Cell
from harness.model.fixture import Payload
from harness.model.outline import Outline
from harness.model.reach import RunnerEntry
from harness.runners.base import Placement

SUBJECT = "fake"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a program does: its exit status, or the number of the signal that ends it, and two streams."""

    exit: int = 0
    signal: int = 0
    stdout: bytes = b""
    stderr: bytes = b""


Program = Callable[[Payload], Said]
Script = Callable[["FakeAgent"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeJob:
    """One JOB as it arrived: ``message`` is its object, ``payload`` what it was made from."""

    message: dict[str, Any]
    payload: Payload

    @property
    def id(self) -> int:
        """The number that its result must bear."""
        return int(self.message["id"])


class FakeRunner:
    """Serves every cell, on one machine, by a program or by a script (one of the two)."""

    name = "fake"
    warnings: tuple[str, ...] = ()

    def __init__(
        self, program: Program | None = None, *, script: Script | None = None, machine: str = "fake", slots: int = 2
    ) -> None:
        self._script: Script = script or (lambda one: one.serve(program or (lambda payload: Said())))
        self._machine = machine
        self._slots = slots

    def place(self, cell: Cell, entry: RunnerEntry | None = None) -> Placement:
        """Never refuses."""
        return Placement(
            cell=cell,
            runner=self.name,
            machine=self._machine,
            slots=self._slots,
            subject=(SUBJECT,),
            isolation="none",
            connect=lambda: FakeChannel(self._script),
        )


class FakeChannel:
    """A channel to a script that runs in a thread of its own and ends, at the latest, when the channel is closed."""

    def __init__(self, script: Script) -> None:
        self._inward, self._outward = _Stream(), _Stream()
        self._words = ""
        self._thread = threading.Thread(target=self._run, args=(script,), name="harness-fake", daemon=True)
        self._thread.start()

    def read(self) -> bytes:
        """Wait for what the script writes."""
        return self._outward.get(None) or b""

    def write(self, data: bytes) -> None:
        """Hand it to the script."""
        if self._inward.is_closed:
            raise BrokenPipeError("the fake agent is gone")
        self._inward.put(data)

    def close(self) -> None:
        """End both directions."""
        self._inward.close()
        self._outward.close()
        self._thread.join(5.0)

    def explain(self) -> str:
        """What the script died of."""
        return self._words

    def _run(self, script: Script) -> None:
        try:
            script(FakeAgent(self._inward, self._outward))
        except Exception as error:  # noqa: BLE001 - the last words of an agent, whatever it dies of
            self._words = f"{type(error).__name__}: {error}"
        finally:
            self._inward.close()
            self._outward.close()


class FakeAgent:
    """The agent's end of a conversation: honest where it is asked to ``serve``, else whatever the script makes of it."""

    def __init__(self, inward: _Stream, outward: _Stream) -> None:
        self._inward, self._outward = inward, outward
        self._held: dict[tuple[int, str], bytes] = {}
        self._blobs: dict[str, bytes] = {}
        self.settings: dict[str, Any] = {}

    def say(self, data: bytes) -> None:
        """Write raw bytes, frames or not."""
        self._outward.put(data)

    def start(self) -> None:
        """Read the preface as the bootstrap would, then say the marker: frames may follow."""
        text = b""
        while b"\n" not in text:
            text += self._hear()
        line, _, source = text.partition(b"\n")
        words = line.decode("ascii")
        missing = int(words.partition("n=")[2].partition(";")[0]) - len(source)
        while missing > 0:
            missing -= len(self._hear())
        self.settings = ast.literal_eval(words.rpartition(";main(")[2].rstrip(")"))
        key = bytes.fromhex(self.settings["key"])
        self.encoder, self._decoder = Encoder(key, b"<"), Decoder(key, b">")
        self.say(b"\n%s\n" % self.settings["marker"].encode())

    def hello(self, **changes: object) -> None:
        """Greet; ``changes`` replace fields of the greeting."""
        message: dict[str, Any] = {
            "protocol": agent.PROTOCOL,
            "python": "3.8.0",
            "pid": 1,
            "slots": self.settings["slots"],
            "locale": "C.UTF-8",
            "clock": time.time(),
            "free": 1 << 40,
            "reaper": True,
            "user": 1000,
        }
        self.send(agent.HELLO, message | changes)

    def send(self, kind: int, message: dict[str, Any], data: bytes = b"") -> None:
        """Say one frame."""
        self.say(self.encoder.encode(kind, message, data))

    def bye(self, **changes: object) -> None:
        """Take leave; ``changes`` replace what is attested."""
        self.send(agent.BYE, {"count": self.encoder.count, "chain": self.encoder.chain.hex()} | changes)

    def messages(self) -> Iterator[tuple[int, dict[str, Any], bytes]]:
        """What the controller says, until it hangs up; heartbeats are answered meanwhile."""
        while True:
            data = self._inward.get(self.settings["heartbeat"])
            if data == b"":
                return
            if data is None:
                self.send(agent.PING, {})
            else:
                yield from self._decoder.feed(data)

    def jobs(self) -> Iterator[FakeJob]:
        """The jobs among the messages; FETCH, DROP and BLOB are seen to, and STOP ends them."""
        for kind, message, data in self.messages():
            if kind == agent.JOB:
                yield self._job(message, data)
            elif kind == agent.BLOB:
                self._blobs[message["digest"]] = self._blobs.get(message["digest"], b"") + data
            elif kind == agent.FETCH:
                self.data(message["id"], message["stream"], self._held[message["id"], message["stream"]])
            elif kind == agent.DROP:
                for number in message["ids"]:
                    self._held.pop((number, "stdout"), None)
                    self._held.pop((number, "stderr"), None)
            elif kind == agent.STOP:
                return

    def data(self, number: int, stream: str, content: bytes) -> None:
        """Send a whole stream."""
        size = 1 << 18
        for start in range(0, len(content) + 1, size):
            last = start + size > len(content)
            self.send(agent.DATA, {"id": number, "stream": stream, "last": last}, content[start : start + size])

    def result(self, job: FakeJob, said: Said, **changes: object) -> None:
        """Report a job as an honest agent would; ``changes`` replace fields of the report."""
        ending, code = ("signalled", said.signal) if said.signal else ("exited", said.exit)
        streams = {"stdout": said.stdout, "stderr": said.stderr}
        limit = job.message["output"]
        if any(len(data) > limit for data in streams.values()):
            ending, code = "output-limit", 9
            streams = {name: data[:limit] for name, data in streams.items()}
        digests = {name: sha256(data).hexdigest() for name, data in streams.items()}
        expect = job.message["expect"]
        agrees = (
            ending == "exited"
            and code == expect["exit"]
            and digests["stdout"] in expect["stdout"]
            and expect["stderr"] in ("", digests["stderr"])
        )
        held = [] if agrees else [name for name, data in streams.items() if data]
        windows = {"stdout": job.message.get("window")}
        for name in held:
            data = streams[name]
            outlined = Outline.of(data, windows.get(name)).encode() if len(data) > agent.HOLD_LIMIT else data
            self._held[job.id, name] = outlined
        message: dict[str, Any] = {
            "id": job.id,
            "ending": ending,
            "code": code,
            "stdout": [len(streams["stdout"]), digests["stdout"]],
            "stderr": [len(streams["stderr"]), digests["stderr"]],
            "leaked": 0,
            "duration": 1_000_000,
            "held": held,
        }
        self.send(agent.RESULT, message | changes)

    def serve(self, program: Program) -> None:
        """Be an honest agent for a whole session."""
        self.start()
        self.hello()
        for job in self.jobs():
            self.result(job, program(job.payload))
        self.bye()

    def _hear(self) -> bytes:
        data = self._inward.get(None)
        if not data:
            raise EOFError("the controller hung up")
        return data

    def _job(self, message: dict[str, Any], inline: bytes) -> FakeJob:
        if "message" in message:
            message = json.loads(self._blobs.pop(message["message"]))
        position = 0

        def take(size: int, blob: str) -> bytes:
            nonlocal position
            position += size
            return self._blobs[blob] if blob else inline[position - size : position]

        files = tuple((name, take(size, blob)) for name, size, blob in message["files"])
        stdin = take(*message["stdin"])
        _, program, *args = message["argv"]
        env = tuple(message["env"].items())
        self._blobs.clear()
        return FakeJob(
            message=message, payload=Payload(program=program, files=files, stdin=stdin, args=tuple(args), env=env)
        )


class _Stream:
    """Bytes from one thread to another. Its end is final."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.is_closed = False

    def put(self, data: bytes) -> None:
        if not self.is_closed and data:
            self._queue.put(bytes(data))

    def get(self, timeout: float | None) -> bytes | None:
        """The next bytes; b"" at the end, None when nothing came in time."""
        try:
            data = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if not data:
            self._queue.put(b"")
        return data

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._queue.put(b"")
