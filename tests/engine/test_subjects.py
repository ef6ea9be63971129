"""A subject that cannot host the agent is a cell all the same: it runs beside one, and tells of itself what it can."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.engine.cells import survey
from harness.engine.dispatch import Dispatcher
from harness.engine.provision import build
from harness.model.cell import Cell
from harness.model.platform import Platform, PythonTag
from harness.model.reach import DockerOptions, Subject
from harness.model.report import CellReport
from harness.model.verdict import Kind
from harness.runners.base import Runner
from harness.runners.docker import DockerRunner
from harness.runners.local import LocalRunner, this_platform
from tests.containers import GLIBC, cell_in, forget, needs
from tests.rig import Kept, task

LAB = Path(os.environ.get("HARNESS_LAB", "/var/tmp/harness-lab"))
PYODIDE = sorted(LAB.glob("pyodide-*/pyrun.mjs"))
MICROPYTHON = "lab/micropython-amd64"
PROGRAM = "import sys\nprint(sys.implementation.name, *sys.argv[1:])"


def look_and_run(cell: Cell, root: Path, program: str = PROGRAM) -> tuple[CellReport, bytes]:
    """What the survey makes of the cell, and what one program says there."""
    runners: dict[str, Runner] = {"local": LocalRunner(root=root), "docker": DockerRunner(root=root)}
    kept = Kept()
    with Dispatcher() as dispatcher:
        (surveyed,) = survey((cell,), runners, dispatcher)
        if surveyed.placement is None:
            return surveyed.report, b""
        dispatcher.execute([task(surveyed.placement, "program", program, args=("a b", "ü"))], kept)
    return surveyed.report, kept.stdout("program")


def here(python: str, command: Sequence[str], files: Sequence[str] = (), platform: Platform | None = None) -> Cell:
    return Cell(
        platform=platform or this_platform(),
        python=PythonTag.parse(python),
        subject=Subject(command=tuple(command), files=tuple(files)),
    )


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.skipif(not PYODIDE or not shutil.which("node"), reason="this takes node and the lab's Pyodide")
@pytest.mark.usefixtures("ground")
def test_pyodide_is_a_cell_of_this_computer(tmp_path: Path) -> None:
    cell = here("3.12", ["node", str(PYODIDE[0])], platform=Platform.parse("emscripten-wasm32"))
    report, said = look_and_run(cell, tmp_path)
    assert report.verdict is None, report.verdict
    assert (report.runner, report.isolation) == ("local", "none")
    assert report.facts is not None
    assert (report.facts.os, report.facts.arch, report.facts.emulation) == ("emscripten", "wasm32", "wasm")
    assert said == "cpython a b ü\n".encode()


@needs(GLIBC, MICROPYTHON)
def test_micropython_runs_under_an_agent_in_an_image_that_also_has_a_python(tmp_path: Path) -> None:
    recipe = tmp_path / "runners" / "images" / "linux-glibc-x86_64-micropython"
    recipe.mkdir(parents=True)
    (recipe / "Dockerfile").write_text(f"FROM {MICROPYTHON} AS subject\nFROM {GLIBC}\nCOPY --from=subject / /\n")
    build(tmp_path, (), (), lambda message: None)
    cell = cell_in(
        python="micropython", subject=Subject(command=("micropython",)), options=DockerOptions(python=("python3",))
    )
    try:
        report, said = look_and_run(cell, tmp_path)
    finally:
        forget("harness/linux-glibc-x86_64-micropython")
    assert report.verdict is None, report.verdict
    assert report.facts is not None
    assert (report.facts.implementation, report.facts.libc) == ("micropython", "glibc")
    assert said == "micropython a b ü\n".encode()


@needs("lab/pypy-amd64")
def test_pypy_hosts_the_agent_and_is_the_subject(tmp_path: Path) -> None:
    report, said = look_and_run(cell_in("lab/pypy-amd64", python="pp311", host=("pypy3",)), tmp_path)
    assert report.verdict is None, report.verdict
    assert (report.runner, report.isolation) == ("docker", "container")
    assert said == "pypy a b ü\n".encode()


@needs(MICROPYTHON)
def test_an_image_without_a_python_for_the_agent_says_so(tmp_path: Path) -> None:
    for host, reason in ((("python3",), "no-interpreter"), (("micropython",), "broken-interpreter")):
        report, _ = look_and_run(cell_in(MICROPYTHON, python="micropython", host=host), tmp_path)
        assert report.verdict is not None
        assert (report.verdict.kind, report.verdict.reason) == (Kind.UNAVAILABLE, reason)
        assert MICROPYTHON in report.verdict.message


POOR = """
case "$(cat "$1")" in
    *harness-least*) printf '\\nharness-least:linux|Gopy|3.12.0\\n' ;;
    *elf*) echo "SyntaxError: only print" >&2; exit 1 ;;
    *) echo hello ;;
esac
"""


@pytest.mark.usefixtures("ground")
def test_a_subject_that_can_little_more_than_print_tells_its_name_and_version(tmp_path: Path) -> None:
    script(tmp_path / "gopy", POOR)
    report, said = look_and_run(here("gopy", ["./gopy"], ["gopy"]), tmp_path)
    assert report.verdict is None, report.verdict
    assert report.facts is not None
    assert report.facts.axes() == {
        "os": "linux",
        "implementation": "gopy",
        "python": "3.12",
        "patch": "3.12.0",
        "build": "default",
        "emulation": "unknown",
    }
    assert said == b"hello\n"


@needs(GLIBC)
def test_files_of_a_subject_are_laid_in_its_container_and_cannot_be_changed(tmp_path: Path) -> None:
    # Whoever may write to it here may not there.
    script(tmp_path / "gopy", POOR.replace("echo hello", 'echo "$0"; echo x 2>&1 >>"$0" | cut -d: -f4')).chmod(0o777)
    cell = cell_in(python="gopy", subject=Subject(command=("./gopy",), files=("gopy",)))
    report, said = look_and_run(cell, tmp_path)
    assert report.verdict is None, report.verdict
    assert said == b"/harness/gopy\n Read-only file system\n"


@pytest.mark.usefixtures("ground")
@pytest.mark.parametrize(
    ("command", "files", "says"),
    [
        (("nowhere-to-be-found",), (), "nowhere-to-be-found is not there"),
        (("./gopy",), (), "private folder of each job"),
        (("./gopy",), ("gopy",), "gopy is not there"),
    ],
)
def test_a_subject_that_is_not_there_is_no_interpreter(
    command: tuple[str, ...], files: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    report, _ = look_and_run(here("gopy", command, files), tmp_path)
    assert report.verdict is not None
    assert report.verdict.reason == "no-interpreter"
    assert says in report.verdict.message


@pytest.mark.usefixtures("ground")
@pytest.mark.parametrize(
    "answer", ["echo nothing", "printf 'harness-least:a|b\\n'", "printf 'harness-least:\\033|b|c\\n'"]
)
def test_a_subject_that_tells_nothing_is_broken(answer: str, tmp_path: Path) -> None:
    script(tmp_path / "gopy", answer)
    report, _ = look_and_run(here("gopy", ["gopy"], ["gopy"]), tmp_path)
    assert report.verdict is not None
    assert report.verdict.reason == "broken-interpreter"


def test_a_subject_of_another_platform_is_not_of_this_computer(tmp_path: Path) -> None:
    report, _ = look_and_run(here("gopy", ["sh"], platform=Platform.parse("macos-arm64")), tmp_path)
    assert report.verdict is not None
    assert report.verdict.reason == "no-runner"
