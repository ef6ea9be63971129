"""The tools that are compared, each as one command over the same programs with the same interpreter and slots.

harness, the bare interpreter under xargs (the floor), and two rivals in the quickest form that their manuals offer.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.subject import Subject

Command = Sequence[str | Path]

HARNESS, FLOOR, XDIST, LIT = "harness run", "xargs -P", "pytest-xdist", "lit"

# The console script, plus a note of its own peak memory: VmHWM, since ru_maxrss begins with what the parent had.
_CONTROLLER = """
import atexit, sys

note = sys.argv.pop(1)


@atexit.register
def write_peak():
    try:
        lines = open("/proc/self/status").read().splitlines()
    except OSError:
        return
    open(note, "w").writelines(line.split()[1] for line in lines if line.startswith("VmHWM:"))


from harness.cli import main

main()
"""

_PYTEST = """
import subprocess
from pathlib import Path

import pytest

ENVIRONMENT = {environment!r}
PROGRAMS = sorted(Path({corpus!r}).glob("*/main.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.parent.name)
def test_golden(program):
    done = subprocess.run([{python!r}, program], capture_output=True, env=ENVIRONMENT)
    assert done.returncode == 0
    assert done.stdout == program.with_name("expected.stdout").read_bytes()
"""

_LIT = """
import lit.formats

config.name = "corpus"
config.test_format = lit.formats.ShTest()
config.suffixes = [".py"]
config.test_source_root = {corpus!r}
config.test_exec_root = {output!r}
config.environment = {environment!r}
config.substitutions.append(("%python", {python!r}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One way to run the corpus."""

    name: str
    command: Command
    environment: dict[str, str]
    folder: Path | None = None


def script(name: str) -> str | None:
    """A command of the environment that runs us, else of PATH."""
    return shutil.which(name, path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]))


def own_environment(folder: Path) -> dict[str, str]:
    """What the tools themselves run in: bytecode kept, as wherever they are installed, but in a folder of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON") or name == "PYTHONPATH"}
    # Plugins of pytest that happen to be installed would count against it.
    return kept | {"PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def make_tools(folder: Path, matrix: Path, subject: Subject, slots: int) -> tuple[list[Tool], list[str]]:
    """The tools that are here, harness first, and sentences about those that are not."""
    corpus = matrix.parent / "fixtures"
    facts = {"corpus": str(corpus), "environment": subject.environment, "python": str(subject.python)}
    (folder / "controller.py").write_text(_CONTROLLER, encoding="utf-8")
    run: Command = [sys.executable, folder / "controller.py", folder / "peak", "run", "-c", matrix, "-n", str(slots)]
    own = own_environment(folder)
    tools, missing = [Tool(name=HARNESS, command=run, environment=own)], []
    if xargs := script("xargs"):
        programs = folder / "programs"
        programs.write_text("".join(f"{path}\n" for path in sorted(corpus.glob("*/main.py"))), encoding="utf-8")
        command: Command = [xargs, "-a", programs, "-n", "1", "-P", str(slots), subject.python]
        tools.append(Tool(name=FLOOR, command=command, environment=subject.environment))
    else:
        missing.append(f"{FLOOR}: there is no xargs here, hence no floor")
    if importlib.util.find_spec("pytest") and importlib.util.find_spec("xdist"):
        (folder / "pytest").mkdir()
        (folder / "pytest" / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (folder / "pytest" / "test_corpus.py").write_text(_PYTEST.format(**facts), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "xdist", "-n", str(slots)]
        tools.append(Tool(name=XDIST, command=command, environment=own, folder=folder / "pytest"))
    else:
        missing.append(f"{XDIST}: not installed")
    lit = script("lit")
    if lit and shutil.which("cmp", path=subject.environment["PATH"]):
        (folder / "lit").mkdir()
        text = _LIT.format(**facts, output=str(folder / "lit-output"))
        (folder / "lit" / "lit.cfg").write_text(text, encoding="utf-8")
        tools.append(Tool(name=LIT, command=[lit, "-q", "-j", str(slots), folder / "lit"], environment=own))
    else:
        missing.append(f"{LIT}: lit or cmp is not here")
    return tools, missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Seconds of one call: on the clock, and of processors in all its processes, which other load disturbs less."""

    clock: float
    processors: float


def timed(tool: Tool) -> Spent:
    """What one call took; raise RuntimeError with its last words when it did not end with 0."""
    with tempfile.TemporaryFile() as said:
        before, began = os.times(), time.perf_counter()
        done = subprocess.run(
            tool.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if tool.name == FLOOR else said,
            stderr=said,
            env=tool.environment,
            cwd=tool.folder,
            check=False,
        )
        clock, after = time.perf_counter() - began, os.times()
        if done.returncode != 0:
            said.seek(0)
            words = said.read().decode("utf-8", "replace")[-2000:]
            raise RuntimeError(f"{tool.name} ended with {done.returncode}:\n{words}")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Spent(clock=clock, processors=used)
