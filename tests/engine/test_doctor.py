"""What the doctor finds: real agents on this computer, some of them behind machines that have something wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness.engine.doctor import Checkup, examine, local_cells
from harness.errors import CellUnavailable
from harness.model.cell import Cell, Facts
from harness.model.platform import PythonTag
from harness.model.reach import RunnerEntry
from harness.runners.base import Channel, Placement
from harness.runners.interpreters import Discovery, Interpreter
from harness.runners.local import LocalChannel, LocalRunner, this_platform

HERE = f"cp{sys.version_info.major}{sys.version_info.minor}"


def cell(python: str = HERE, interpreter: str = sys.executable, runner: str = "local") -> Cell:
    return Cell(
        platform=this_platform(),
        python=PythonTag.parse(python),
        interpreter=interpreter,
        runners=(RunnerEntry(name=runner),),
    )


class Noisy(LocalChannel):
    """A machine whose shell greets."""

    def __init__(self) -> None:
        super().__init__()
        self._greeting = b"Welcome!\x1b[31m\n"

    def read(self) -> bytes:
        greeting, self._greeting = self._greeting, b""
        return greeting or super().read()


class Doctored(LocalChannel):
    """A machine whose agent says something else than it measured: one text of its source in place of another."""

    old, new = b"", b""

    def write(self, data: bytes) -> None:
        super().write(data.replace(self.old, self.new.ljust(len(self.old))))


class Late(Doctored):
    old, new = b'"clock": time.time(),', b'"clock": 1e9 + 0.5,'


class Full(Doctored):
    old, new = b'"free": _free_space(self._base)', b'"free": 5 << 20'


class Bare(Doctored):
    old, new = b'"locale": self._locale,', b'"locale": "C",'


class Loose(Doctored):
    old, new = b'"reaper": self._settings["reaper"]', b'"reaper": False'


@dataclass
class Elsewhere:
    """A runner that reaches one machine through a channel of its own."""

    open: Callable[[], Channel]
    name: str = "elsewhere"
    warnings: tuple[str, ...] = ()

    def place(self, cell: Cell, entry: RunnerEntry | None = None) -> Placement:
        placement = LocalRunner(slots=1).serve(cell, cell.interpreter)
        return replace(placement, runner=self.name, machine="another", connect=self.open)


@dataclass
class Refusing:
    reason: str
    name: str = "elsewhere"
    warnings: tuple[str, ...] = ()

    def place(self, cell: Cell, entry: RunnerEntry | None = None) -> Placement:
        raise CellUnavailable(self.reason, "it is so")


def behind(channel: type[LocalChannel]) -> Checkup:
    return examine((cell(runner="elsewhere"),), {"elsewhere": Elsewhere(open=channel)}, None)


def test_a_healthy_cell_has_its_facts_and_its_machine_no_trouble(tmp_path: Path) -> None:
    checkup = examine((cell(),), {"local": LocalRunner(slots=2)}, tmp_path / ".harness")
    (health,) = checkup.cells
    assert health.surveyed.facts is not None
    assert health.surveyed.facts.version == ".".join(map(str, sys.version_info[:3]))
    assert health.subject == (sys.executable,)
    (machine,) = checkup.machines
    assert machine.hello is not None
    assert (machine.hello.slots, machine.noise, machine.skew, machine.troubles) == (2, b"", 0.0, ())
    assert machine.isolation == "none"
    assert (checkup.reachable, checkup.exit_code) == (1, 0)
    assert not (tmp_path / ".harness").exists()


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        (Noisy, "13 bytes of noise"),
        (Late, "s behind"),
        (Full, "5 MiB of disk"),
        (Bare, "LC_ALL=C"),
        (Loose, "subreaper"),
    ],
)
def test_a_machine_with_something_wrong_still_serves_and_is_told_how_to_mend_it(
    channel: type[LocalChannel], message: str
) -> None:
    checkup = behind(channel)
    (machine,) = checkup.machines
    (trouble,) = machine.troubles
    assert message in trouble.message
    assert trouble.mend
    assert checkup.exit_code == 0


def test_a_claim_that_the_facts_contradict_is_broken() -> None:
    checkup = examine((cell(), cell("pp310")), {"local": LocalRunner()}, None)
    (right, wrong) = checkup.cells
    assert not right.is_broken
    assert wrong.is_broken
    assert (checkup.reachable, checkup.exit_code) == (1, 3)


def test_an_interpreter_that_does_not_start_is_broken_and_has_a_mend(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    checkup = examine((cell(), cell("gopy", str(program))), {"local": LocalRunner()}, None)
    broken = checkup.cells[1]
    assert str(broken.surveyed.report.verdict) == "unavailable(broken-interpreter)"
    assert broken.is_broken
    assert broken.mend
    assert checkup.exit_code == 3


@pytest.mark.parametrize(
    ("reason", "is_broken", "exit_code"),
    [("no-interpreter", False, 0), ("no-docker", False, 0), ("unreachable", True, 3), ("host-key", True, 5)],
)
def test_what_was_never_there_is_not_broken_and_what_is_there_is(reason: str, is_broken: bool, exit_code: int) -> None:
    cells = (cell(), cell("gopy", runner="elsewhere"))
    checkup = examine(cells, {"local": LocalRunner(), "elsewhere": Refusing(reason)}, None)
    assert checkup.cells[1].is_broken == is_broken
    assert checkup.exit_code == exit_code


def test_where_no_cell_answers_the_answer_is_incomplete() -> None:
    checkup = examine((cell(runner="elsewhere"),), {}, None)
    assert (checkup.reachable, checkup.exit_code) == (0, 3)
    assert checkup.cells[0].mend


def test_a_store_that_cannot_be_written_is_trouble_of_this_computer(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    checkup = examine((cell(),), {"local": LocalRunner()}, tmp_path / "store")
    assert [trouble.message for trouble in checkup.tool.troubles] == [f"{tmp_path / 'store'} is not a folder"]
    assert checkup.exit_code == 6


def measured(version: str, implementation: str = "cpython", build: str = "default") -> Interpreter:
    facts = Facts(os="linux", arch="x86_64", implementation=implementation, version=version, build=build)
    return Interpreter(path=Path("/", version), found_as=(), sources=("path",), facts=facts)


def test_without_a_matrix_there_is_one_cell_for_each_kind_of_interpreter() -> None:
    found = (
        measured("3.9.1"),
        measured("3.9.2"),
        measured("3.13.0", build="free-threaded"),
        measured("3.10.14", "pypy"),
        measured("1.0.0", "gopy"),
    )
    cells = local_cells(Discovery(interpreters=found, broken=(), warnings=()), this_platform())
    assert [str(one.python) for one in cells] == ["cp39", "cp313t", "pp310"]
