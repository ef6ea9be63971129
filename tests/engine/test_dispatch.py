"""Dispatch: every task has one final outcome, infrastructure alone is retried, and nothing counts before it is kept."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import pytest

from harness import agent
from harness.engine.dispatch import BATCH, Dispatcher, Outcome, Task
from harness.errors import CellUnavailable
from harness.model.observation import Ending
from harness.model.outline import CHUNK, Outline
from harness.runners.base import Channel, Placement
from harness.runners.fake import FakeAgent, FakeChannel, FakeJob, FakeRunner, Said
from harness.runners.local import LocalChannel
from harness.wire import EMPTY
from tests.rig import HERE, QUICK, Kept, eventually, execute, folders_in, processes_of, serve_here, task

on_posix = pytest.mark.skipif(sys.platform == "win32", reason="the local runner does not serve Windows")


@dataclass
class Agents:
    """A machine whose agents are scripted one after another; the last script serves all that come later."""

    scripts: tuple[Callable[[FakeAgent], None] | Exception, ...]
    jobs: list[list[str]] = field(default_factory=list)

    def connect(self) -> Channel:
        script = self.scripts[min(len(self.jobs), len(self.scripts) - 1)]
        self.jobs.append([])
        if isinstance(script, Exception):
            raise script
        return FakeChannel(script)

    @property
    def placement(self) -> Placement:
        return replace(FakeRunner().place(HERE), connect=self.connect)

    def took(self, job: FakeJob) -> str:
        """Note which job an agent has taken up; the program's text is its name."""
        name = job.payload.files[0][1].decode()
        self.jobs[-1].append(name)
        return name


def tasks(placement: Placement, *names: str) -> list[Task]:
    return [task(placement, name, name) for name in names]


def honest(one: FakeAgent) -> None:
    one.serve(lambda payload: Said(stdout=payload.files[0][1]))


def losses(kept: Kept) -> dict[str, int]:
    return {outcome.task.key[0]: outcome.losses for outcome in kept.final}


def test_outcomes_are_those_of_the_tasks() -> None:
    kept = execute(*tasks(FakeRunner(lambda payload: Said(stdout=payload.files[0][1])).place(HERE), "a", "b", "c"))
    assert {name: kept.stdout(name) for name in "abc"} == {"a": b"a", "b": b"b", "c": b"c"}
    assert set(losses(kept).values()) == {0}


def test_no_tasks_need_no_agent() -> None:
    kept = execute()
    assert kept.events == []


def test_what_the_machine_said_is_told() -> None:
    def noisy(one: FakeAgent) -> None:
        one.say(b"welcome")
        honest(one)

    placement = Agents((noisy,)).placement
    with Dispatcher() as dispatcher:
        assert dispatcher.hello("fake") is None
        assert dispatcher.noise("fake") == b""
        dispatcher.execute(tasks(placement, "a"), Kept())
        hello = dispatcher.hello("fake")
        assert hello is not None
        assert hello.python == "3.8.0"
        assert dispatcher.noise("fake") == b"welcome"


# retries


def dying(agents: Agents, victim: str) -> Callable[[FakeAgent], None]:
    """An agent that dies whenever it takes up this job, and reports others only when it has three or is alone."""

    def script(one: FakeAgent) -> None:
        one.start()
        one.hello()
        for job in one.jobs():
            if agents.took(job) == victim:
                return
            one.result(job, Said())
        one.bye()

    return script


def test_a_task_that_kills_its_agent_is_lost_after_two_retries_and_takes_nobody_with_it() -> None:
    agents = Agents(())
    agents.scripts = (dying(agents, "killer"),)
    kept = execute(*tasks(agents.placement, "a", "killer", "b", "c", "d"))
    assert {name: kept.of(name).result.ending for name in ("a", "b", "c", "d", "killer")} == {
        "a": Ending.EXITED,
        "b": Ending.EXITED,
        "c": Ending.EXITED,
        "d": Ending.EXITED,
        "killer": Ending.LOST,
    }
    assert kept.of("killer").result.lost == "agent: its stream ended without BYE"
    assert losses(kept)["killer"] == 3
    assert sum(outcome.retried for outcome in kept.outcomes if outcome.task.key[0] == "killer") == 2
    assert sum(names.count("killer") for names in agents.jobs) == 3
    assert all(count <= 1 for name, count in losses(kept).items() if name != "killer")


