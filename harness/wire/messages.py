"""What agent and controller say to each other, as values; what an agent sends is hostile until parsed here.

Every field is held to its type and to what a store can keep and a report can show. Whatever does not parse is a
ProtocolError.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness import agent
from harness.agent import ProtocolError
from harness.model.fixture import Payload
from harness.model.observation import Ending, Stream
from harness.model.outline import Window

WORDS_LIMIT = 2000
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What makes a result uninteresting: any of these stdout digests, this exit status, this stderr (or any)."""

    stdout: tuple[str, ...] = ()
    stderr: str = ""
    exit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMessage:
    """One execution, ready to be sent. ``argv`` is the whole command; ``timeout`` is in scaled seconds.

    ``window`` asks for these bytes of stdout, should it be too large to be held.
    """

    id: int
    argv: tuple[str, ...]
    payload: Payload
    env: tuple[tuple[str, str], ...]
    carry: tuple[str, ...]
    timeout: float
    output: int
    expect: Expected
    window: Window | None = None


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
    """What one execution did, as reported. ``held`` names the streams that may be fetched, whole or in outline."""

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
    """A piece of a held stream, or of its outline."""

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


def parse(kind: int, fields: Mapping[str, Any], raw: bytes) -> Message:
    """The message of one frame of an agent; raise ProtocolError when it is none."""
    parser = _PARSERS.get(kind)
    if parser is None:
        raise ProtocolError(f"frame type {kind} is not for a controller")
    try:
        return parser(fields, raw)
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"frame type {kind} is malformed: {_words(str(error))}") from None


def lost(layer: str, message: str, number: int = 0) -> Result:
    """The result of a job that has none, since a layer failed: agent, channel, protocol, link, ..."""
    return Result(
        id=number,
        ending=Ending.LOST,
        code=0,
        stdout=EMPTY,
        stderr=EMPTY,
        leaked=0,
        duration_ns=0,
        held=(),
        lost=f"{layer}: {message}",
    )


def _exact(value: object, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} where {kind.__name__} belongs")
    return value


def _number(value: object, most: int = 2**63 - 1) -> int:
    """A count from a cell: what a store can hold, and not below zero."""
    number: int = _exact(value, int)
    if not 0 <= number <= most:
        raise ValueError("a number is out of range")
    return number


def _clock(value: object) -> float:
    clock: float = _exact(value, float)
    if not math.isfinite(clock):
        raise ValueError("no time of day")
    return clock


def _words(value: object) -> str:
    """Text from a cell that may be shown: whole characters, and not too many of them."""
    text: str = _exact(value, str)
    return text[:WORDS_LIMIT].encode("utf-8", "replace").decode("utf-8")


def _stream(value: Any) -> Stream:
    size, digest = _exact(value, list)
    if not _DIGEST.fullmatch(_exact(digest, str)):
        raise ValueError("not a digest")
    return Stream(size=_number(size), digest=digest)


def _hello(fields: Mapping[str, Any], raw: bytes) -> Hello:
    message = Hello(
        protocol=_exact(fields["protocol"], int),
        python=_words(fields["python"]),
        pid=_number(fields["pid"]),
        slots=_number(fields["slots"]),
        locale=_words(fields["locale"]),
        clock=_clock(fields["clock"]),
        free=_number(fields["free"]),
        reaper=_exact(fields["reaper"], bool),
        user=_number(fields["user"]),
    )
    if message.protocol != agent.PROTOCOL:
        raise ValueError(f"protocol {message.protocol}, ours is {agent.PROTOCOL}")
    return message


def _result(fields: Mapping[str, Any], raw: bytes) -> Result:
    ending = Ending(_exact(fields["ending"], str))
    if ending is Ending.LOST:
        return lost("agent", _words(fields["lost"]).removeprefix("agent: "), _number(fields["id"]))
    held = tuple(_exact(fields["held"], list))
    if not set(held) <= {"stdout", "stderr"}:
        raise ValueError("an unknown stream is held")
    return Result(
        id=_number(fields["id"]),
        ending=ending,
        code=_number(fields["code"], 2**32 - 1),
        stdout=_stream(fields["stdout"]),
        stderr=_stream(fields["stderr"]),
        leaked=_number(fields["leaked"]),
        duration_ns=_number(fields["duration"]),
        held=held,
        lost="",
    )


def _data(fields: Mapping[str, Any], raw: bytes) -> Data:
    return Data(
        id=_number(fields["id"]),
        stream=_exact(fields["stream"], str),
        last=_exact(fields["last"], bool),
        data=raw,
    )


_PARSERS: Mapping[int, Callable[[Mapping[str, Any], bytes], Message]] = {
    agent.HELLO: _hello,
    agent.RESULT: _result,
    agent.DATA: _data,
    agent.PING: lambda fields, raw: Ping(),
    agent.BYE: lambda fields, raw: Bye(count=_number(fields["count"])),
}
