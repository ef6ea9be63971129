"""The ssh runner against OpenSSH's server: jobs over a connection, whatever the login shell says, and lost links."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.engine.cells import survey
from harness.engine.dispatch import Dispatcher
from harness.errors import CellUnavailable
from harness.model.observation import Ending
from harness.runners.ssh import SshRunner
from harness.runners.ssh_channel import SshChannel
from harness.runners.ssh_config import resolve
from harness.wire import DEFAULT_TIMING
from tests.hosts import Server, needs_sshd, serve_on, serving
from tests.rig import PYTHON, Kept, eventually, execute, task

pytestmark = needs_sshd
TIMING = replace(DEFAULT_TIMING, heartbeat=0.5, silence=5.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as found:
        yield found


def channel_to(server: Server, command: str, name: str = "host") -> SshChannel:
    return SshChannel(lambda: (resolve(name, server.config), ()), command)


def everything(channel: SshChannel) -> bytes:
    data = b""
    while piece := channel.read():
        data += piece
    return data


def test_jobs_run_on_a_host(server: Server) -> None:
    placement = serve_on(server)
    kept = execute(*(task(placement, str(number), f"print({number} ** 2)") for number in range(40)))
    assert [kept.stdout(str(number)) for number in range(40)] == [b"%d\n" % number**2 for number in range(40)]
    assert {outcome.machine for outcome in kept.final} == {placement.machine}


def test_a_host_says_itself_how_many_jobs_it_takes(server: Server) -> None:
    placement = serve_on(server)
    assert placement.slots == 0
    with Dispatcher() as dispatcher:
        dispatcher.execute([task(placement, "one", "print(1)")], Kept())
        hello = dispatcher.hello(placement.machine)
        assert hello is not None
        assert hello.slots == len(os.sched_getaffinity(0))
    assert serve_on(server, slots=3).slots == 3


def test_three_megabytes_on_each_stream_pass(server: Server) -> None:
    program = "import sys; sys.stderr.write('e' * 3_000_000); sys.stdout.write('o' * 3_000_000)"
    kept = execute(task(serve_on(server), "both", program))
    assert (len(kept.stdout("both")), len(kept.stderr("both"))) == (3_000_000, 3_000_000)


def test_a_flood_on_the_stderr_of_the_command_itself_does_not_stop_its_stdout(server: Server) -> None:
    size = 40 << 20  # more than any window
    channel = channel_to(server, f"yes | head -c {size} >&2; head -c {size} /dev/zero; echo last words >&2; exit 7")
    try:
        assert len(everything(channel)) == size
        assert channel.explain() == "exit status 7; last words"
    finally:
        channel.close()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["Banner {folder}/banner"], id="banner"),
        pytest.param(["ForceCommand echo noise; echo more >&2; eval $SSH_ORIGINAL_COMMAND"], id="rc-file"),
        pytest.param(
            ["ForceCommand printf 'harness-no newline'; head -c 200000 /dev/zero; eval $SSH_ORIGINAL_COMMAND"],
            id="much",
        ),
    ],
)
def test_what_a_host_says_before_the_agent_does_no_harm(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "banner").write_text("authorised use only\n" * 100)
    with serving(tmp_path, *(option.format(folder=tmp_path) for option in options)) as server:
        kept = execute(task(serve_on(server), "one", "print(1)"))
    assert kept.stdout("one") == b"1\n"


@pytest.mark.parametrize(
    ("command", "reason", "says"),
    [
        ("echo This account is currently not available.; exit 1", "unreachable", "exit status 1"),
        ("echo >&2 no such shell; exit 1", "broken-interpreter", "exit status 1; no such shell"),
        ("exit 127", "no-interpreter", "exit status 127"),
    ],
)
def test_a_login_shell_that_fails_is_told_with_its_words(command: str, reason: str, says: str, tmp_path: Path) -> None:
    with serving(tmp_path, f"ForceCommand {command}") as server, Dispatcher() as dispatcher:
        placement = serve_on(server)
        runner = SshRunner(root=server.folder)
        (found,) = survey([placement.cell], {"ssh": runner}, dispatcher)
    verdict = found.report.verdict
    assert verdict is not None
    assert verdict.reason == reason
    assert says in verdict.message


def test_an_interpreter_that_is_not_there_is_named(server: Server) -> None:
    placement = serve_on(server, python="python3.99")
    with Dispatcher() as dispatcher:
        (found,) = survey([placement.cell], {"ssh": SshRunner(root=server.folder)}, dispatcher)
    verdict = found.report.verdict
    assert verdict is not None
    assert verdict.reason == "no-interpreter"
    assert "python3.99" in verdict.message


def test_a_host_that_nobody_answers_at_is_unreachable(server: Server) -> None:
    server.add("closed", "Port 9")
    channel = channel_to(server, "true", "closed")
    with pytest.raises(CellUnavailable) as caught:
        channel.read()
    assert caught.value.reason == "unreachable"
    assert channel.read() == b""


def test_a_key_that_does_not_fit_is_told_and_nothing_is_asked(server: Server) -> None:
    server.add("stranger", f"IdentityFile {server.folder / 'host_ed25519'}")
    channel = channel_to(server, "true", "stranger")
    with pytest.raises(CellUnavailable, match=r"host_ed25519") as caught:
        everything(channel)
    assert caught.value.reason == "unreachable"


def test_a_jump_host_leads_to_a_host(server: Server) -> None:
    server.add("door")
    server.add("behind", "ProxyJump door")
    channel = channel_to(server, "echo through", "behind")
    assert everything(channel) == b"through\n"
    channel.close()
    assert "direct-tcpip" in server.log


def test_a_proxy_command_leads_to_a_host(server: Server) -> None:
    relay = (
        "import os,select,socket,sys;s=socket.create_connection((sys.argv[1],int(sys.argv[2])))\n"
        "while True:\n"
        " for f in select.select([0,s],[],[])[0]:\n"
        "  d=os.read(f if f==0 else s.fileno(),65536)\n"
        "  if not d: sys.exit()\n"
        "  s.sendall(d) if f==0 else os.write(1,d)\n"
    )
    (server.folder / "relay.py").write_text(relay)
    server.add("relayed", f"ProxyCommand {PYTHON} {server.folder / 'relay.py'} %h %p")
    channel = channel_to(server, "echo through", "relayed")
    assert everything(channel) == b"through\n"
    channel.close()


def test_a_connection_that_is_destroyed_is_a_lost_link_and_its_jobs_run_again(server: Server) -> None:
    before = set(server.sessions())
    placement = serve_on(server)
    tasks = [task(placement, str(number), f"import time; time.sleep(0.05); print({number})") for number in range(60)]

    class Kills(Kept):
        def finished(self, outcome: object) -> bool:
            if len(self.events) == 5:
                for pid in set(server.sessions()) - before:
                    os.kill(pid, signal.SIGKILL)
            return super().finished(outcome)  # type: ignore[arg-type]

    kept = execute(*tasks, sink=Kills(), timing=TIMING)
    assert [kept.stdout(str(number)) for number in range(60)] == [b"%d\n" % number for number in range(60)]
    lost = [outcome for outcome in kept.outcomes if outcome.retried]
    assert lost
    assert {outcome.result.lost.partition(":")[0] for outcome in lost} == {"link"}


def test_nothing_is_left_on_a_host_whose_connection_is_cut(server: Server) -> None:
    placement = serve_on(server)
    kept = Kept()
    dispatcher = Dispatcher(TIMING)
    dispatcher.execute([task(placement, "one", "print(1)")], kept)
    hello = dispatcher.hello(placement.machine)
    assert hello is not None
    for pid in server.sessions():
        os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not Path(f"/proc/{hello.pid}").exists())
    dispatcher.close(abort=True)


def test_much_stdout_is_hashed_where_it_is_made(server: Server) -> None:
    size = 256 << 20
    program = f"import os\nfor _ in range({size >> 20}): os.write(1, bytes(1 << 20))"
    kept = execute(task(serve_on(server), "much", program, output=size))
    result = kept.of("much").result
    assert (result.ending, result.stdout.size) == (Ending.EXITED, size)
