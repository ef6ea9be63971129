"""Dispatch: tasks to the agents of their machines, outcomes to a sink that commits them; retries infrastructure only.

A machine's agent has a window of tasks under way, counted until their outcomes are committed. Tasks that were under
way when an agent was lost are run again one by one, so that one that kills agents cannot take others with it.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

from harness.engine.session import Event, Lost, Session
from harness.errors import CellUnavailable
from harness.model.fixture import Payload
from harness.model.observation import Ending
from harness.runners.base import Channel, Placement
from harness.wire import EMPTY, Bye, Data, Expected, Hello, JobMessage, Result

RETRIES = 2
BATCH = 64
COMMIT_EVERY = 0.25
OVERDUE = 30.0
BYE_WITHIN = 8.0
ABORTED_WITHIN = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a task sends: read from disk when its turn comes, so that ten thousand tasks do not fill the memory."""

    payload: Payload
    expect: Expected = Expected()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """One execution to be had. ``timeout`` is in seconds, already scaled; ``key`` and ``attempt`` are the caller's."""

    key: tuple[str, str]
    attempt: int
    placement: Placement
    load: Callable[[], Work]
    timeout: float
    output: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a task: the agent's result, and the streams that were asked for, by digest.

    ``retried`` says that this loss is not final: the task runs again.
    """

    task: Task
    work: Work
    result: Result
    streams: Mapping[str, bytes]
    losses: int = 0
    retried: bool = False


class Sink(Protocol):
    """Where outcomes go."""

    def wants(self, digest: str) -> bool:
        """Whether the bytes with this digest are asked for; False when they are at hand already."""

    def commit(self, outcomes: Sequence[Outcome]) -> None:
        """Keep them durably; only then are they acknowledged to the agent."""

    def finished(self, outcome: Outcome) -> bool:
        """Hear of one final outcome, before it is committed. True stops the dispatch of further tasks."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Flight:
    task: Task
    work: Work
    result: Result | None = None
    missing: set[str] = field(default_factory=set)
    pieces: dict[str, list[bytes]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True, eq=False)
class _Machine:
    """The dispatcher's view of one machine and its agent."""

    name: str
    slots: int
    connect: Callable[[], Channel]
    session: Session | None = None
    hello: Hello | None = None
    is_greeted: bool = False
    stillborn: int = 0
    moved: float = 0.0
    pending: deque[Task] = field(default_factory=deque)
    alone: deque[Task] = field(default_factory=deque)
    flights: dict[int, _Flight] = field(default_factory=dict)
    uncommitted: list[int] = field(default_factory=list)

    @property
    def window(self) -> int:
        return 64 + 16 * self.slots

    @property
    def has_work(self) -> bool:
        return bool(self.pending or self.alone or self.flights)