def test_what_was_under_way_in_a_lost_agent_runs_alone() -> None:
    most: list[int] = []

    def first(one: FakeAgent) -> None:
        one.start()
        one.hello()
        taken = []
        for job in one.jobs():
            taken.append(job)
            if len(taken) == 4:
                return

    def watched(one: FakeAgent) -> None:
        one.start()
        one.hello()
        waiting: list[FakeJob] = []
        for kind, message, data in one.messages():
            if kind == agent.JOB:
                waiting.append(one._job(message, data))
                threading.Event().wait(0.05)  # whoever else is sent would arrive meanwhile
                most.append(len(waiting) + one._inward._queue.qsize())
                one.result(waiting.pop(), Said())
            elif kind == agent.STOP:
                break
        one.bye()

    kept = execute(*tasks(Agents((first, watched)).placement, "a", "b", "c", "d"))
    assert len(kept.final) == 4
    assert most == [1, 1, 1, 1]
    assert set(losses(kept).values()) == {1}


def test_one_that_runs_alone_has_no_company_even_when_others_wait() -> None:
    agents = Agents(())

    def first(one: FakeAgent) -> None:
        one.start()
        one.hello()
        for job in one.jobs():
            agents.took(job)
            return

    placement = replace(agents.placement, slots=1)
    many = [str(number) for number in range(200)]  # more than a window
    agents.scripts = (first, dying(agents, "0"))
    kept = execute(*tasks(placement, *many))
    assert kept.of("0").result.ending is Ending.LOST
    assert {name for name, count in losses(kept).items() if count > 1} == {"0"}


def test_a_task_lost_by_its_agent_s_own_word_is_retried() -> None:
    def script(one: FakeAgent) -> None:
        one.start()
        one.hello()
        for count, job in enumerate(one.jobs()):
            if count < 2:
                one.send(agent.RESULT, {"id": job.id, "ending": "lost", "lost": "agent: its worker was killed"})
            else:
                one.result(job, Said(exit=3))
        one.bye()

    kept = execute(*tasks(Agents((script,)).placement, "a"))
    assert kept.of("a").result.code == 3
    assert [(outcome.retried, outcome.losses) for outcome in kept.outcomes] == [(True, 1), (True, 2), (False, 2)]


def test_another_output_is_never_a_reason_to_retry() -> None:
    kept = execute(*tasks(FakeRunner(lambda payload: Said(exit=1)).place(HERE), "a"))
    assert [outcome.retried for outcome in kept.outcomes] == [False]


# agents that do not start


@pytest.mark.parametrize(
    "trouble", [CellUnavailable("no-docker", "the daemon is gone"), OSError(12, "Cannot allocate memory")]
)
def test_a_machine_that_cannot_be_connected_loses_its_tasks(trouble: Exception) -> None:
    agents = Agents((trouble,))
    kept = execute(*tasks(agents.placement, "a", "b"))
    assert {outcome.result.lost for outcome in kept.final} == {f"agent: {trouble}"}
    assert len(agents.jobs) == 3


def test_an_agent_that_never_starts_loses_its_tasks_after_two_retries() -> None:
    def stillborn(one: FakeAgent) -> None:
        one.say(b"python3: not found")

    agents = Agents((stillborn,))
    kept = execute(*tasks(agents.placement, "a", "b"))
    assert {outcome.result.lost for outcome in kept.final} == {"agent: it did not start"}
    assert len(agents.jobs) == 3


def test_a_late_start_costs_nothing() -> None:
    def stillborn(one: FakeAgent) -> None:
        one.start()

    agents = Agents((CellUnavailable("unreachable", "not yet"), stillborn, honest))
    kept = execute(*tasks(agents.placement, "a", "b"))
    assert [kept.stdout(name) for name in "ab"] == [b"a", b"b"]
    assert losses(kept) == {"a": 0, "b": 0}
    assert [outcome.task.key[0] for outcome in kept.final] == ["a", "b"]


