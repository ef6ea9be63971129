"""A conversation that goes wrong: it has exactly one end, and the end names the layer."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue

import pytest

from harness import agent
from harness.engine.session import Event, Lost, Session
from harness.model.fixture import Payload
from harness.runners.base import Channel
from harness.runners.fake import FakeAgent, FakeChannel, Said
from harness.runners.local import LocalChannel
from harness.wire import DEFAULT_TIMING, Bye, Data, Expected, Hello, JobMessage, Ping, Result, Timing
from tests.rig import QUICK

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the local runner does not serve Windows")


@dataclass
class Talk:
    """A session under way and what it delivers."""

    session: Session
    events: SimpleQueue[Event]
    heard: list[Event] = field(default_factory=list)

    def until(self, kind: type[Event]) -> Event:
        """The next event of a kind, watching the other side meanwhile."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            self.session.watch()
            try:
                event = self.events.get(timeout=0.1)
            except Empty:
                continue
            self.heard.append(event)
            if isinstance(event, kind):
                return event
        raise AssertionError(f"no {kind.__name__} among {self.heard}")

    def lost(self) -> Lost:
        event = self.until(Lost)
        assert isinstance(event, Lost)
        time.sleep(0.05)
        assert self.events.empty(), "a conversation has one end"
        return event


@contextmanager
def talk(channel: Channel, timing: Timing = DEFAULT_TIMING) -> Iterator[Talk]:
    events: SimpleQueue[Event] = SimpleQueue()
    session = Session(channel, 1, lambda session, event: events.put(event), timing)
    session.start()
    try:
        yield Talk(session, events)
    finally:
        session.close()


def job(number: int = 1, program: str = "print('said')", **changes: object) -> JobMessage:
    message = JobMessage(
        id=number,
        argv=("python3",),
        payload=Payload(program="main.py", files=(("main.py", program.encode()),)),
        env=(),
        carry=(),
        timeout=30.0,
        output=1 << 20,
        expect=Expected(exit=-1),
    )
    return replace(message, **changes)  # type: ignore[arg-type]


def greeted(one: FakeAgent) -> None:
    one.start()
    one.hello()


@pytest.mark.usefixtures("ground")
def test_a_whole_conversation_with_a_real_agent() -> None:
    with talk(LocalChannel()) as one:
        hello = one.until(Hello)
        assert isinstance(hello, Hello)
        assert hello.slots == 1
        one.session.run(job())
        result = one.until(Result)
        assert isinstance(result, Result)
        assert result.held == ("stdout",)
        one.session.fetch(1, "stdout")
        assert one.until(Data) == Data(id=1, stream="stdout", last=True, data=b"said\n")
        one.session.drop((1,))
        one.session.stop()
        assert isinstance(one.until(Bye), Bye)
        assert one.session.noise == b""


@pytest.mark.usefixtures("ground")
def test_stopping_at_once_kills_what_runs() -> None:
    with talk(LocalChannel()) as one:
        one.session.run(job(program="import time; print('up', flush=True); time.sleep(600)"))
        one.session.run(job(2))
        one.until(Hello)
        time.sleep(0.3)
        one.session.stop(abort=True)
        one.until(Bye)
        assert not any(isinstance(event, Result) for event in one.heard)


def test_noise_before_the_marker_is_kept_and_passed_over() -> None:
    def script(one: FakeAgent) -> None:
        one.say(b"Last login: \x1b[31mtoday\n")
        one.say(b"stty: not a tty")
        one.serve(lambda payload: Said())

    with talk(FakeChannel(script)) as one:
        one.until(Hello)
        assert one.session.noise == b"Last login: \x1b[31mtoday\nstty: not a tty"


def test_a_marker_and_frames_in_small_pieces_are_understood() -> None:
    class Slow(FakeAgent):
        def say(self, data: bytes) -> None:
            for start in range(0, len(data), 7):
                super().say(data[start : start + 7])

    def script(one: FakeAgent) -> None:
        one.__class__ = Slow
        one.serve(lambda payload: Said(stdout=b"x"))

    with talk(FakeChannel(script)) as one:
        one.session.run(job())
        assert isinstance(one.until(Result), Result)


def test_noise_without_an_end_is_lost() -> None:
    def script(one: FakeAgent) -> None:
        for _ in range(40):
            one.say(bytes(1 << 16))

    with talk(FakeChannel(script)) as one:
        ended = one.lost()
        assert ended.layer == "agent"
        assert ended.message.startswith("more than 1 MiB of noise before its first word")


def test_an_agent_that_never_starts_is_lost_with_its_last_words() -> None:
    def script(one: FakeAgent) -> None:
        one.say(b"sh: python3: not found\n")
        raise RuntimeError("exit status 127")

    with talk(FakeChannel(script)) as one:
        assert one.lost() == Lost(layer="agent", message="it did not start; RuntimeError: exit status 127")
        assert one.session.noise == b"sh: python3: not found\n"


