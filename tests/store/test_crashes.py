"""What was acknowledged outlives every death of the writer, and is there once."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from harness.store.database import Store
from tests.store.samples import batch

if sys.platform == "win32":
    pytest.skip("deaths by signal and limits on file sizes are POSIX's", allow_module_level=True)

ROOT = Path(__file__).parents[2]
BATCHES = 40
UNDISTURBED = batch(0, BATCHES * 8)


def writer(folder: Path, moment: str = "never:0", batches: int = BATCHES) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.store.writer", str(folder), str(batches), moment]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)


def acknowledged(output: bytes) -> int:
    return len(output.split())


def resumes_to_the_undisturbed_set(folder: Path, batches_acknowledged: int) -> None:
    """Assert nothing lost, nothing twice, at most one batch more than acknowledged, and all of it after a second go."""
    kept = Store.read(folder)
    with closing(sqlite3.connect(folder / "harness.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with kept:
        found = kept.observations("run-1")
    assert found in (UNDISTURBED[: batches_acknowledged * 8], UNDISTURBED[: (batches_acknowledged + 1) * 8])
    with Store.open(folder) as store:
        for index in range(BATCHES):
            assert store.record("run-1", batch(index * 8)) == ()
        assert store.observations("run-1") == UNDISTURBED


@pytest.mark.parametrize("moment", ["before-commit", "after-commit"])
@pytest.mark.parametrize("index", [0, 7])
def test_a_writer_killed_around_its_commit_loses_nothing_acknowledged(tmp_path: Path, moment: str, index: int) -> None:
    process = writer(tmp_path / ".harness", f"{moment}:{index}")
    output, _ = process.communicate()
    assert (process.returncode, acknowledged(output)) == (-signal.SIGKILL, index)
    with Store.read(tmp_path / ".harness") as store:
        assert len(store.observations("run-1")) == 8 * (index + (moment == "after-commit"))
    resumes_to_the_undisturbed_set(tmp_path / ".harness", index)


@pytest.mark.parametrize("extra", [1, 4096, 3 * 4096 + 17])
def test_a_writer_that_dies_in_the_middle_of_a_write_leaves_a_store_that_heals(tmp_path: Path, extra: int) -> None:
    folder = tmp_path / ".harness"
    with Store.open(folder):
        size = (folder / "harness.db").stat().st_size
    process = writer(folder, f"file-size:{size + extra}")
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGXFSZ
    assert (folder / "harness.db-journal").exists()  # half a commit lies in the file
    resumes_to_the_undisturbed_set(folder, acknowledged(output))
    assert not (folder / "harness.db-journal").exists()


@pytest.mark.parametrize("seed", range(6))
def test_a_writer_killed_at_any_moment_loses_nothing_acknowledged(tmp_path: Path, seed: int) -> None:
    choice = random.Random(seed)
    process = writer(tmp_path / ".harness")
    assert process.stdout is not None
    output = b"".join(process.stdout.readline() for _ in range(choice.randrange(1, BATCHES // 2)))
    time.sleep(choice.random() / 100)
    process.kill()
    rest, _ = process.communicate()
    resumes_to_the_undisturbed_set(tmp_path / ".harness", acknowledged(output + rest))


def test_a_write_that_the_system_refuses_is_local_trouble_and_the_store_stays_intact(tmp_path: Path) -> None:
    folder = tmp_path / ".harness"
    with Store.open(folder):
        size = (folder / "harness.db").stat().st_size
    process = writer(folder, f"full:{size + 5 * 4096}")
    output, _ = process.communicate()
    *numbers, trouble = output.splitlines()
    assert process.returncode == 6
    assert trouble.startswith(b"error[H0701]: " + bytes(folder / "harness.db"))
    resumes_to_the_undisturbed_set(folder, len(numbers))


def test_two_writers_at_once_end_as_if_one_had_followed_the_other(tmp_path: Path) -> None:
    processes = [writer(tmp_path / ".harness") for _ in range(3)]
    assert [acknowledged(process.communicate()[0]) for process in processes] == [BATCHES] * 3
    assert [process.returncode for process in processes] == [0] * 3
    resumes_to_the_undisturbed_set(tmp_path / ".harness", BATCHES)
