"""The hostile fixtures, on the local runner: each gets its verdict, its neighbours notice nothing, nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.conformance import programs
from harness.conformance.cases import Case, cases
from harness.model.observation import Ending
from tests.conformance.suite import ALL, assert_verdicts, chosen, groups
from tests.rig import PYTHON, eventually, execute, folders_in, processes_of, serve_here, task

pytestmark = [
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="elsewhere what leaves its session is out of reach"
    ),
    pytest.mark.usefixtures("ground"),
]


@pytest.mark.parametrize("group", groups(bounded=False))
def test_a_hostile_fixture_gets_its_verdict_and_its_neighbours_notice_nothing(group: str) -> None:
    assert_verdicts(group, serve_here(slots=1 if any(case.after for case in chosen(group)) else 4))


@pytest.mark.parametrize("case", [case for case in ALL if case.needs], ids=lambda case: case.name)
def test_what_needs_a_container_is_not_tried_here(case: Case) -> None:
    pytest.skip(f"{case.because}, which takes a {case.needs}")


def test_names_are_unique_and_families_complete() -> None:
    assert len({case.name for case in ALL}) == len(ALL)
    assert {case.family for case in ALL} == {f"F{number}" for number in range(19)}
    assert {case.after for case in ALL if case.after} <= {case.name for case in ALL}
    assert all(bool(case.needs) == bool(case.because) for case in ALL)


def test_the_full_sizes_are_the_same_cases() -> None:
    assert [case.name for case in cases(full=True)] == [case.name for case in ALL]


CONTROLLER = """
import sys
from tests.rig import execute, serve_here, task
from harness.conformance import programs
placement = serve_here(slots=4)
started = f"import os, sys, time; print(os.getpid(), file=open({sys.argv[1]!r}, 'a')); time.sleep(600)"
execute(
    *(task(placement, str(number), started, timeout=900) for number in range(2)),
    task(placement, "ignores", programs.IGNORES_TERM, timeout=900),
    task(placement, "daemon", programs.DAEMON.replace("os.wait()", "time.sleep(600)"), timeout=900),
)
"""


def test_nothing_is_left_of_a_controller_that_is_killed(ground: Path, tmp_path: Path) -> None:
    started = tmp_path / "started"
    root = Path(__file__).parents[2]
    controller = subprocess.Popen(
        [sys.executable, "-c", CONTROLLER, str(started)], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    try:
        assert eventually(lambda: started.exists() and len(started.read_text().splitlines()) == 2)
        assert eventually(lambda: len(processes_of(ground)) >= 11)  # us, the agent, 4 workers, 5 of the jobs
    finally:
        controller.send_signal(signal.SIGKILL)
        controller.wait()
    assert eventually(lambda: processes_of(ground) == [] and folders_in(ground) == [])


@pytest.mark.parametrize(
    "killer", [programs.KILLS_AGENT, programs.KILLS_WORKER, programs.KILLS_BOTH], ids=["agent", "worker", "both"]
)
def test_nothing_is_left_of_an_agent_or_a_worker_that_is_killed(killer: str) -> None:
    """The ground's own check sees to the rest."""
    family = (
        "import os, time\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork() == 0: os.closerange(0, 9)\n"
        "        time.sleep(600)\n"
    )
    placement = serve_here()
    kept = execute(task(placement, "mess", family + killer), task(placement, "waits", "import time; time.sleep(0.5)"))
    assert kept.of("mess").result.ending is Ending.LOST
    assert kept.of("waits").result.ending is Ending.EXITED


def test_the_subject_is_a_plain_python() -> None:
    assert subprocess.run([PYTHON, "-c", "print(1)"], capture_output=True, check=True).stdout == b"1\n"
