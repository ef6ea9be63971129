"""How the command line ends when somebody ends it: signals, readers that leave, disks that are full."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import ENTRY, HERE, Project

if sys.platform == "win32":
    pytest.skip("signals and mounts are POSIX's", allow_module_level=True)

WAITING = """\
import os, time
open(%r, "w").close()
while not os.path.exists(%r):
    time.sleep(0.01)
print("yes")
"""


@pytest.fixture
def waiting(project: Project) -> Project:
    """A project of quick fixtures, and one that waits until the file ``go`` is there."""
    for number in range(4):
        project.fixture(f"f{number}", "print('yes')")
    started, go = project.folder / "started", project.folder / "go"
    project.fixture("waiting", WAITING % (str(started), str(go)), declared="timeout: 60\n")
    return project


def until(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} never came"
        time.sleep(0.01)


def begun(project: Project) -> subprocess.Popen[str]:
    """A run that has got to the fixture that waits."""
    process = project.start("run", env={**os.environ, "TMPDIR": str(private(project))})
    until(project.folder / "started")
    return process


def private(project: Project) -> Path:
    folder = project.folder.parent / "tmp"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_one_signal_ends_a_run_in_order_and_it_can_be_resumed(
    waiting: Project, number: signal.Signals, status: int, word: str
) -> None:
    process = begun(waiting)
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (status, "")
    assert err.splitlines()[-1] == f"harness: {word}"
    assert "Traceback" not in err
    assert list(private(waiting).iterdir()) == []
    command = shlex.split(err.partition("`")[2].partition("`")[0])
    assert command[:3] == ["harness", "run", "--resume"]
    (waiting.folder / "go").touch()
    done = waiting(*command[1:], "--json")
    assert (done.status, set(done.verdicts().values())) == (0, {"agree"})
    assert done.report["run"]["id"] == command[3]
    assert waiting("run", "--resume").status == 4


def test_a_second_signal_ends_it_at_once(waiting: Project) -> None:
    process = begun(waiting)
    os.kill(process.pid, signal.SIGSTOP)  # so that both are waiting when it goes on
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    os.kill(process.pid, signal.SIGCONT)
    _, err = process.communicate(timeout=10)
    assert process.returncode in (130, 143)
    assert "Traceback" not in err
    (waiting.folder / "go").touch()
    assert waiting("run", "--resume").status == 0


def test_a_run_in_the_background_does_not_take_the_interrupt_of_the_foreground(waiting: Project) -> None:
    command = f"trap '' INT; exec {shlex.join(ENTRY)} run"
    process = subprocess.Popen(
        ["sh", "-c", command], cwd=waiting.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until(waiting.folder / "started")
    process.send_signal(signal.SIGINT)
    (waiting.folder / "go").touch()
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_an_interrupt_ends_the_commands_that_prepare(project: Project) -> None:
    (project.folder / "corpus").mkdir()
    for name in ("one", "two", "three"):
        (project.folder / "corpus" / f"{name}.txt").write_text(name)
        (project.folder / "corpus" / f"{name}.out").write_text(name)
    slow = "echo $$ >> pids; touch started; exec sleep 60 {source} {output}"
    project.matrix(
        f'platforms: [local]\npythons: ["{HERE}"]\ncorpora:\n'
        f"  - {{path: corpus, source: '*.txt', prepare: [sh, -c, '{slow}']}}\n"
    )
    process = project.start("run")
    until(project.folder / "started")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    for pid in map(int, (project.folder / "pids").read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert list((project.folder / ".harness" / "prepared").glob("*/making-*")) == []


def piped(project: Project, command: str) -> subprocess.CompletedProcess[str]:
    line = command.replace("harness", shlex.join(ENTRY))
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], cwd=project.folder, capture_output=True, text=True
    )


def test_a_reader_that_leaves_early_is_no_error_to_be_told(project: Project) -> None:
    for number in range(3000):
        (project.folder / "fixtures").mkdir(exist_ok=True)
        (project.folder / "fixtures" / f"a-name-that-is-long-enough-to-fill-a-pipe-{number}.py").touch()
        (project.folder / "fixtures" / f"a-name-that-is-long-enough-to-fill-a-pipe-{number}.out").touch()
    done = piped(project, "harness list jobs | head -1")
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (141, 1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_output_that_cannot_be_written_is_trouble_of_this_computer(project: Project) -> None:
    project.fixture("one", "print('yes')")
    done = piped(project, "harness list jobs > /dev/full")
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr.startswith("harness: error[H0705]: stdout: cannot be written: No space left")
    assert len(done.stderr.splitlines()) == 2


def test_a_name_that_the_terminal_cannot_show_is_escaped(project: Project) -> None:
    project.fixture("Ω", "print('yes')")
    done = project("list", "fixtures", env={"PYTHONIOENCODING": "latin-1"})
    assert (done.status, done.out) == (0, "fixtures/\\u03a9\n")


@pytest.fixture
def small_disk(project: Project) -> Iterator[Path]:
    """A file system of 64 KiB in memory where the project's store is."""
    point = project.folder / "disk"
    point.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k,mode=0700", "none", str(point)]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here: this needs Linux and the rights of root")
    project.matrix(f'platforms: [local]\npythons: ["{HERE}"]\nstore: disk/store\n')
    yield point
    subprocess.run(["umount", "--lazy", str(point)], check=True)


def test_a_full_store_ends_the_run_naming_the_path_and_what_was_recorded_is_intact(
    project: Project, small_disk: Path
) -> None:
    for number in range(6):
        project.fixture(f"f{number}", f"print('{number}' * 30000)")
    done = project("run")
    assert (done.status, "H0701" in done.err) == (6, True)
    assert "disk/store" in done.err
    assert "no space is left on the disk" in done.err
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert project("run", "--resume").status == 1
    assert len(project("report", "--json").report["jobs"]) == 6


def test_a_read_only_store_can_be_read_and_not_written(project: Project, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    project.fixture("one", "print('yes')")
    assert project("run").status == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    done = project("run")
    assert (done.status, "disk/store" in done.err, "read-only" in done.err) == (6, True, True)
    assert project("report").status == 0
