"""How much a link adds: the same fixtures on a host over loopback, over a link with a delay, and without an agent.

    python benchmarks/ssh.py --config FILE [--near ns2] [--far ns2slow] [--fixtures 1000] [--rounds 3] [--python python3]

The hosts are names of the SSH configuration; both should be one machine, so that only the link differs. Rounds
alternate. Set-up is included: connecting, checking the key, sending the agent, measuring the cell. The rival runs
one `exec_command` of paramiko for each fixture over one connection, which is what one does without an agent.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # a script's own folder is all that Python adds

from harness.engine.cells import connect, survey  # noqa: E402
from harness.engine.dispatch import Dispatcher, Outcome, Task, Work  # noqa: E402
from harness.model.cell import Cell  # noqa: E402
from harness.model.fixture import Payload  # noqa: E402
from harness.model.platform import PythonTag  # noqa: E402
from harness.model.reach import RunnerEntry, SshOptions  # noqa: E402
from harness.runners.local import this_platform  # noqa: E402
from harness.runners.ssh import SshRunner  # noqa: E402
from harness.runners.ssh_config import resolve  # noqa: E402
from harness.runners.ssh_connection import Connection  # noqa: E402
from harness.wire import Expected  # noqa: E402

MAX_OVER_LOOPBACK = 1.15
RIVAL_FIXTURES = 50  # of the rival: it is slow, and goes on like this


class Count:
    """A sink that counts what is as it should be."""

    def __init__(self) -> None:
        self.good = 0

    def wants(self, digest: str) -> bool:
        """No bytes are wanted."""
        return False

    def finished(self, outcome: Outcome) -> bool:
        """Count one."""
        self.good += outcome.result.code == 0 and not outcome.result.lost
        return False

    def commit(self, outcomes: Sequence[Outcome]) -> None:
        """Keep nothing."""


def with_agent(root: Path, host: str, python: str, fixtures: int) -> float:
    """Seconds of a whole run of the engine on a host, set-up included."""
    entry = RunnerEntry(name="ssh", ssh=SshOptions(hosts=(host,), python=(python,)))
    cell = Cell(platform=this_platform(), python=PythonTag.parse("here"), runners=(entry,))
    runners = {"ssh": SshRunner(root=root)}
    began = time.monotonic()
    with Dispatcher() as dispatcher:
        connect([cell], runners, dispatcher)
        (found,) = survey([cell], runners, dispatcher)
        if found.placement is None:
            raise SystemExit(f"{host}: {found.report.verdict}")
        works = [
            Work(
                payload=Payload(program="main.py", files=(("main.py", b"print(%d)\n" % number),)),
                expect=Expected(exit=0),
            )
            for number in range(fixtures)
        ]
        sink = Count()
        tasks = [
            Task(
                key=(str(number), cell.id),
                attempt=1,
                placement=found.placement,
                load=lambda work=work: work,  # type: ignore[misc]
                timeout=30.0,
                output=1 << 20,
            )
            for number, work in enumerate(works)
        ]
        dispatcher.execute(tasks, sink)
        dispatcher.dismiss()
    spent = time.monotonic() - began
    if sink.good != fixtures:
        raise SystemExit(f"{host}: {fixtures - sink.good} fixtures failed")
    return spent


def without_agent(config: Path, host: str, python: str, fixtures: int) -> float:
    """Seconds that so many fixtures would take with a command of their own each, from a few of them."""
    connection = Connection()
    began = time.monotonic()
    try:
        transport = connection.open(resolve(host, config))
        set_up = time.monotonic() - began
        few = min(RIVAL_FIXTURES, fixtures)
        for number in range(few):
            channel = transport.open_session()
            channel.exec_command(f"{python} -c 'print({number})'")
            while channel.recv(1 << 16):
                continue
            channel.recv_exit_status()
            channel.close()
        return set_up + (time.monotonic() - began - set_up) / few * fixtures
    finally:
        connection.close()


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--near", default="ns2")
    parser.add_argument("--far", default="ns2slow")
    parser.add_argument("--python", default="python3")
    parser.add_argument("--fixtures", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "runners").mkdir()
        rows = [f"  - {{name: {name}, config: {given.config.absolute()}}}" for name in (given.near, given.far)]
        (root / "runners" / "hosts.yaml").write_text("\n".join(["hosts:", *rows, ""]), encoding="utf-8")
        tools: dict[str, Callable[[], float]] = {
            "loopback": lambda: with_agent(root, given.near, given.python, given.fixtures),
            "link": lambda: with_agent(root, given.far, given.python, given.fixtures),
            "exec_command each, link": lambda: without_agent(given.config, given.far, given.python, given.fixtures),
        }
        spent: dict[str, list[float]] = {name: [] for name in tools}
        for number in range(given.rounds):
            order = list(tools) if number % 2 == 0 else list(reversed(tools))
            for name in order:
                spent[name].append(tools[name]())
                sys.stderr.write(f"round {number + 1}: {name} {spent[name][-1]:.2f} s\n")
    ratios = [far / near for far, near in zip(spent["link"], spent["loopback"], strict=True)]
    for name, values in spent.items():
        sys.stdout.write(f"{name}: {statistics.median(values):.2f} s ({min(values):.2f}-{max(values):.2f})\n")
    ratio = statistics.median(ratios)
    holds = "holds" if ratio <= MAX_OVER_LOOPBACK else "does not hold"
    sys.stdout.write(
        f"link / loopback: {ratio:.3f} ({min(ratios):.3f}-{max(ratios):.3f}); at most {MAX_OVER_LOOPBACK}: {holds}\n"
    )


if __name__ == "__main__":
    main()