def test_one_machine_in_trouble_does_not_hold_up_another() -> None:
    bad = replace(Agents((OSError("no"),)).placement, machine="bad")
    good = FakeRunner(machine="good").place(HERE)
    kept = execute(*tasks(bad, "a"), *tasks(good, "b"))
    assert [kept.of(name).result.ending for name in "ab"] == [Ending.LOST, Ending.EXITED]


# agents that lie


def lying(act: Callable[[FakeAgent, FakeJob], None]) -> Callable[[FakeAgent], None]:
    def script(one: FakeAgent) -> None:
        one.start()
        one.hello()
        for job in one.jobs():
            act(one, job)

    return script


def result_twice(one: FakeAgent, job: FakeJob) -> None:
    one.result(job, Said(stdout=b"x"))
    one.result(job, Said(stdout=b"x"))


def result_of_nobody(one: FakeAgent, job: FakeJob) -> None:
    one.result(job, Said(), id=job.id + 1000)


def bytes_of_nobody(one: FakeAgent, job: FakeJob) -> None:
    one.data(job.id + 1000, "stdout", b"x")


def bytes_before_the_result(one: FakeAgent, job: FakeJob) -> None:
    one.data(job.id, "stdout", b"x")


def bytes_not_asked_for(one: FakeAgent, job: FakeJob) -> None:
    one.result(job, Said(stdout=b"x"))
    one.data(job.id, "stderr", b"x")


def wrong_bytes(one: FakeAgent, job: FakeJob) -> None:
    one.result(job, Said(stdout=b"right"))
    one._held[job.id, "stdout"] = b"wrong"


def too_many_bytes(one: FakeAgent, job: FakeJob) -> None:
    one.result(job, Said(stdout=b"right"))
    one._held[job.id, "stdout"] = b"right and more"


def too_few_bytes(one: FakeAgent, job: FakeJob) -> None:
    one.result(job, Said(stdout=b"right"))
    one._held[job.id, "stdout"] = b"rig"


