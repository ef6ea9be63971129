"""The controller's side of the protocol: typed messages, and the text that starts an agent.

Framing is the agent's own code, so that both sides cannot disagree; what the agent sends is hostile until parsed
here. Every message that does not parse ends the session as ``lost(protocol)``.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import agent
from harness.agent import Decoder, Encoder, ProtocolError
from harness.model.fixture import Payload
from harness.model.observation import Ending, Stream

INLINE_LIMIT = 256 * 1024
BLOB_PIECE = 1024 * 1024

# No quote of either kind and no character that sh or cmd.exe expands: it survives every remote shell in double quotes.
BOOTSTRAP = "import sys;exec(sys.stdin.buffer.raw.readline())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an agent is started with. ``key`` authenticates the session; seconds for both times."""

    key: bytes
    marker: str
    slots: int
    heartbeat: float = 2.0
    silence: float = 12.0


def agent_arguments() -> tuple[str, ...]:
    """The arguments that turn a cell's Python into an agent; the rest arrives over stdin."""
    return ("-I", "-u", "-c", BOOTSTRAP)


def shell_command(python: str) -> str:
    """The same as one line for a remote POSIX shell."""
    return f'{shlex.quote(python)} -I -u -c "{BOOTSTRAP}"'


def preface(settings: Settings) -> bytes:
    """The first bytes of a session: one line that reads the agent's source, then the source itself."""
    path = Path(agent.__file__)
    source = path.read_bytes()
    values = {
        "key": settings.key.hex(),
        "marker": settings.marker,
        "slots": settings.slots,
        "heartbeat": settings.heartbeat,
        "silence": settings.silence,
    }
    read_all = "while len(b)<n:\\n d=r.read(n-len(b))\\n if not d:sys.exit(3)\\n b+=d"
    line = (
        f"import sys;r=sys.stdin.buffer.raw;n={len(source)};b=bytes();"
        f'exec("{read_all}");exec(compile(b,{str(path)!r},"exec"));main({values!r})\n'
    )
    return line.encode("ascii", "backslashreplace") + source


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What makes a result uninteresting: any of these stdout digests, this exit status, this stderr (or any)."""

    stdout: tuple[str, ...] = ()
    stderr: str = ""
    exit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMessage:
    """One execution, ready to be sent. ``argv`` is the whole command; ``timeout`` is in scaled seconds."""

    id: int
    argv: tuple[str, ...]
    payload: Payload
    env: tuple[tuple[str, str], ...]
    carry: tuple[str, ...]
    timeout: float
    output: int
    expect: Expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What the agent says of itself and its machine. ``clock`` is its wall clock (s), ``free`` disk space (bytes)."""

    protocol: int
    python: str
    pid: int
    slots: int
    locale: str
    clock: float
    free: int
    reaper: bool
    user: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one execution did, as reported. ``held`` names the streams that may be fetched."""

    id: int
    ending: Ending
    code: int
    stdout: Stream
    stderr: Stream
    leaked: int
    duration_ns: int
    held: tuple[str, ...]
    lost: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """A piece of a held stream."""

    id: int
    stream: str
    last: bool
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """A heartbeat: the agent is alive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """The agent's last frame: how many it sent before, and their rolling hash, verified on arrival."""

    count: int


Message = Hello | Result | Data | Ping | Bye
EMPTY = Stream(size=0, digest="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")


class Writer:
    """Encodes what the controller says."""

    def __init__(self, key: bytes) -> None:
        self._encoder = Encoder(key, b">")

    def job(self, job: JobMessage) -> bytes:
        """The frames of one job: BLOBs for what is too large to go inline, then the JOB."""
        frames: list[bytes] = []
        inline: list[bytes] = []
        room = INLINE_LIMIT

        def place(data: bytes) -> tuple[int, str]:
            nonlocal room
            if len(data) <= room:
                room -= len(data)
                inline.append(data)
                return len(data), ""
            digest = _sha256(data)
            for offset in range(0, len(data), BLOB_PIECE):
                piece = data[offset : offset + BLOB_PIECE]
                frames.append(self._encoder.encode(agent.BLOB, {"digest": digest, "offset": offset}, piece))
            return 0, digest

        files = [[name, *place(data)] for name, data in job.payload.files]
        message = {
            "id": job.id,
            "argv": [*job.argv, job.payload.program, *job.payload.args],
            "files": files,
            "stdin": list(place(job.payload.stdin)),
            "env": dict((*job.env, *job.payload.env)),
            "carry": job.carry,
            "timeout": job.timeout,
            "output": job.output,
            "expect": {"stdout": job.expect.stdout, "stderr": job.expect.stderr, "exit": job.expect.exit},
        }
        frames.append(self._encoder.encode(agent.JOB, message, b"".join(inline)))
        return b"".join(frames)

    def fetch(self, job: int, stream: str) -> bytes:
        """Ask for a held stream."""
        return self._encoder.encode(agent.FETCH, {"id": job, "stream": stream})

    def drop(self, jobs: tuple[int, ...]) -> bytes:
        """Acknowledge committed results."""
        return self._encoder.encode(agent.DROP, {"ids": jobs})

    def ping(self) -> bytes:
        """A heartbeat."""
        return self._encoder.encode(agent.PING, {})

    def stop(self, *, abort: bool) -> bytes:
        """Ask the agent to finish, or to kill what runs, and to say BYE."""
        return self._encoder.encode(agent.STOP, {"abort": abort})


