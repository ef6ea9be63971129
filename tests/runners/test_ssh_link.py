"""A link that swallows everything, in a network namespace: noticed within 15 s, and nothing is left behind it.

The namespace has an address of 192.0.2.0/24, a range for documentation; its cable is pulled while jobs run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.engine.dispatch import Dispatcher, Outcome
from harness.model.observation import Ending
from tests.hosts import Server, needs_sshd, serve_on, serving
from tests.rig import Kept, eventually, task

NAME = f"h{os.getpid() % 100_000}"
NEAR, FAR = "192.0.2.97", "192.0.2.98"
NOTICED_WITHIN = 15.0


def ip(*words: str) -> bool:
    """Run iproute2's command; whether it worked."""
    return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0


def can_make_namespaces() -> bool:
    if os.name != "posix" or os.geteuid() or not shutil.which("ip") or not ip("netns", "add", f"{NAME}try"):
        return False
    return ip("netns", "del", f"{NAME}try")


pytestmark = [
    needs_sshd,
    pytest.mark.skipif(not can_make_namespaces(), reason="this takes root and iproute2, to make a network namespace"),
]


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Server]:
    """A server at the other end of a cable, ``{NAME}a`` on our side."""
    try:
        assert ip("netns", "add", NAME)
        assert ip("link", "add", f"{NAME}a", "type", "veth", "peer", "name", f"{NAME}b", "netns", NAME)
        assert ip("addr", "add", f"{NEAR}/30", "dev", f"{NAME}a")
        assert ip("link", "set", f"{NAME}a", "up")
        assert ip("-n", NAME, "addr", "add", f"{FAR}/30", "dev", f"{NAME}b")
        assert ip("-n", NAME, "link", "set", f"{NAME}b", "up")
        with serving(tmp_path, address=FAR, prefix=("ip", "netns", "exec", NAME)) as server:
            yield server
    finally:
        ip("link", "del", f"{NAME}a")
        ip("netns", "del", NAME)


def swallow(is_so: bool) -> None:
    """Let the far end drop what arrives, without a word to anybody."""
    assert ip("-n", NAME, "link", "set", f"{NAME}b", "down" if is_so else "up")


def test_a_link_that_swallows_everything_is_noticed_and_the_jobs_run_again(far: Server) -> None:
    placement = serve_on(far, slots=2)

    class Swallows(Kept):
        since = 0.0
        noticed = 0.0

        def finished(self, outcome: Outcome) -> bool:
            if not self.since and len(self.events) > 4:
                self.since = time.monotonic()
                swallow(True)
            return super().finished(outcome)

        def commit(self, outcomes: Sequence[Outcome]) -> None:
            if self.since and not self.noticed and any(outcome.retried for outcome in outcomes):
                self.noticed = time.monotonic() - self.since
                swallow(False)
            super().commit(outcomes)

    kept = Swallows()
    with Dispatcher() as dispatcher:
        tasks = [
            task(placement, str(number), f"import time; time.sleep(0.05); print({number})") for number in range(40)
        ]
        dispatcher.execute(tasks, kept)
        first = {outcome.result.lost.partition(":")[0] for outcome in kept.outcomes if outcome.retried}
    assert kept.noticed <= NOTICED_WITHIN
    assert first == {"link"}
    assert {outcome.result.ending for outcome in kept.final} == {Ending.EXITED}
    assert [kept.stdout(str(number)) for number in range(40)] == [b"%d\n" % number for number in range(40)]


def test_nothing_is_left_behind_a_link_that_swallows_everything(far: Server) -> None:
    """The server notices nothing: the agent there ends by itself when nobody speaks to it."""
    placement = serve_on(far, slots=1)
    dispatcher = Dispatcher()
    dispatcher.execute([task(placement, "one", "print(1)")], Kept())
    hello = dispatcher.hello(placement.machine)
    assert hello is not None
    swallow(True)
    dispatcher.close(abort=True)
    assert Path(f"/proc/{hello.pid}").exists()
    assert eventually(lambda: not Path(f"/proc/{hello.pid}").exists(), within=60.0)


def test_a_host_that_is_not_answered_for_is_unreachable(far: Server) -> None:
    swallow(True)
    far.add("host", "ConnectTimeout 1")
    kept = Kept()
    with Dispatcher() as dispatcher:
        dispatcher.execute([task(serve_on(far), "one", "print(1)")], kept)
    assert kept.of("one").result.ending is Ending.LOST
    assert FAR in kept.of("one").result.lost