LARGE = b"".join(b"%07d\n" % number for number in range((9 << 20) // 8))
WINDOW = (2 * CHUNK, CHUNK)


def outlined(outline: Outline) -> Callable[[FakeAgent, FakeJob], None]:
    """An agent that gives this in place of the outline of what it says it has heard."""

    def act(one: FakeAgent, job: FakeJob) -> None:
        one.result(job, Said(stdout=LARGE))
        one._held[job.id, "stdout"] = outline.encode()

    return act


def more_output_than_allowed(one: FakeAgent, job: FakeJob) -> None:
    one.result(job, Said(stdout=b"x"), stdout=[1 << 40, "0" * 64])


def more_complaints_than_allowed(one: FakeAgent, job: FakeJob) -> None:
    one.result(job, Said(stdout=b"x"), stderr=[1 << 40, "0" * 64])


GOOD = Outline.of(LARGE, WINDOW)
OUTLINES = {
    "cut": (replace(GOOD, window=b"", window_start=0), "protocol: an outline of something else"),
    "another window": (Outline.of(LARGE, (CHUNK, CHUNK)), "protocol: an outline of something else"),
    "too long": (replace(GOOD, window=GOOD.window + b"x"), "protocol: more bytes than promised"),
    "a smaller stream": (Outline.of(LARGE[:-1], WINDOW), "protocol: an outline of something else"),
    "a larger stream": (Outline.of(LARGE + b"x", WINDOW), "protocol: more bytes than promised"),
    "a huge stream": (replace(GOOD, size=2**63), "protocol: the outline is cut off"),
    "wrong head": (replace(GOOD, head=bytes(CHUNK)), "protocol: the outline has bytes that are not"),
    "wrong tail": (replace(GOOD, tail=bytes(CHUNK)), "protocol: the outline's tail is not"),
    "wrong window": (replace(GOOD, window=bytes(CHUNK)), "protocol: the outline has bytes that are not"),
    "wrong chunks": (replace(GOOD, chunks=bytes(len(GOOD.chunks))), "protocol: the outline's tail is not"),
}


@pytest.mark.parametrize("name", OUTLINES)
def test_an_outline_that_is_not_what_was_promised_ends_as_lost(name: str) -> None:
    outline, lost = OUTLINES[name]
    (one,) = tasks(Agents((lying(outlined(outline)),)).placement, "a")
    kept = execute(replace(one, window=WINDOW))
    assert kept.of("a").result.lost.startswith(lost)
    assert kept.of("a").outlines == {}


def test_a_window_is_asked_for_even_if_the_output_is_known() -> None:
    here = FakeRunner(lambda payload: Said(stdout=LARGE, stderr=LARGE)).place(HERE)
    first, second = tasks(here, "a", "b")
    digest = sha256(LARGE).hexdigest()
    kept = execute(first, replace(second, window=WINDOW), sink=Kept(known=frozenset({digest})))
    assert kept.of("a").outlines == {}
    assert kept.of("b").outlines == {digest: GOOD.encode()}


def test_stdout_and_stderr_are_outlined_each_for_itself() -> None:
    here = FakeRunner(lambda payload: Said(stdout=LARGE, stderr=b"x" + LARGE)).place(HERE)
    kept = execute(*tasks(here, "a"))
    assert kept.of("a").outlines == {
        sha256(said).hexdigest(): Outline.of(said).encode() for said in (LARGE, b"x" + LARGE)
    }


def early_leave(one: FakeAgent, job: FakeJob) -> None:
    one.bye()


LIES: dict[Callable[[FakeAgent, FakeJob], None], str] = {
    result_twice: "protocol: a result for job",
    result_of_nobody: "protocol: a result for job",
    bytes_of_nobody: "protocol: bytes of a job that is not under way",
    bytes_before_the_result: "protocol: bytes that were not asked for",
    bytes_not_asked_for: "protocol: bytes that were not asked for",
    wrong_bytes: "protocol: bytes that do not have their digest",
    too_many_bytes: "protocol: more bytes than promised",
    too_few_bytes: "protocol: bytes that do not have their digest",
    early_leave: "agent: it left early",
    more_output_than_allowed: "protocol: a result with more output than its job may have",
    more_complaints_than_allowed: "protocol: a result with more output than its job may have",
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_an_agent_that_lies_is_lost(lie: Callable[[FakeAgent, FakeJob], None]) -> None:
    kept = execute(*tasks(Agents((lying(lie),)).placement, "a"))
    assert kept.of("a").result.ending is Ending.LOST
    assert kept.of("a").result.lost.startswith(LIES[lie])
    assert kept.of("a").result.stdout == EMPTY


def test_an_agent_that_is_alive_but_gives_no_results_is_lost() -> None:
    placement = Agents((lying(lambda one, job: None),)).placement
    kept = execute(task(placement, "a", "a", timeout=0.1), timing=replace(QUICK, stalled=0.3))
    assert kept.of("a").result.lost == "agent: it gives no results"


def test_an_agent_that_falls_silent_is_lost() -> None:
    def silent(one: FakeAgent) -> None:
        one.start()
        one.hello()
        one.settings["heartbeat"] = 1000
        for _ in one.messages():
            continue

    kept = execute(*tasks(Agents((silent,)).placement, "a"), timing=replace(QUICK, silence=0.3))
    assert kept.of("a").result.lost.startswith("link: nothing heard for")


# keeping


def test_nothing_is_dropped_before_it_is_kept() -> None:
    dropped: list[str] = []
    kept = Kept()

    def script(one: FakeAgent) -> None:
        one.start()
        one.hello()
        for kind, message, data in one.messages():
            if kind == agent.JOB:
                one.result(one._job(message, data), Said())
            elif kind == agent.DROP:
                dropped.append(f"{kept.events[-1]}: {message['ids']}")
            elif kind == agent.STOP:
                break
        one.bye()

    execute(*tasks(Agents((script,)).placement, "a", "b"), sink=kept)
    assert dropped == ["commit: [1, 2]"]
    assert kept.events == ["finished a", "finished b", "commit"]


def test_outcomes_are_kept_in_batches() -> None:
    kept = execute(*tasks(FakeRunner().place(HERE), *(str(number) for number in range(4 * BATCH))))
    assert len(kept.final) == 4 * BATCH
    assert 1 < kept.events.count("commit") < 100


def test_known_bytes_are_not_fetched() -> None:
    known = frozenset({sha256(b"a").hexdigest()})
    placement = FakeRunner(lambda payload: Said(stdout=payload.files[0][1])).place(HERE)
    kept = execute(*tasks(placement, "a", "b"), sink=Kept(known=known))
    assert [kept.of(name).streams for name in "ab"] == [{}, {sha256(b"b").hexdigest(): b"b"}]


def test_a_sink_that_fails_ends_the_agents() -> None:
    ended = threading.Event()

    def script(one: FakeAgent) -> None:
        honest(one)
        ended.set()

    class Full(Kept):
        def commit(self, outcomes: object) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        execute(*tasks(Agents((script,)).placement, "a"), sink=Full())
    assert ended.wait(10)


def test_stopping_leaves_the_rest_undone() -> None:
    gate = threading.Event()

    def program(one: FakeAgent, job: FakeJob) -> None:
        one.result(job, Said(exit=1))
        gate.set()

    placement = replace(Agents((lying(program),)).placement, slots=1)
    kept = execute(*tasks(placement, *(str(number) for number in range(500))), sink=Kept(stop_after=1))
    assert 1 <= len(kept.final) < 500


def test_a_loss_after_stopping_is_final() -> None:
    def script(one: FakeAgent) -> None:
        one.start()
        one.hello()
        for count, job in enumerate(one.jobs()):
            if count == 1:
                return
            one.result(job, Said(exit=1))

    kept = execute(*tasks(Agents((script,)).placement, "a", "b", "c"), sink=Kept(stop_after=1))
    assert {outcome.task.key[0]: outcome.result.ending for outcome in kept.final} == {
        "a": Ending.EXITED,
        "b": Ending.LOST,
        "c": Ending.LOST,
    }


def test_a_machine_that_failed_stays_failed_and_says_why() -> None:
    agents = Agents((OSError("no route"),))
    with Dispatcher() as dispatcher:
        for _ in range(2):
            kept = Kept()
            dispatcher.execute(tasks(agents.placement, "a"), kept)
            assert kept.of("a").result.lost == "agent: no route"
    assert len(agents.jobs) == 3


def test_an_agent_that_does_not_start_after_stopping_is_not_waited_for() -> None:
    stopped = threading.Event()

    class Stopping(Kept):
        def finished(self, outcome: Outcome) -> bool:
            stopped.set()
            return True

    def late(one: FakeAgent) -> None:
        assert stopped.wait(20)

    slow = replace(Agents((late,)).placement, machine="slow")
    kept = execute(*tasks(slow, "never"), *tasks(FakeRunner().place(HERE), "a"), sink=Stopping())
    assert [outcome.task.key[0] for outcome in kept.final] == ["a"]


def test_agents_may_be_started_ahead_and_dismissed_early() -> None:
    agents = Agents((honest,))
    with Dispatcher() as dispatcher:
        dispatcher.connect([agents.placement, agents.placement])
        assert len(agents.jobs) == 1
        kept = Kept()
        dispatcher.execute(tasks(agents.placement, "a"), kept)
        dispatcher.dismiss()
    assert kept.stdout("a") == b"a"
    assert len(agents.jobs) == 1


def test_a_lost_agent_is_followed_by_one_that_sweeps_what_it_left() -> None:
    agents = Agents(())
    agents.scripts = (dying(agents, "killer"),)
    execute(*tasks(agents.placement, "killer"))
    assert agents.jobs == [["killer"], ["killer"], ["killer"], []]


# real processes


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds its agent in /proc")
def test_a_real_agent_that_is_killed_again_and_again(ground: Path) -> None:
    channels: list[LocalChannel] = []

    def connect() -> Channel:
        channels.append(LocalChannel())
        return channels[-1]

    here = replace(serve_here(slots=2), connect=connect)
    kill = (
        "import os, signal\n"
        "main = int(open(f'/proc/{os.getppid()}/stat').read().rpartition(')')[2].split()[1])\n"
        "os.kill(main, signal.SIGKILL)\nimport time; time.sleep(60)"
    )
    others = [task(here, f"other {number}", f"print({number})") for number in range(10)]
    kept = execute(*others[:5], task(here, "killer", kill), *others[5:])
    assert all(kept.stdout(f"other {number}") == b"%d\n" % number for number in range(10))
    assert kept.of("killer").result.lost == "agent: its stream ended without BYE; killed by signal 9"
    assert len(channels) >= 3
    assert eventually(lambda: not processes_of(ground))


@on_posix
def test_leaving_in_disorder_leaves_nothing(ground: Path) -> None:
    started = ground / "started"

    class Interrupted(Exception):
        pass

    class Impatient(Kept):
        def finished(self, outcome: object) -> bool:
            assert eventually(started.exists)
            raise Interrupted

    here = serve_here(slots=2)
    endless = f"import time; open({str(started)!r}, 'w').close(); time.sleep(600)"
    with pytest.raises(Interrupted):
        execute(task(here, "endless", endless), task(here, "quick", ""), sink=Impatient())
    assert processes_of(ground) == []
    assert folders_in(ground) == []


@on_posix
def test_a_worker_that_is_killed_loses_one_job(ground: Path) -> None:
    here = serve_here(slots=2)
    kill = f"import os; os.kill(os.getppid(), {int(signal.SIGKILL)}); import time; time.sleep(600)"
    others = [task(here, f"other {number}", f"print({number})") for number in range(6)]
    kept = execute(*others[:3], task(here, "killer", kill), *others[3:])
    assert kept.of("killer").result.lost == "agent: its worker was killed"
    assert all(kept.stdout(f"other {number}") == b"%d\n" % number for number in range(6))


@on_posix
def test_a_fixture_that_removes_the_agent_s_folder_loses_only_itself(ground: Path) -> None:
    here = serve_here(slots=1)
    vandal = "import os, shutil; shutil.rmtree(os.path.join(os.getcwd(), '../..'), ignore_errors=True)"
    kept = execute(task(here, "before", "print(1)"), task(here, "vandal", vandal), task(here, "after", "print(2)"))
    assert (kept.stdout("before"), kept.stdout("after")) == (b"1\n", b"2\n")
    assert list(ground.iterdir()) == []


BUSY = """
import os, sys, time
folder, name = sys.argv[1:]
for _ in range(8):
    with open(os.path.join(folder, name), "a") as file:
        file.write("%d %d\\n" % (time.monotonic_ns() - 20_000_000, time.monotonic_ns()))
    time.sleep(0.02)
"""


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.usefixtures("ground")
def test_machines_of_one_host_never_run_more_than_its_slots_together(slots: int, tmp_path: Path) -> None:
    """Four agents on this computer, as four containers would be; each job notes when it ran."""
    noted = tmp_path / "noted"
    noted.mkdir()
    here = serve_here(slots=slots)
    machines = [replace(here, machine=f"container {number}", host="this computer") for number in range(4)]
    with Dispatcher() as dispatcher:
        kept = Kept()
        dispatcher.execute([task(machine, f"warm {machine.machine}", "") for machine in machines], kept)
        dispatcher.execute(
            [
                task(machine, f"{number}-{each}", BUSY, args=(str(noted), f"{number}-{each}"))
                for number, machine in enumerate(machines)
                for each in range(5)
            ],
            kept,
        )
    assert len(kept.final) == 24
    moments: list[tuple[int, int]] = []
    for path in noted.iterdir():
        lines = [[int(word) for word in line.split()] for line in path.read_text().splitlines()]
        moments += [(lines[0][0] + 20_000_000, 1), (lines[-1][1], -1)]
    running = most = 0
    for _, step in sorted(moments):
        running += step
        most = max(most, running)
    assert 1 <= most <= slots


def test_a_cell_that_cannot_have_an_agent_is_refused_once_and_says_why() -> None:
    class Empty:
        """A channel to a machine that has no Python."""

        def read(self) -> bytes:
            raise CellUnavailable("no-interpreter", "the image has no python3")

        def write(self, data: bytes) -> None:
            """Nobody reads it."""

        def close(self) -> None:
            """Nothing runs."""

        def explain(self) -> str:
            return ""

    opened: list[Empty] = []

    def connect() -> Channel:
        opened.append(Empty())
        return opened[-1]

    placement = replace(FakeRunner().place(HERE), connect=connect)
    kept = Kept()
    with Dispatcher() as dispatcher:
        dispatcher.execute(tasks(placement, "a", "b"), kept)
        refusal = dispatcher.refusal(placement.machine)
    assert refusal is not None
    assert refusal.reason == "no-interpreter"
    assert [outcome.result.lost for outcome in kept.final] == ["agent: the image has no python3"] * 2
    assert len(opened) == 1
