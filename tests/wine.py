"""A real Windows CPython for the tests: under wine, in a container of the lab's image that is kept up for them.

Whoever uses it names ``wine`` (a fixture of tests/conftest.py); without docker or the image that test is skipped.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from harness.model.cell import Cell
from harness.model.platform import Platform, PythonTag
from harness.runners.base import Placement
from harness.runners.local import LocalChannel

IMAGE = "lab/windows-wine"
VERSIONS = ("3.12.1", "3.13.0")
TEMPORARY = "/wp/drive_c/users/root/AppData/Local/Temp"
WINDOWS = Cell(platform=Platform.parse("windows-amd64"), python=PythonTag.parse("cp312"))
# A Python that is kept waiting keeps wine's services up, and makes each start five times as fast.
_KEEP_UP = f"sleep 86400 | winpy {VERSIONS[0]} -c 'import sys; sys.stdin.read()'"


def missing() -> str:
    """Why there is no wine here; empty when there is."""
    if not shutil.which("docker"):
        return "needs docker"
    if subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True).returncode:
        return f"needs the image {IMAGE}, which the lab builds"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wine:
    """A running container with Windows Pythons."""

    container: str

    @classmethod
    def start(cls) -> Wine:
        """Start a container; it removes itself when it is stopped."""
        options = ["--detach", "--rm", "--network", "none", "--label", "harness-lab=1"]
        done = subprocess.run(
            ["docker", "run", *options, IMAGE, "sh", "-c", _KEEP_UP], capture_output=True, text=True, check=True
        )
        return cls(container=done.stdout.strip())

    def stop(self) -> None:
        """Remove the container."""
        subprocess.run(["docker", "rm", "--force", self.container], capture_output=True, check=True)

    def sh(self, command: str) -> str:
        """What a shell command in the container says."""
        return subprocess.run(
            ["docker", "exec", self.container, "sh", "-c", command], capture_output=True, text=True
        ).stdout

    def channel(self, *words: str, version: str = VERSIONS[0]) -> LocalChannel:
        """The pipes of an agent in there. ``words`` are put before its Python."""
        return LocalChannel("docker", "exec", "-i", self.container, *words, "winpy", version)

    def serve(self, *subject: str, slots: int = 2, version: str = VERSIONS[0]) -> Placement:
        """The placement of a Windows cell, with the Python of the agent as the subject unless another one is named."""
        return Placement(
            cell=WINDOWS,
            runner="docker",
            machine=f"wine {version}",
            slots=slots,
            subject=subject or (rf"Z:\py\{version}\python.exe",),
            isolation="container",
            connect=lambda: self.channel(version=version),
        )

    def processes(self) -> list[str]:
        """The Windows Pythons and consoles that run, but for the Python that keeps wine up."""
        lines = self.sh("ps -o args").splitlines()
        return [
            line for line in lines if re.search(r"python\.exe|conhost\.exe", line) and "sys.stdin.read()" not in line
        ]

    def folders(self) -> list[str]:
        """What is in the folder for temporary files."""
        return sorted(self.sh(f"ls -A {TEMPORARY}").split())