class Reader:
    """Decodes what an agent says; total: every byte string gives messages or ProtocolError."""

    def __init__(self, key: bytes) -> None:
        self._decoder = Decoder(key, b"<")

    def feed(self, data: bytes) -> list[Message]:
        """The messages completed by these bytes."""
        return [self._parse(kind, fields, raw) for kind, fields, raw in self._decoder.feed(data)]

    def _parse(self, kind: int, fields: Mapping[str, Any], raw: bytes) -> Message:
        parser = _PARSERS.get(kind)
        if parser is None:
            raise ProtocolError(f"frame type {kind} is not for a controller")
        try:
            message = parser(fields, raw)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ProtocolError(f"frame type {kind} is malformed: {error}") from None
        if isinstance(message, Bye) and (
            fields.get("count") != self._decoder.count or fields.get("chain") != self._decoder.chain.hex()
        ):
            raise ProtocolError("the agent's BYE does not attest what arrived")
        return message


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _exact(value: object, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r:.40} is not {kind.__name__}")
    return value


def _stream(value: Any) -> Stream:
    size, digest = value
    if len(_exact(digest, str)) != 64 or _exact(size, int) < 0:
        raise ValueError("not a stream")
    return Stream(size=size, digest=digest)


def _hello(fields: Mapping[str, Any], raw: bytes) -> Hello:
    message = Hello(
        protocol=_exact(fields["protocol"], int),
        python=_exact(fields["python"], str),
        pid=_exact(fields["pid"], int),
        slots=_exact(fields["slots"], int),
        locale=_exact(fields["locale"], str),
        clock=_exact(fields["clock"], float),
        free=_exact(fields["free"], int),
        reaper=_exact(fields["reaper"], bool),
        user=_exact(fields["user"], int),
    )
    if message.protocol != agent.PROTOCOL:
        raise ValueError(f"protocol {message.protocol}, ours is {agent.PROTOCOL}")
    return message


def _result(fields: Mapping[str, Any], raw: bytes) -> Result:
    ending = Ending(fields["ending"])
    if ending is Ending.LOST:
        lost = _exact(fields["lost"], str)
        return Result(
            id=_exact(fields["id"], int),
            ending=ending,
            code=0,
            stdout=EMPTY,
            stderr=EMPTY,
            leaked=0,
            duration_ns=0,
            held=(),
            lost=lost,
        )
    held = tuple(fields["held"])
    if not set(held) <= {"stdout", "stderr"}:
        raise ValueError("an unknown stream is held")
    return Result(
        id=_exact(fields["id"], int),
        ending=ending,
        code=_exact(fields["code"], int),
        stdout=_stream(fields["stdout"]),
        stderr=_stream(fields["stderr"]),
        leaked=_exact(fields["leaked"], int),
        duration_ns=_exact(fields["duration"], int),
        held=held,
        lost="",
    )


def _data(fields: Mapping[str, Any], raw: bytes) -> Data:
    return Data(
        id=_exact(fields["id"], int),
        stream=_exact(fields["stream"], str),
        last=_exact(fields["last"], bool),
        data=raw,
    )


_PARSERS: Mapping[int, Callable[[Mapping[str, Any], bytes], Message]] = {
    agent.HELLO: _hello,
    agent.RESULT: _result,
    agent.DATA: _data,
    agent.PING: lambda fields, raw: Ping(),
    agent.BYE: lambda fields, raw: Bye(count=_exact(fields["count"], int)),
}

__all__ = [
    "BOOTSTRAP",
    "Bye",
    "Data",
    "Expected",
    "Hello",
    "JobMessage",
    "Message",
    "Ping",
    "ProtocolError",
    "Reader",
    "Result",
    "Settings",
    "Writer",
    "agent_arguments",
    "preface",
    "shell_command",
]
