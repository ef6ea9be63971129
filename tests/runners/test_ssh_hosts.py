"""Several hosts for one cell: they share its jobs, a bad one is left out and named, a lost one's work goes to the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.engine.cells import survey
from harness.engine.dispatch import Dispatcher, Outcome
from harness.model.reach import RunnerEntry
from harness.model.verdict import Kind
from harness.runners.local import this_platform
from harness.runners.ssh import SshRunner
from tests.hosts import Server, cell_on, needs_sshd, serve_on, serving, write_inventory
from tests.rig import PYTHON, Kept, execute, task

pytestmark = needs_sshd
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as found:
        yield found


def outputs(kept: Kept, count: int) -> list[bytes]:
    return [kept.stdout(str(number)) for number in range(count)]


def test_hosts_share_the_jobs_of_a_cell(server: Server) -> None:
    names = [server.add(f"share{number}") for number in range(3)]
    placement = serve_on(server, *names, slots=1)
    programs = (f"import time; time.sleep(0.02); print({number})" for number in range(60))
    kept = execute(*(task(placement, str(number), program) for number, program in enumerate(programs)))
    assert outputs(kept, 60) == [b"%d\n" % number for number in range(60)]
    assert {outcome.machine for outcome in kept.final} == {each.machine for each in placement.machines}


def test_the_work_of_a_host_that_is_lost_for_good_is_done_by_the_others(server: Server, tmp_path: Path) -> None:
    with serving(tmp_path / "second") as second:
        server.know(*server.known_hosts.read_text().splitlines(), *second.known_hosts.read_text().splitlines())
        server.add("stays")
        server.add("goes", f"Port {second.port}", f"IdentityFile {second.folder / 'id'}")
        placement = serve_on(server, "goes", "stays", slots=1)

        class Ends(Kept):
            def finished(self, outcome: Outcome) -> bool:
                if len(self.events) == 8:
                    children = second.sessions()
                    second.process.terminate()
                    for pid in children:
                        os.kill(pid, signal.SIGKILL)
                return super().finished(outcome)

        programs = (f"import time; time.sleep(0.02); print({number})" for number in range(60))
        tasks = [task(placement, str(number), program) for number, program in enumerate(programs)]
        kept = execute(*tasks, sink=Ends())
    assert outputs(kept, 60) == [b"%d\n" % number for number in range(60)]


def test_a_host_that_is_another_system_is_left_out(server: Server) -> None:
    others = [path for path in ("/usr/bin/python3", sys.executable) if Path(path).resolve() != Path(PYTHON).resolve()]
    if not others:
        pytest.skip("this takes a second interpreter")
    server.add("same")
    server.add("odd")
    write_inventory(server.folder, server)
    path = server.folder / "runners" / "hosts.yaml"
    path.write_text(
        f"hosts:\n"
        f"  - {{name: same, config: {server.config}, cells: '*', python: {PYTHON}}}\n"
        f"  - {{name: odd, config: {server.config}, cells: ['linux-*', other], python: {others[0]}}}\n"
    )
    runner = SshRunner(root=server.folder)
    cell = replace(cell_on(), runners=(RunnerEntry(name="ssh"),))
    placement = runner.place(cell, cell.runners[0])
    assert [each.subject for each in placement.machines] == [(PYTHON,), (others[0],)]
    with Dispatcher() as dispatcher:
        (found,) = survey([cell], {"ssh": runner}, dispatcher)
    assert found.placement is not None
    assert len(found.placement.machines) == 1
    (left_out,) = found.report.left_out
    assert left_out.verdict.kind is Kind.MISPLACED
    assert "it is another system than host same" in left_out.verdict.message


def test_one_bad_host_among_twelve_is_refused_and_the_others_finish(server: Server, tmp_path: Path) -> None:
    names = [server.add(f"twelve{number}") for number in range(11)]
    server.add("bad", "UserKnownHostsFile none")
    rows = [
        f"  - {{name: {name}, config: {server.config}, cells: '*', slots: 1}}"
        for name in (*names[:5], "bad", *names[5:])
    ]
    (tmp_path / "runners").mkdir()
    (tmp_path / "runners" / "hosts.yaml").write_text("\n".join(["hosts:", *rows, ""]))
    version = ".".join(map(str, sys.version_info[:2]))
    (tmp_path / "matrix.yaml").write_text(
        f'cells:\n  - platform: {this_platform()}\n    python: "{version}"\n'
        f"    runners: [{{ssh: {{hosts: [{', '.join((*names[:5], 'bad', *names[5:]))}], python: '{PYTHON}'}}}}]\n"
    )
    for number in range(24):
        folder = tmp_path / "fixtures" / f"f{number}"
        folder.mkdir(parents=True)
        (folder / "main.py").write_text(f"print({number})")
        (folder / "expected.stdout").write_text(f"{number}\n")
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5, done.stdout + done.stderr
    assert "24 of 24 planned jobs executed" in done.stdout
    assert done.stdout.splitlines()[-1] == "refused for security: 24 jobs in 1 cell as declared"
    assert "runs without host bad" in " ".join(done.stdout.split())


def test_a_cell_whose_only_host_is_refused_has_nothing_else_tried(server: Server) -> None:
    server.add("only", "UserKnownHostsFile none")
    placement = serve_on(server, "only")
    with Dispatcher() as dispatcher:
        (found,) = survey([placement.cell], {"ssh": SshRunner(root=server.folder)}, dispatcher)
    assert found.report.verdict is not None
    assert (found.report.verdict.kind, found.report.verdict.reason) == (Kind.UNAVAILABLE, "host-key")
    assert found.mend