class Dispatcher:
    """Holds the sessions of a run. Use as a context manager: leaving it ends every agent, in order or not."""

    def __init__(self) -> None:
        self._machines: dict[str, _Machine] = {}
        self._events: queue.SimpleQueue[tuple[_Machine, Session, Event]] = queue.SimpleQueue()
        self._losses: dict[Task, int] = {}
        self._next_id = 0
        self._is_stopping = False
        self._outcomes: list[tuple[_Machine, int, Outcome]] = []
        self._oldest = 0.0

    def __enter__(self) -> Dispatcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.close(abort=kind is not None)

    def hello(self, machine: str) -> Hello | None:
        """What the machine's agent said of itself; None before it has been needed."""
        return self._machines[machine].hello if machine in self._machines else None

    def noise(self, machine: str) -> bytes:
        """What the machine said before its agent did."""
        found = self._machines.get(machine)
        return found.session.noise if found and found.session else b""

    def execute(self, tasks: Iterable[Task], sink: Sink) -> None:
        """Run all tasks, in the given order on each machine; return when every outcome is committed."""
        self._is_stopping = False
        for task in tasks:
            self._machine(task.placement).pending.append(task)
        try:
            self._work(sink)
        finally:
            self._commit(sink)  # also what was heard before an interruption

    def _work(self, sink: Sink) -> None:
        watched = time.monotonic()
        while any(machine.has_work for machine in self._machines.values()):
            for machine in self._machines.values():
                self._fill(machine, sink)
            self._hear(sink)
            now = time.monotonic()
            if len(self._outcomes) >= BATCH or (self._outcomes and now - self._oldest > COMMIT_EVERY):
                self._commit(sink)
            if now - watched > 1.0:
                watched = now
                for machine in self._machines.values():
                    self._watch(machine, sink)

    def close(self, *, abort: bool) -> None:
        """Ask every agent to end and wait for its BYE; one that does not answer is cut off."""
        waiting = [machine for machine in self._machines.values() if machine.session is not None]
        for machine in waiting:
            assert machine.session is not None
            machine.session.stop(abort=abort)
        deadline = time.monotonic() + (ABORTED_WITHIN if abort else BYE_WITHIN)
        while waiting and time.monotonic() < deadline:
            try:
                machine, session, event = self._events.get(timeout=0.5)
            except queue.Empty:
                continue
            if machine in waiting and session is machine.session and isinstance(event, Bye | Lost):
                waiting.remove(machine)
        for machine in self._machines.values():
            if machine.session is not None:
                machine.session.close()
                machine.session = None

    def _machine(self, placement: Placement) -> _Machine:
        if placement.machine not in self._machines:
            self._machines[placement.machine] = _Machine(
                name=placement.machine, slots=placement.slots, connect=placement.connect
            )
        return self._machines[placement.machine]

    def _watch(self, machine: _Machine, sink: Sink) -> None:
        """Notice an agent that is silent, and one that talks but has stopped working: no wait is without a deadline."""
        if machine.session is None:
            return
        machine.session.watch()
        longest = max((flight.task.timeout for flight in machine.flights.values()), default=0.0)
        if machine.flights and time.monotonic() - machine.moved > longest + OVERDUE:
            self._lose(machine, f"agent: no result within {longest + OVERDUE:.0f} s", sink)

    def _fill(self, machine: _Machine, sink: Sink) -> None:
        """Give the machine what its window has room for; tasks that must run alone first, one at a time."""
        while machine.alone or machine.pending:
            if machine.alone:
                if machine.flights:
                    return
                source = machine.alone
            else:
                if len(machine.flights) + len(machine.uncommitted) >= machine.window:
                    return
                source = machine.pending
            if machine.session is None and not self._connect(machine, sink):
                return
            task = source.popleft()
            work = task.load()
            if not machine.flights:
                machine.moved = time.monotonic()
            self._next_id += 1
            machine.flights[self._next_id] = _Flight(task=task, work=work)
            cell = task.placement.cell
            assert machine.session is not None
            machine.session.run(
                JobMessage(
                    id=self._next_id,
                    argv=task.placement.subject,
                    payload=work.payload,
                    env=cell.env,
                    carry=cell.carry,
                    timeout=task.timeout,
                    output=task.output,
                    expect=work.expect,
                )
            )

    def _connect(self, machine: _Machine, sink: Sink) -> bool:
        """Start an agent; after three that never said HELLO in a row, everything for this machine is lost."""
        message = "its agent did not start"
        while machine.stillborn <= RETRIES:
            try:
                channel = machine.connect()
            except CellUnavailable as error:
                machine.stillborn += 1
                message = str(error)
                continue
            machine.session = Session(
                channel, machine.slots, lambda session, event: self._events.put((machine, session, event))
            )
            machine.is_greeted = False
            machine.session.start()
            return True
        for task in (*machine.alone, *machine.pending):
            self._finish(machine, 0, _Flight(task=task, work=_NO_WORK), _lost(f"agent: {message}"), sink, final=True)
        machine.alone.clear()
        machine.pending.clear()
        return False

    def _hear(self, sink: Sink) -> None:
        """Take what has been heard: wait a moment for the first event, then take all that are there."""
        if not any(machine.session for machine in self._machines.values()):
            return
        timeout = COMMIT_EVERY if self._outcomes else 1.0
        try:
            self._handle(*self._events.get(timeout=timeout), sink)
            while len(self._outcomes) < BATCH:
                self._handle(*self._events.get_nowait(), sink)
        except queue.Empty:
            return

    def _handle(self, machine: _Machine, session: Session, event: Event, sink: Sink) -> None:
        if session is not machine.session:
            return  # the last words of an agent that was given up
        if isinstance(event, Hello):
            machine.hello = event
            machine.is_greeted = True
            machine.moved = time.monotonic()
            machine.stillborn = 0
        elif isinstance(event, Result):
            self._result(machine, event, sink)
        elif isinstance(event, Data):
            self._data(machine, event, sink)
        elif isinstance(event, Lost | Bye):
            message = f"{event.layer}: {event.message}" if isinstance(event, Lost) else "agent: it left early"
            self._lose(machine, message, sink)

    def _result(self, machine: _Machine, result: Result, sink: Sink) -> None:
        machine.moved = time.monotonic()
        flight = machine.flights.get(result.id)
        if flight is None or flight.result is not None:
            self._lose(machine, f"protocol: a result for job {result.id}, which is not under way", sink)
            return
        if result.ending is Ending.LOST:
            del machine.flights[result.id]
            self._finish(machine, result.id, flight, result, sink, final=not self._retries(machine, flight.task))
            return
        flight.result = result
        digests = {"stdout": result.stdout.digest, "stderr": result.stderr.digest}
        flight.missing = {name for name in result.held if sink.wants(digests[name])}
        for name in sorted(flight.missing):
            assert machine.session is not None
            machine.session.fetch(result.id, name)
        if not flight.missing:
            self._complete(machine, result.id, flight, {}, sink)

    def _data(self, machine: _Machine, piece: Data, sink: Sink) -> None:
        machine.moved = time.monotonic()
        flight = machine.flights.get(piece.id)
        if flight is None or flight.result is None or piece.stream not in flight.missing:
            self._lose(machine, "protocol: bytes that were not asked for", sink)
            return
        pieces = flight.pieces.setdefault(piece.stream, [])
        pieces.append(piece.data)
        promised = flight.result.stdout if piece.stream == "stdout" else flight.result.stderr
        if sum(map(len, pieces)) > promised.size:
            self._lose(machine, "protocol: more bytes than promised", sink)
            return
        if not piece.last:
            return
        if sha256(b"".join(pieces)).hexdigest() != promised.digest:
            self._lose(machine, "protocol: bytes that do not have their digest", sink)
            return
        flight.missing.discard(piece.stream)
        if not flight.missing:
            data = [b"".join(each) for each in flight.pieces.values()]
            self._complete(machine, piece.id, flight, {sha256(each).hexdigest(): each for each in data}, sink)

    def _complete(
        self, machine: _Machine, number: int, flight: _Flight, streams: Mapping[str, bytes], sink: Sink
    ) -> None:
        assert flight.result is not None
        del machine.flights[number]
        self._finish(machine, number, flight, flight.result, sink, final=True, streams=streams)

    def _retries(self, machine: _Machine, task: Task) -> bool:
        """Count a loss; put the task aside to run alone, unless it has been lost too often."""
        self._losses[task] = self._losses.get(task, 0) + 1
        if self._losses[task] > RETRIES or self._is_stopping:
            return False
        machine.alone.append(task)
        return True

    def _lose(self, machine: _Machine, message: str, sink: Sink) -> None:
        """Give up an agent. What was under way runs again, alone."""
        session, machine.session = machine.session, None
        if not machine.is_greeted:
            machine.stillborn += 1
        flights, machine.flights = machine.flights, {}
        machine.uncommitted.clear()
        for number, flight in flights.items():
            final = not self._retries(machine, flight.task)
            self._finish(machine, number, flight, _lost(message), sink, final=final)
        if session is not None:
            session.close()

    def _finish(
        self,
        machine: _Machine,
        number: int,
        flight: _Flight,
        result: Result,
        sink: Sink,
        *,
        final: bool,
        streams: Mapping[str, bytes] | None = None,
    ) -> None:
        outcome = Outcome(
            task=flight.task,
            work=flight.work,
            result=result,
            streams=streams or {},
            losses=self._losses.get(flight.task, 0),
            retried=not final,
        )
        if not self._outcomes:
            self._oldest = time.monotonic()
        self._outcomes.append((machine, number, outcome))
        machine.uncommitted.append(number)
        if final and sink.finished(outcome) and not self._is_stopping:
            self._is_stopping = True
            for each in self._machines.values():
                each.pending.clear()
                each.alone.clear()

    def _commit(self, sink: Sink) -> None:
        """Make the outcomes durable, then acknowledge them."""
        outcomes, self._outcomes = self._outcomes, []
        if not outcomes:
            return
        sink.commit([outcome for _, _, outcome in outcomes])
        for machine in self._machines.values():
            done = tuple(machine.uncommitted)
            machine.uncommitted.clear()
            if machine.session is not None and done:
                machine.session.drop(done)


_NO_WORK = Work(payload=Payload(program="", files=()))


def _lost(message: str) -> Result:
    return Result(
        id=0,
        ending=Ending.LOST,
        code=0,
        stdout=EMPTY,
        stderr=EMPTY,
        leaked=0,
        duration_ns=0,
        held=(),
        lost=message,
    )
