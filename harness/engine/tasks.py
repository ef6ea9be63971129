"""What a dispatcher is given and gives back, and what it knows of each machine meanwhile.

A task is one execution to be had; an outcome is what came of it. A flight is a task under way, a machine has many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from harness.agent import HOLD_LIMIT
from harness.engine.session import Session
from harness.errors import CellUnavailable
from harness.model.fixture import Payload
from harness.model.observation import Stream
from harness.model.outline import Outline, Window, clipped, encoded_length
from harness.runners.base import Channel, Placement
from harness.wire import Data, Expected, Hello, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a task sends: read from disk when its turn comes, so that ten thousand tasks do not fill the memory."""

    payload: Payload
    expect: Expected = field(default_factory=Expected)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One execution to be had. ``timeout`` is in seconds, already scaled; ``key`` and ``attempt`` are the caller's.

    ``window`` asks for these bytes of a stdout that is too large to be held.
    """

    key: tuple[str, str]
    attempt: int
    placement: Placement
    load: Callable[[], Work]
    timeout: float
    output: int
    window: Window | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a task: the agent's result, and the streams that were asked for, by digest.

    Of streams too large to be held there are ``outlines``, encoded and verified, by the digest of the stream.
    ``machine`` did it, or lost it. ``retried`` says that this loss is not final: the task runs again.
    """

    task: Task
    work: Work
    result: Result
    streams: Mapping[str, bytes]
    outlines: Mapping[str, bytes] = field(default_factory=dict)
    machine: str = ""
    losses: int = 0
    retried: bool = False


RETRIES = 2
AHEAD = 3


@dataclass(slots=True, kw_only=True, eq=False)
class Flight:
    """A task under way: its result when there is one, and the streams that are still to come."""

    task: Task
    work: Work
    machine: str = ""
    result: Result | None = None
    missing: set[str] = field(default_factory=set)
    pieces: dict[str, list[bytes]] = field(default_factory=dict)
    streams: dict[str, bytes] = field(default_factory=dict)
    outlines: dict[str, bytes] = field(default_factory=dict)

    def expect(self, streams: set[str]) -> None:
        """These streams have been asked for."""
        self.missing = streams
        self.pieces = {name: [] for name in sorted(streams)}

    def take(self, piece: Data) -> str:
        """Take a piece of a stream; return what is wrong with it, empty when nothing is."""
        if self.result is None or piece.stream not in self.missing:
            return "bytes that were not asked for"
        promised = self.result.stdout if piece.stream == "stdout" else self.result.stderr
        pieces = self.pieces[piece.stream]
        if piece.data:
            pieces.append(piece.data)
        window = self.task.window if piece.stream == "stdout" else None
        is_outlined = promised.size > HOLD_LIMIT
        if sum(map(len, pieces)) > (encoded_length(promised.size, window) if is_outlined else promised.size):
            return "more bytes than promised"
        if piece.last:
            data = b"".join(pieces)
            trouble = _unlike(promised, window, data) if is_outlined else _unequal(promised, data)
            if trouble:
                return trouble
            self.missing.discard(piece.stream)
            (self.outlines if is_outlined else self.streams)[promised.digest] = data
        return ""


def _unequal(promised: Stream, data: bytes) -> str:
    """What is wrong with the bytes of a stream; empty when nothing is."""
    return "" if sha256(data).hexdigest() == promised.digest else "bytes that do not have their digest"


def _unlike(promised: Stream, window: Window | None, data: bytes) -> str:
    """What is wrong with the outline of a stream; empty when nothing is."""
    try:
        outline = Outline.decode(data)
    except ValueError as error:
        return str(error)
    start, end = clipped(promised.size, window)
    if (outline.size, outline.window_start, len(outline.window)) != (promised.size, start, end - start):
        return "an outline of something else"
    return ""


def window_of(slots: int) -> int:
    """How many tasks may be under way, or done and not yet durable: what a crash costs, and what hides a link's latency."""
    return 128 + 16 * slots


@dataclass(slots=True, kw_only=True, eq=False)
class Machine:
    """The dispatcher's view of one machine and its agent.

    ``stillborn`` counts agents in a row that never said HELLO, ``trouble`` is what the last one died of; ``is_solo``
    says that the task under way runs alone; ``progress`` is when a result was last heard, on the monotonic clock;
    ``is_unswept`` says that an agent was lost and none has come after it, which would remove what that one left;
    ``refusal`` is why there cannot be an agent at all. ``shared`` are queues of tasks that other machines take from too.
    """

    name: str
    host: str
    slots: int
    connect: Callable[[], Channel]
    session: Session | None = None
    hello: Hello | None = None
    is_greeted: bool = False
    stillborn: int = 0
    trouble: str = "it did not start"
    is_solo: bool = False
    is_unswept: bool = False
    refusal: CellUnavailable | None = None
    progress: float = 0.0
    pending: deque[Task] = field(default_factory=deque)
    alone: deque[Task] = field(default_factory=deque)
    shared: list[Shared] = field(default_factory=list)
    flights: dict[int, Flight] = field(default_factory=dict)
    uncommitted: list[int] = field(default_factory=list)

    @property
    def window(self) -> int:
        """How many tasks this machine may have under way, or done and not yet durable."""
        return window_of(self.slots)

    @property
    def demand(self) -> int:
        """How many of its host's slots it could use now."""
        waiting = len(self.pending) + len(self.alone) + sum(len(queue.tasks) for queue in self.shared)
        return min(self.slots, waiting + len(self.flights)) if self.is_greeted else 0

    @property
    def running(self) -> int:
        """How many of them it may be using."""
        return min(self.slots, len(self.flights)) if self.is_greeted else 0

    @property
    def has_work(self) -> bool:
        """Whether anything is waiting or under way."""
        return bool(self.flights or self.queue)

    @property
    def queue(self) -> deque[Task] | None:
        """Where its next task is; None when nothing waits for it."""
        mine = self.alone or self.pending
        return mine or next((shared.tasks for shared in self.shared if shared.tasks), None)

    @property
    def is_given_up(self) -> bool:
        """Whether it had its chances."""
        return self.stillborn > RETRIES

    @property
    def share(self) -> int:
        """How many tasks it may have under way, so that the last of a shared queue are not all with one machine."""
        if self.alone or self.pending or not self.queue:
            return self.window
        (queue,) = (shared for shared in self.shared if shared.tasks is self.queue)
        return max(AHEAD * self.slots, AHEAD, len(queue.tasks) // (2 * max(1, len(queue.machines))))


@dataclass(slots=True, kw_only=True, eq=False)
class Shared:
    """Tasks that any of some machines may take; those that were given up are not among them any more."""

    machines: list[Machine]
    tasks: deque[Task] = field(default_factory=deque)
