"""What every channel promises, over every runner: a duplex stream whose end is final, and an agent behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256

import pytest

from harness.model.fixture import Payload
from harness.model.observation import Ending
from harness.runners.base import Channel, Placement
from harness.runners.fake import FakeRunner, Said
from harness.wire import Expected
from tests.containers import GLIBC, cell_in, missing, serve_in
from tests.hosts import MISSING, Server, serve_on, serving
from tests.rig import HERE, execute, serve_here, task

PROGRAM = """
import os, sys
data = sys.stdin.buffer.read()
sys.stdout.buffer.write(" ".join(sys.argv[1:]).encode() + b"|" + data)
sys.stderr.buffer.write(os.environ.get("ERR", "").encode())
sys.stdout.flush()
if "die" in sys.argv:
    os.kill(os.getpid(), 9)
raise SystemExit(int(os.environ.get("EXIT", "0")))
"""


def program(payload: Payload) -> Said:
    """What PROGRAM does, as a function."""
    assert payload.files[0][1].decode() == PROGRAM
    env = dict(payload.env)
    return Said(
        exit=int(env.get("EXIT", "0")),
        signal=9 if "die" in payload.args else 0,
        stdout=" ".join(payload.args).encode() + b"|" + payload.stdin,
        stderr=env.get("ERR", "").encode(),
    )


PLACEMENTS: dict[str, Callable[[], Placement]] = {
    "fake": lambda: FakeRunner(program).place(HERE),
    "local": serve_here,
    "ssh": serve_here,  # by the fixture, which has a server
    "docker": lambda: serve_in(cell_in()),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture(params=PLACEMENTS)
def placement(request: pytest.FixtureRequest) -> Placement:
    if request.param == "ssh":
        if MISSING:
            pytest.skip(MISSING)
        return serve_on(request.getfixturevalue("server"))
    if request.param == "local":
        request.getfixturevalue("ground")
    if request.param == "docker" and missing(GLIBC):
        pytest.skip(missing(GLIBC))
    return PLACEMENTS[request.param]()


@pytest.fixture
def channel(placement: Placement) -> Channel:
    return placement.connect()


def test_the_end_of_a_channel_is_final(channel: Channel) -> None:
    channel.close()
    channel.close()
    assert [channel.read() for _ in range(3)] == [b""] * 3
    assert isinstance(channel.explain(), str)


def test_writing_to_a_closed_channel_is_an_error(channel: Channel) -> None:
    channel.close()
    with pytest.raises(OSError, match=r"."):
        channel.write(b"x")


def test_closing_from_another_thread_ends_a_read(channel: Channel) -> None:
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(channel.read()))
    reader.start()
    time.sleep(0.1)
    closers = [threading.Thread(target=channel.close) for _ in range(3)]
    for closer in closers:
        closer.start()
    for thread in (reader, *closers):
        thread.join(20)
        assert not thread.is_alive()
    assert heard == [b""]


@pytest.mark.parametrize("size", [0, 1, 1000, 300_000, 3_000_000])
def test_bytes_travel_as_they_are(placement: Placement, size: int) -> None:
    stdin = (bytes(range(256)) * (size // 256 + 1))[:size]
    kept = execute(task(placement, "echo", PROGRAM, stdin=stdin, args=("ä", ""), env=(("ERR", "é"),)))
    assert kept.stdout("echo") == "ä |".encode() + stdin
    assert kept.stderr("echo") == "é".encode()


def test_endings_are_exact(placement: Placement) -> None:
    kept = execute(
        task(placement, "status", PROGRAM, env=(("EXIT", "200"),)),
        task(placement, "signal", PROGRAM, args=("die",)),
        task(placement, "limit", PROGRAM, stdin=bytes(1000), output=999),
    )
    seen = {name: (kept.of(name).result.ending, kept.of(name).result.code) for name in ("status", "signal")}
    assert seen == {"status": (Ending.EXITED, 200), "signal": (Ending.SIGNALLED, 9)}
    limited = kept.of("limit").result
    assert limited.ending is Ending.OUTPUT_LIMIT
    assert (limited.stdout.size, limited.stdout.digest) == (999, sha256(b"|" + bytes(998)).hexdigest())


def test_many_jobs_each_have_one_outcome(placement: Placement) -> None:
    kept = execute(*(task(placement, str(number), PROGRAM, args=(str(number),)) for number in range(150)))
    assert {outcome.task.key[0]: kept.stdout(outcome.task.key[0]) for outcome in kept.final} == {
        str(number): b"%d|" % number for number in range(150)
    }


def test_what_agrees_is_not_held(placement: Placement) -> None:
    expect = Expected(stdout=(sha256(b"|").hexdigest(),))
    kept = execute(
        task(placement, "agrees", PROGRAM, expect=expect),
        task(placement, "differs", PROGRAM, expect=expect, stdin=b"x"),
        task(placement, "fails", PROGRAM, expect=expect, env=(("EXIT", "1"),)),
        task(placement, "complains", PROGRAM, expect=Expected(stdout=expect.stdout, stderr="00" * 32)),
    )
    held = {outcome.task.key[0]: outcome.result.held for outcome in kept.final}
    assert held == {"agrees": (), "differs": ("stdout",), "fails": ("stdout",), "complains": ("stdout",)}


def test_more_words_than_a_frame_holds_arrive(placement: Placement) -> None:
    args = tuple(str(number) for number in range(65_536))
    kept = execute(task(placement, "many", PROGRAM, args=args))
    assert kept.stdout("many") == " ".join(args).encode() + b"|"


def test_a_fake_agent_whose_controller_hangs_up_says_so() -> None:
    channel = FakeRunner(program).place(HERE).connect()
    channel.close()
    assert channel.explain() == "EOFError: the controller hung up"