def test_an_agent_that_says_nothing_at_all_is_lost() -> None:
    closed = threading.Event()

    def script(one: FakeAgent) -> None:
        closed.wait(30)

    with talk(FakeChannel(script), Timing(hello=0.3)) as one:
        threading.Timer(0.6, closed.set).start()
        assert one.lost() == Lost(layer="link", message="no word from its agent in time")


def test_an_end_without_bye_is_lost() -> None:
    def script(one: FakeAgent) -> None:
        greeted(one)
        for each in one.jobs():
            one.result(each, Said())
            return

    with talk(FakeChannel(script)) as one:
        one.session.run(job())
        assert one.lost() == Lost(layer="agent", message="its stream ended without BYE")


def test_an_end_in_the_middle_of_a_frame_is_lost() -> None:
    def script(one: FakeAgent) -> None:
        greeted(one)
        one.say(one.encoder.encode(agent.PING, {})[:-1])

    with talk(FakeChannel(script)) as one:
        assert one.lost().layer == "agent"


def test_silence_is_lost() -> None:
    def script(one: FakeAgent) -> None:
        greeted(one)
        one.settings["heartbeat"] = 1000
        for _ in one.messages():
            continue

    with talk(FakeChannel(script), replace(QUICK, silence=0.4)) as one:
        ended = one.lost()
        assert ended.layer == "link"
        assert ended.message.startswith("nothing heard for")


def test_heartbeats_keep_a_conversation_alive() -> None:
    with talk(FakeChannel(lambda one: one.serve(lambda payload: Said())), replace(QUICK, silence=2.0)) as one:
        one.until(Hello)
        for _ in range(30):
            one.until(Ping)
        one.session.stop()
        one.until(Bye)


@pytest.mark.parametrize("garbage", [b"garbage", bytes(13), b"\xff" * 13])
def test_garbage_is_lost_to_the_protocol(garbage: bytes) -> None:
    def script(one: FakeAgent) -> None:
        greeted(one)
        one.say(garbage * 10)
        for _ in one.messages():
            continue

    with talk(FakeChannel(script)) as one:
        assert one.lost().layer == "protocol"


def test_a_result_after_a_wrong_frame_is_not_heard() -> None:
    def script(one: FakeAgent) -> None:
        greeted(one)
        for each in one.jobs():
            one.say(b"x" * 64)
            one.result(each, Said())

    with talk(FakeChannel(script)) as one:
        one.session.run(job())
        assert one.lost().layer == "protocol"
        assert not any(isinstance(event, Result) for event in one.heard)


@pytest.mark.parametrize("changes", [{"count": 7}, {"chain": "00" * 32}])
def test_a_bye_that_attests_something_else_is_lost(changes: dict[str, object]) -> None:
    def script(one: FakeAgent) -> None:
        greeted(one)
        one.bye(**changes)

    with talk(FakeChannel(script)) as one:
        assert one.lost().layer == "protocol"


class Broken:
    """A channel of somebody else's making that raises whatever it likes."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.inner = FakeChannel(lambda one: one.serve(lambda payload: Said()))

    def read(self) -> bytes:
        if self.where == "read":
            raise RuntimeError("no idea")
        return self.inner.read()

    def write(self, data: bytes) -> None:
        if self.where == "write":
            raise OSError("broken pipe")
        self.inner.write(data)

    def close(self) -> None:
        self.inner.close()

    def explain(self) -> str:
        return ""


def test_a_channel_that_cannot_be_read_is_lost() -> None:
    with talk(Broken("read")) as one:
        assert one.lost() == Lost(layer="channel", message="RuntimeError: no idea")


def test_a_channel_that_cannot_be_written_to_is_lost() -> None:
    with talk(Broken("write")) as one:
        assert one.lost() == Lost(layer="agent", message="it did not start; it cannot be written to: broken pipe")


@pytest.mark.usefixtures("ground")
def test_an_agent_that_is_killed_is_lost_with_its_cause() -> None:
    channel = LocalChannel()
    with talk(channel) as one:
        one.until(Hello)
        one.session.run(job(program="import time; time.sleep(600)"))
        os.kill(channel.pid, signal.SIGKILL)
        assert one.lost() == Lost(layer="agent", message="its stream ended without BYE; killed by signal 9")


@pytest.mark.usefixtures("ground")
def test_an_agent_that_is_stopped_is_lost_to_silence() -> None:
    channel = LocalChannel()
    with talk(channel, replace(QUICK, silence=0.5)) as one:
        one.until(Hello)
        os.kill(channel.pid, signal.SIGSTOP)
        ended = one.lost()
        assert ended.layer == "link"
        assert ended.message.endswith("; exit status 1; agent: the controller is gone")


def test_closing_twice_is_no_trouble() -> None:
    with talk(FakeChannel(lambda one: one.serve(lambda payload: Said()))) as one:
        one.until(Hello)
        one.session.close()
