"""Stores to test with, closed again; small file systems that fill up, where this machine lets us mount them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.store.database import Store
from tests.store.samples import run_record


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".harness"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with Store.open(folder) as opened:
        opened.begin(run_record())
        yield opened


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount, or mount again with other options, a file system in memory."""
    point = tmp_path / "disk"
    point.mkdir()
    mounted: list[str] = []

    def mount(options: str) -> Path:
        remount = ",remount" if mounted else ""
        command = ["mount", "-t", "tmpfs", "-o", options + remount, "none", str(point)]
        if sys.platform != "linux" or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no file system can be mounted here: this needs Linux and the rights of root")
        mounted.append(options)
        return point

    yield mount
    if mounted:
        subprocess.run(["umount", "--lazy", str(point)], check=True)
