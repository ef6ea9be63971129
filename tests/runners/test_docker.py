"""The docker runner: what a container may not do, what it is asked for, and what is said when there is none."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

from harness.engine.dispatch import Outcome
from harness.errors import CellUnavailable
from harness.model.cell import Cell
from harness.model.observation import Ending
from harness.model.platform import Platform, PythonTag
from harness.model.reach import DockerOptions, RunnerEntry, Subject
from harness.runners.base import Channel, python_of
from harness.runners.container import DockerChannel
from harness.runners.daemon import connect_daemon, is_orphan, owner_mark
from harness.runners.docker import DockerRunner, isolation_of
from harness.runners.images import docker_platform, recipe_names
from tests.containers import GLIBC, cell_in, needs, ours, serve_in
from tests.rig import Kept, eventually, execute, task

LOOK = """
import json, os, socket
def text(path):
    with open(path) as file:
        return file.read()
def refused(act):
    try:
        act()
    except OSError as error:
        return error.strerror
    return "done"
GIVEN = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")  # Docker's own, read-only where the root is
status = dict(line.split(":\\t", 1) for line in text("/proc/self/status").splitlines() if ":\\t" in line)
mounts = [line.split() for line in text("/proc/mounts").splitlines()]
print(json.dumps({
    "user": [os.getuid(), os.getgid(), os.getgroups()],
    "capabilities": [int(status["Cap" + name], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")],
    "no new privileges": status["NoNewPrivs"],
    "filtered": status["Seccomp"],
    "root": refused(lambda: open("/made", "w")),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "daemon": [path for path in ("/var/run/docker.sock", "/run/docker.sock") if os.path.exists(path)],
    "tmp": os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize,
    "devices": sorted(m[1] for m in mounts if m[0].startswith("/dev/") and m[1] not in GIVEN),
    "writable": sorted(
        m[1] for m in mounts if m[3].startswith("rw") and os.path.isdir(m[1]) and m[2] != "proc" and os.access(m[1], os.W_OK)
    ),
    "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
}))
"""


@needs(GLIBC)
def test_a_fixture_in_a_container_has_no_rights_no_network_and_no_place_but_its_own() -> None:
    kept = execute(task(serve_in(cell_in(), slots=1), "look", LOOK))
    seen = json.loads(kept.stdout("look"))
    tmp, processes, writable = seen.pop("tmp"), seen.pop("processes"), seen.pop("writable")
    assert seen == {
        "user": [1000, 1000, [1000]],
        "capabilities": [0, 0, 0, 0, 0],
        "no new privileges": "1",
        "filtered": "2",
        "root": "Read-only file system",
        "interfaces": ["lo"],
        "daemon": [],
        "devices": [],
    }
    assert tmp == DockerOptions().tmpfs
    assert processes == 3  # the agent, its worker, and itself
    assert set(writable) <= {"/tmp", "/dev/shm", "/dev/mqueue"}


@needs(GLIBC)
def test_a_cell_may_loosen_what_it_names() -> None:
    options = DockerOptions(
        image=GLIBC,
        python=("python3",),
        user="0:0",
        writable_root=True,
        capabilities=("SYS_PTRACE",),
        new_privileges=True,
        tmpfs=64 << 20,
        because=(("root", "it is tried"),),
    )
    placement = serve_in(cell_in(options=options), slots=1)
    assert placement.isolation == "container; root loosened: it is tried"
    seen = json.loads(execute(task(placement, "look", LOOK)).stdout("look"))
    assert (seen["user"][0], seen["root"], seen["no new privileges"]) == (0, "done", "0")
    assert (seen["capabilities"][2], seen["tmp"]) == (1 << 19, 64 << 20)


@needs(GLIBC)
def test_what_a_job_leaves_in_its_container_is_gone_with_it() -> None:
    placement = serve_in(cell_in())
    execute(
        task(
            placement, "leaves", "open('/tmp/left', 'w').close(); import os; os.fork() or __import__('time').sleep(600)"
        )
    )
    assert eventually(lambda: ours() == [])
    assert execute(task(placement, "looks", "import os; print(os.listdir('/tmp'))")).stdout("looks").count(b"left") == 0


CONTROLLER = """
from tests.containers import cell_in, serve_in
from tests.rig import execute, task
from harness.runners.daemon import owner_mark
print(owner_mark(), flush=True)
execute(task(serve_in(cell_in()), "waits", "import time; time.sleep(600)", timeout=900))
"""


@needs(GLIBC)
def test_a_container_does_not_outlive_a_controller_that_is_killed() -> None:
    process = subprocess.Popen([sys.executable, "-c", CONTROLLER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, closing(connect_daemon()) as client:
        mark = process.stdout.readline().strip()

        def states() -> list[str]:
            return [one["State"] for one in client.containers(all=True, filters={"label": f"harness.owner={mark}"})]

        assert eventually(lambda: states() == ["running"])
        process.kill()
        process.wait()
        assert is_orphan(mark, is_running=True)
        assert eventually(lambda: states() == [])


@needs(GLIBC)
def test_a_container_that_is_killed_is_lost_with_its_exit_status() -> None:
    channel = serve_in(cell_in()).connect()
    assert isinstance(channel, DockerChannel)
    heard = _until_started(channel)
    with closing(connect_daemon()) as client:
        client.kill(channel.id)
    assert eventually(lambda: channel.explain() == "killed by signal 9")
    channel.close()
    heard.join(10)
    assert channel.read() == b""


def _until_started(channel: DockerChannel) -> threading.Thread:
    reader = threading.Thread(target=channel.read, daemon=True)
    reader.start()
    with closing(connect_daemon()) as client:
        assert eventually(lambda: bool(channel.id) and client.inspect_container(channel.id)["State"]["Running"])
    return reader


@needs(GLIBC)
def test_a_channel_closed_before_it_was_read_starts_nothing() -> None:
    channel: Channel = serve_in(cell_in()).connect()
    channel.close()
    assert channel.read() == b""
    assert ours() == []


def test_without_a_daemon_the_cell_has_no_docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for address in (f"unix://{tmp_path}/none.sock", "tcp://127.0.0.1:9"):
        monkeypatch.setenv("DOCKER_HOST", address)
        runner = DockerRunner(root=tmp_path)
        for _ in range(2):
            with pytest.raises(CellUnavailable, match="no Docker daemon answers") as caught:
                runner.place(cell_in(), cell_in().runners[0])
            assert caught.value.reason == "no-docker"


def test_a_cell_that_names_no_image_is_not_for_containers_and_no_daemon_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    cells = [
        Cell(platform=Platform.parse(platform), python=PythonTag.parse("3.12"))
        for platform in ("linux-musl-x86_64", "macos-arm64")
    ]
    for cell in cells:
        with pytest.raises(CellUnavailable) as caught:
            DockerRunner(root=tmp_path).place(cell, RunnerEntry(name="docker"))
        assert caught.value.reason == "no-runner"
    with pytest.raises(CellUnavailable, match="no container is a macos-arm64") as caught:
        DockerRunner(root=tmp_path).place(cells[1], RunnerEntry(name="docker", docker=DockerOptions(image="x")))
    assert caught.value.reason == "no-runner"


@needs(GLIBC)
def test_a_file_of_the_subject_that_is_not_there_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(CellUnavailable, match="gopy is not there"):
        serve_in(cell_in(python="gopy", subject=Subject(command=("gopy",), files=("gopy",))), root=tmp_path)


@pytest.mark.parametrize(
    ("platform", "image"),
    [
        ("linux-glibc-x86_64", "linux/amd64"),
        ("linux-musl-aarch64", "linux/arm64"),
        ("linux-glibc-i686", "linux/386"),
        ("linux-glibc-armv7l", "linux/arm/v7"),
        ("linux-glibc-s390x", "linux/s390x"),
        ("linux-glibc-riscv64", "linux/riscv64"),
        ("linux-glibc-ppc64le", "linux/ppc64le"),
        ("windows-amd64", ""),
        ("macos-arm64", ""),
    ],
)
def test_a_platform_is_spelt_as_docker_does(platform: str, image: str) -> None:
    assert docker_platform(platform.split("-")) == image


@pytest.mark.parametrize(
    ("python", "host"),
    [
        ("3.12", "python3.12"),
        ("3.13t", "python3.13t"),
        ("3.14d", "python3.14d"),
        ("pp311", "pypy3.11"),
        ("gopy", "python3"),
    ],
)
def test_the_agents_python_goes_by_name_and_version(python: str, host: str) -> None:
    cell = Cell(platform=Platform.parse("linux-musl-x86_64"), python=PythonTag.parse(python))
    assert python_of(cell) == host
    assert recipe_names("linux-musl-x86_64", "gopy+jit") == ("linux-musl-x86_64-gopy.jit", "linux-musl-x86_64")


def test_isolation_names_what_was_taken_down() -> None:
    assert isolation_of(DockerOptions()) == "container"
    loosened = DockerOptions(because=(("network", "a server is asked"), ("user", "it mounts")))
    assert isolation_of(loosened) == "container; network loosened: a server is asked; user loosened: it mounts"


def test_our_own_mark_is_no_orphans() -> None:
    assert not is_orphan(owner_mark(), is_running=True)
    system, _, began = owner_mark().rpartition("/")
    assert is_orphan(f"{system}/{began}1", is_running=True)  # the number was given to another process since
    assert not is_orphan("other/pid:[1]/1/1", is_running=True)
    assert is_orphan("nonsense", is_running=False)


class Between:
    """A daemon that can go away: a socket whose connections are passed on to the real one, until it is severed."""

    def __init__(self, path: Path) -> None:
        self._ends: list[socket.socket] = []
        self._is_severed = False
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self.address = f"unix://{path}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect("/var/run/docker.sock")
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def sever(self) -> None:
        """Go away, in the middle of whatever is being said."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@needs(GLIBC)
def test_a_daemon_that_goes_away_is_a_loss_and_never_a_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    daemon = Between(tmp_path / "docker.sock")
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", daemon.address)
        placement = serve_in(cell_in())

        class Severing(Kept):
            """Cuts the line as soon as the first result is there."""

            def finished(self, outcome: Outcome) -> bool:
                if outcome.task.key[0] == "first":
                    daemon.sever()
                return super().finished(outcome)

        kept = execute(
            task(placement, "first", "print('said')"),
            task(placement, "second", "import time; time.sleep(3); print('said')"),
            sink=Severing(),
        )
    assert kept.stdout("first") == b"said\n"
    assert kept.of("second").result.ending is Ending.LOST
    assert any("the Docker daemon went away" in outcome.result.lost for outcome in kept.outcomes)
    assert eventually(lambda: ours() == [])
