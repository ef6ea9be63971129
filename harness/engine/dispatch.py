"""Dispatch: tasks to the agents of their machines, outcomes to a sink that commits them; retries infrastructure only.

A machine's agent has a window of tasks under way, counted until their outcomes are committed. Tasks that were under
way when an agent was lost are run again one by one, so that one that kills agents cannot take others with it.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol

from harness.engine.session import Event, Lost, Session
from harness.engine.tasks import AHEAD, RETRIES, Flight, Machine, Outcome, Shared, Task, Work
from harness.errors import CellUnavailable
from harness.model.fixture import Payload
from harness.model.observation import Ending
from harness.runners.base import Placement
from harness.wire import DEFAULT_TIMING, Bye, Data, Hello, JobMessage, Result, Timing, lost

BATCH = 128
COMMIT_EVERY = 1.0
BYE_WITHIN = 8.0
MOST_SLOTS = 1024
ABORTED_WITHIN = 3.0


class Sink(Protocol):
    """Where outcomes go."""

    def wants(self, digest: str) -> bool:
        """Whether the bytes with this digest, or their outline, are asked for; False when they are at hand already."""

    def commit(self, outcomes: Sequence[Outcome]) -> None:
        """Keep them durably; only then are they acknowledged to the agent."""

    def finished(self, outcome: Outcome) -> bool:
        """Hear of one final outcome, before it is committed. True stops the dispatch of further tasks."""


class Dispatcher:
    """Holds the sessions of a run. Use as a context manager: leaving it ends every agent, in order or not."""

    def __init__(self, timing: Timing = DEFAULT_TIMING) -> None:
        self._timing = timing
        self._machines: dict[str, Machine] = {}
        self._events: queue.SimpleQueue[tuple[Machine, Session, Event]] = queue.SimpleQueue()
        self._losses: dict[Task, int] = {}
        self._next_id = 0
        self._is_stopping = False
        self._is_wary = False
        self._outcomes: list[tuple[Machine, int, Outcome]] = []
        self._oldest = 0.0
        self._watched = time.monotonic()

    def __enter__(self) -> Dispatcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.close(abort=kind is not None)

    def hello(self, machine: str) -> Hello | None:
        """What the machine's agent said of itself; None before it has been needed."""
        return self._machines[machine].hello if machine in self._machines else None

    def refusal(self, machine: str) -> CellUnavailable | None:
        """Why the machine cannot have an agent; None where it may, or was not asked."""
        return self._machines[machine].refusal if machine in self._machines else None

    def noise(self, machine: str) -> bytes:
        """What the machine said before its agent did."""
        found = self._machines.get(machine)
        return found.session.noise if found and found.session else b""

    def connect(self, placements: Iterable[Placement]) -> None:
        """Start the agents that these will need, so that they come up while something else is done. Never raises."""
        for placement in placements:
            for each in placement.machines:
                machine = self._machine(each)
                if machine.session is None:
                    self._open(machine)

    def execute(self, tasks: Iterable[Task], sink: Sink, *, may_stop: bool = False) -> None:
        """Run all tasks, in the given order on each machine; return when every outcome is committed.

        With ``may_stop`` few are sent ahead, since what has been sent is run even if the sink then asks to stop.
        """
        self.enqueue(tasks, may_stop=may_stop)
        try:
            while self.has_work:
                self.turn(sink)
        finally:
            self.settle(sink)  # also what was heard before an interruption

    def enqueue(self, tasks: Iterable[Task], *, may_stop: bool = False) -> None:
        """Line up tasks, to be run by ``turn``; what is under way must be of the same sink."""
        self._is_stopping = False
        self._is_wary = may_stop
        for task in tasks:
            self._queue(task).append(task)

    @property
    def has_work(self) -> bool:
        """Whether any task is waiting or under way."""
        return any(machine.has_work for machine in self._machines.values())

    def turn(self, sink: Sink) -> None:
        """Send what there is room for, and take what has been heard, waiting a moment for the first word.

        When no task is left, every outcome is committed.
        """
        self._fill_all(sink)
        self._hear(sink)
        now = time.monotonic()
        if len(self._outcomes) >= BATCH or (self._outcomes and now - self._oldest > COMMIT_EVERY):
            self.settle(sink)
            self._fill_all(sink)  # the next turn may be a while
        if now - self._watched > min(1.0, self._timing.heartbeat):
            self._watched = now
            for machine in self._machines.values():
                self._watch(machine, now, sink)
        if not self.has_work:
            self.settle(sink)

    def _fill_all(self, sink: Sink) -> None:
        for machine in self._machines.values():
            self._fill(machine, sink)

    def dismiss(self) -> None:
        """Ask every agent to end, and wait for none: they clean up while something else is done."""
        for machine in self._machines.values():
            if machine.session is not None:
                machine.session.stop()

    def close(self, *, abort: bool) -> None:
        """Ask every agent to end and wait for its BYE; one that does not answer is cut off.

        Where the last agent was lost, another one is started, since a new agent removes what a killed one left.
        """
        for machine in self._machines.values():
            if machine.is_unswept and machine.session is None:
                self._open(machine)
        waiting = [machine for machine in self._machines.values() if machine.session is not None]
        for machine in waiting:
            assert machine.session is not None
            machine.session.stop(abort=abort)
        deadline = time.monotonic() + (ABORTED_WITHIN if abort else BYE_WITHIN)
        while waiting and time.monotonic() < deadline:
            try:
                machine, session, event = self._events.get(timeout=0.5)
            except queue.Empty:
                for machine in waiting:
                    assert machine.session is not None
                    machine.session.watch()
                continue
            if machine in waiting and session is machine.session and isinstance(event, Bye | Lost):
                waiting.remove(machine)
        for machine in self._machines.values():
            if machine.session is not None:
                machine.session.close()
                machine.session = None

    def _queue(self, task: Task) -> deque[Task]:
        """Where a new task waits: at its machine, or where all of its machines find it."""
        machines = [self._machine(each) for each in task.placement.machines]
        if len(machines) == 1:
            return machines[0].pending
        for shared in machines[0].shared:
            if shared.machines == machines:
                return shared.tasks
        shared = Shared(machines=machines)
        for machine in machines:
            machine.shared.append(shared)
        return shared.tasks

    def _machine(self, placement: Placement) -> Machine:
        if placement.machine not in self._machines:
            self._machines[placement.machine] = Machine(
                name=placement.machine,
                host=placement.host or placement.machine,
                slots=placement.slots,
                connect=placement.connect,
            )
        return self._machines[placement.machine]

    def _fill(self, machine: Machine, sink: Sink) -> None:
        """Give the machine what its window has room for; tasks that must run alone first, one at a time."""
        room = self._room(machine) if machine.queue else 0
        while (waiting := machine.queue) is not None:
            if len(machine.flights) >= min(room, machine.share):
                return
            if machine.flights and (machine.alone or machine.is_solo):
                return
            if len(machine.flights) + len(machine.uncommitted) >= machine.window:
                return
            if self._is_wary and len(machine.flights) >= AHEAD * machine.slots:
                return
            if machine.session is None and not self._connect(machine, sink):
                return
            machine.is_solo = bool(machine.alone)
            task = waiting.popleft()
            placement = task.placement.on(machine.name)
            work = task.load()
            self._next_id += 1
            if not machine.flights:
                machine.progress = time.monotonic()
            machine.flights[self._next_id] = Flight(task=task, work=work, machine=machine.name)
            cell = placement.cell
            assert machine.session is not None
            machine.session.run(
                JobMessage(
                    id=self._next_id,
                    argv=placement.subject,
                    payload=work.payload,
                    env=cell.env,
                    carry=cell.carry,
                    timeout=task.timeout,
                    output=task.output,
                    expect=work.expect,
                    window=task.window,
                )
            )

    def _room(self, machine: Machine) -> int:
        """How many tasks the machine may have under way, so that its host never runs more than its slots.

        Machines of one host take turns: an earlier one takes all the slots that it has work for, and its window with
        them. One whose agent still comes up may have a task waiting for it.
        """
        free = machine.slots
        is_shared, is_earlier = False, True
        for other in self._machines.values():
            if other is machine:
                is_earlier = False
            elif other.host == machine.host and other.has_work:
                is_shared = True
                free -= other.demand if is_earlier else other.running
        if not is_shared or free >= machine.slots:
            return machine.window
        return max(free, 0 if machine.is_greeted else 1)

    def _connect(self, machine: Machine, sink: Sink) -> bool:
        """Start an agent; after three that never said HELLO in a row, everything for this machine is lost.

        But for what another machine may do: that is left to it.
        """
        while not machine.is_given_up:
            if self._open(machine):
                return True
        tasks = [*machine.alone, *machine.pending]
        machine.alone.clear()
        machine.pending.clear()
        for shared in machine.shared:
            shared.machines.remove(machine)
            if not shared.machines:
                tasks += shared.tasks
                shared.tasks.clear()
        machine.shared.clear()
        for task in tasks:
            others = [
                self._machines[each.machine] for each in task.placement.machines if each.machine in self._machines
            ]
            living = [each for each in others if not each.is_given_up]
            if living and not self._is_stopping:
                min(living, key=lambda each: len(each.alone)).alone.append(task)
                continue
            flight = Flight(task=task, work=_NO_WORK, machine=machine.name)
            self._finish(machine, 0, flight, lost("agent", machine.trouble), sink, final=True)
        return False

    def _open(self, machine: Machine) -> bool:
        try:
            channel = machine.connect()
        except (CellUnavailable, OSError) as error:
            machine.stillborn += 1
            machine.trouble = str(error)
            if isinstance(error, CellUnavailable):
                self._refuse(machine, error)
            return False
        machine.session = Session(
            channel, machine.slots, lambda session, event: self._events.put((machine, session, event)), self._timing
        )
        machine.is_greeted = False
        machine.session.start()
        return True

    @staticmethod
    def _refuse(machine: Machine, refusal: CellUnavailable) -> None:
        """There is no agent. Only what cannot be reached now may be reached the next time."""
        machine.refusal = refusal
        if refusal.reason not in ("unreachable", "no-docker"):
            machine.stillborn = RETRIES + 1

    def _watch(self, machine: Machine, now: float, sink: Sink) -> None:
        """Notice an agent that is silent, and one that is alive but does not get on."""
        if machine.session is None:
            return
        machine.session.watch()
        if machine.flights and machine.is_greeted:
            longest = max(flight.task.timeout for flight in machine.flights.values())
            if now - max(machine.progress, machine.session.moved) > longest + self._timing.stalled:
                self._lose(machine, "agent", "it gives no results", sink)

    def _hear(self, sink: Sink) -> None:
        """Take what has been heard: wait a moment for the first event, then take all that are there."""
        if not any(machine.session for machine in self._machines.values()):
            return
        timeout = COMMIT_EVERY if self._outcomes else min(1.0, self._timing.heartbeat)
        try:
            self._handle(*self._events.get(timeout=timeout), sink)
            while len(self._outcomes) < BATCH:
                self._handle(*self._events.get_nowait(), sink)
        except queue.Empty:
            return

    def _handle(self, machine: Machine, session: Session, event: Event, sink: Sink) -> None:
        if session is not machine.session:
            return  # the last words of an agent that was given up
        if isinstance(event, Hello):
            machine.hello = event
            machine.slots = machine.slots or min(event.slots, MOST_SLOTS)
            machine.is_greeted = True
            machine.is_unswept = False
            machine.refusal = None
            machine.stillborn = 0
        elif isinstance(event, Result):
            self._result(machine, event, sink)
        elif isinstance(event, Data):
            self._data(machine, event, sink)
        elif isinstance(event, Lost):
            if event.refusal and not machine.is_greeted:
                self._refuse(machine, event.refusal)
            self._lose(machine, event.layer, event.message, sink)
        elif isinstance(event, Bye):
            self._lose(machine, "agent", "it left early", sink)

    def _result(self, machine: Machine, result: Result, sink: Sink) -> None:
        flight = machine.flights.get(result.id)
        if flight is None or flight.result is not None:
            self._lose(machine, "protocol", f"a result for job {result.id}, which is not under way", sink)
            return
        machine.progress = time.monotonic()
        if max(result.stdout.size, result.stderr.size) > flight.task.output:
            self._lose(machine, "protocol", "a result with more output than its job may have", sink)
            return
        if result.ending is Ending.LOST:
            del machine.flights[result.id]
            self._finish(machine, result.id, flight, result, sink, final=not self._retries(machine, flight.task))
            return
        flight.result = result
        digests = {"stdout": result.stdout.digest, "stderr": result.stderr.digest}
        asked = {"stdout"} if flight.task.window else set()  # another window than what may be at hand
        flight.expect({name for name in result.held if name in asked or sink.wants(digests[name])})
        assert machine.session is not None
        for name in sorted(flight.missing):
            machine.session.fetch(result.id, name)
        self._settle(machine, result.id, flight, sink)

    def _data(self, machine: Machine, piece: Data, sink: Sink) -> None:
        flight = machine.flights.get(piece.id)
        trouble = flight.take(piece) if flight else "bytes of a job that is not under way"
        if flight is None or trouble:
            self._lose(machine, "protocol", trouble, sink)
            return
        if piece.data:
            machine.progress = time.monotonic()
        self._settle(machine, piece.id, flight, sink)

    def _settle(self, machine: Machine, number: int, flight: Flight, sink: Sink) -> None:
        """Finish a flight that lacks nothing any more."""
        if flight.result is not None and not flight.missing:
            del machine.flights[number]
            self._finish(machine, number, flight, flight.result, sink, final=True)

    def _retries(self, machine: Machine, task: Task) -> bool:
        """Count a loss; put the task aside to run alone, unless it has been lost too often."""
        self._losses[task] = self._losses.get(task, 0) + 1
        if self._losses[task] > RETRIES or self._is_stopping:
            return False
        machine.alone.append(task)
        return True

    def _lose(self, machine: Machine, layer: str, message: str, sink: Sink) -> None:
        """Give up an agent. What was under way runs again, alone; what it never took up goes back into the queue."""
        session, machine.session = machine.session, None
        flights, machine.flights = machine.flights, {}
        machine.uncommitted.clear()
        if not machine.is_greeted:
            machine.stillborn += 1
            machine.trouble = message
            if not self._is_stopping:
                for flight in reversed(flights.values()):
                    (machine.alone if machine.is_solo else self._queue(flight.task)).appendleft(flight.task)
        else:
            machine.is_unswept = True
            for number, flight in flights.items():
                final = not self._retries(machine, flight.task)
                self._finish(machine, number, flight, lost(layer, message), sink, final=final)
        assert session is not None
        session.close()

    def _finish(
        self,
        machine: Machine,
        number: int,
        flight: Flight,
        result: Result,
        sink: Sink,
        *,
        final: bool,
    ) -> None:
        outcome = Outcome(
            task=flight.task,
            work=flight.work,
            result=result,
            streams=flight.streams,
            outlines=flight.outlines,
            machine=flight.machine,
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
                for shared in each.shared:
                    shared.tasks.clear()

    def settle(self, sink: Sink) -> None:
        """Make durable what has been heard, then acknowledge it."""
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

__all__ = ["Dispatcher", "Outcome", "Sink", "Task", "Work"]
