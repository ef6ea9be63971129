"""A project for campaigns: many quick fixtures that agree, diverge, fail and write; each execution leaves a line in a log.

The log is outside of the store and written by the programs themselves, so that nobody has to be believed about how
often they ran.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

_LOGGED = """\
import os, sys
log = os.open(%r, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
os.write(log, b"%s@cp%%d%%d\\n" %% sys.version_info[:2])
os.close(log)
"""
# body, what is expected, and what fixture.yaml says
_KINDS = (
    ("print('steady', 1 + 1)", b"steady 2\n", ""),
    ("print(sum(range(1000)))", b"499500\n", ""),
    ("print(sys.version_info[:2])", b"(3, 12)\n", ""),
    ("sys.stdout.write(sys.stdin.read().upper())", b"ASKED\n", ""),
    ("print('status'); sys.exit(3)", b"status\n", ""),
    ("print('own status'); sys.exit(4)", b"own status\n", "goldens: [{exit: 4}]\n"),
    ("print('words', file=sys.stderr); print('other')", b"another\n", ""),
    ("sys.stdout.write(('%d ' * 40000) % ((7,) * 40000))", b"short\n", ""),
    ("os.kill(os.getpid(), 9)", b"never\n", ""),
    ("print(os.getcwd() != '/', sorted(os.listdir('.')))", b"True ['main.py']\n", ""),
    ("sys.stdout.buffer.write(bytes(range(256)) * 9)", bytes(range(256)) * 9, ""),
    ("print('skipped')", b"skipped\n", 'skip: {when: "os=linux and python<3.12", because: "campaign"}\n'),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignProject:
    """A project on disk, and the log of its executions."""

    folder: Path
    log: Path

    def executions(self) -> Counter[str]:
        """How often each fixture was started in each interpreter, as ``name@cp312``."""
        return Counter(self.log.read_text().split() if self.log.exists() else ())


def write(folder: Path, fixtures: int) -> CampaignProject:
    """Write a project of so many fixtures into an empty folder."""
    log = folder / "executions"
    versions = sorted({(3, 11), (3, 12), (3, 13), sys.version_info[:2]})  # those that are not here are not verified
    pythons = ", ".join(f'"{major}.{minor}"' for major, minor in versions)
    (folder / "matrix.yaml").write_text(f"platforms: [local]\npythons: [{pythons}]\n")
    for number in range(fixtures):
        body, expected, declared = _KINDS[number % len(_KINDS)]
        if number % len(_KINDS) == 6:
            body = body.replace("other", f"other {number}")  # outputs that are all different: many blobs
        home = folder / "fixtures" / f"f{number:03}"
        home.mkdir(parents=True)
        (home / "main.py").write_text(_LOGGED % (str(log), home.name) + body + "\n")
        (home / "expected.stdout").write_bytes(expected)
        if "stdin" in body:
            (home / "stdin").write_bytes(b"asked\n")
        if declared:
            (home / "fixture.yaml").write_text(declared)
    return CampaignProject(folder=folder, log=log)
