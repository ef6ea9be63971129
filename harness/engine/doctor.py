"""The doctor: what every cell, machine and interpreter is, as measured, and what is wrong with each and how to mend it.

Every cell's agent is really started and its subject really run. Nothing is written, and no fixture is touched.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import __version__
from harness.engine.cells import Surveyed, survey
from harness.engine.dispatch import Dispatcher
from harness.errors import CellUnavailable
from harness.model.cell import Cell, Facts
from harness.model.platform import Platform, PythonTag
from harness.model.report import worst_exit
from harness.model.verdict import Kind
from harness.runners.base import Runner
from harness.runners.interpreters import Broken, Discovery, Interpreter
from harness.runners.local import LocalRunner
from harness.wire import Hello

PROGRAMS: Mapping[str, str] = {
    "uv": "installs interpreters",
    "docker": "runs containers",
    "ssh": "resolves hosts",
}
LITTLE_SPACE = 1 << 30
SKEW = 5.0

_MENDS: Mapping[str, str] = {
    "no-runner": "run harness on such a machine, or let a container or an SSH host serve the cell",
    "unreachable": "start the machine's Python by hand and see whether it answers",
    "broken-interpreter": "start it by hand with -c pass, and with -v to see where it stops",
}
_BROKEN = frozenset({"broken-interpreter", "unreachable", *CellUnavailable.REFUSALS})
_UNHELPFUL = ("", "harness doctor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that is not as it should be, and the one line that would mend it."""

    message: str
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineHealth:
    """One machine that serves cells.

    ``hello`` is what its agent said, None when it never spoke; ``noise`` what the machine said before. ``skew`` is
    how far its wall clock is off ours (s), 0 when no difference could be proven.
    """

    name: str
    runner: str
    isolation: str
    cells: tuple[str, ...]
    hello: Hello | None
    noise: bytes
    skew: float
    troubles: tuple[Trouble, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellHealth:
    """One cell: as surveyed, with the subject that serves it and a mend that helps where it does not answer."""

    surveyed: Surveyed
    subject: tuple[str, ...]
    mend: str

    @property
    def is_broken(self) -> bool:
        """Whether something is there and does not work, unlike what was never installed or is elsewhere."""
        verdict = self.surveyed.report.verdict
        if verdict is None:
            return False
        return verdict.kind is Kind.MISPLACED or verdict.reason in _BROKEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """The tool's own surroundings. ``programs`` are (name, path or empty); ``store`` is empty without a matrix."""

    version: str
    python: str
    executable: str
    programs: tuple[tuple[str, str], ...]
    store: str
    troubles: tuple[Trouble, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """Everything the doctor found. ``unused`` are interpreters here that serve none of the cells."""

    cells: tuple[CellHealth, ...]
    machines: tuple[MachineHealth, ...]
    broken: tuple[Broken, ...]
    unused: tuple[Interpreter, ...]
    warnings: tuple[str, ...]
    tool: Tool

    @property
    def reachable(self) -> int:
        """How many cells answer as they should."""
        return sum(cell.surveyed.report.is_verified for cell in self.cells)

    @property
    def exit_code(self) -> int:
        """0 when a cell answers and nothing that is there is broken; 5 for a refusal, 6 for the store, else 3."""
        codes = {3} if not self.reachable else set()
        for cell in self.cells:
            verdict = cell.surveyed.report.verdict
            found = [verdict] if cell.is_broken and verdict is not None else []
            for each in (*found, *(one.verdict for one in cell.surveyed.report.left_out)):
                codes.add(5 if each.reason in CellUnavailable.REFUSALS else 3)
        return worst_exit(codes | ({6} if self.tool.troubles else set()))


def examine(cells: Sequence[Cell], runners: Mapping[str, Runner], store: Path | None) -> Checkup:
    """Survey ``cells`` and look at this computer. ``store`` is the folder of the project's store, if there is one."""
    with Dispatcher() as dispatcher:
        began = time.time()
        surveyed = survey(cells, runners, dispatcher)
        window = (began, time.time())
        machines = _machines(surveyed, dispatcher, window)
    health = tuple(map(_cell, surveyed))
    here = runners.get("local")
    discovery = here.discovery if isinstance(here, LocalRunner) else Discovery(interpreters=(), broken=(), warnings=())
    used = {word for cell in health for word in cell.subject[:1]}
    return Checkup(
        cells=health,
        machines=machines,
        broken=discovery.broken,
        unused=tuple(one for one in discovery.interpreters if used.isdisjoint((str(one.path), *one.found_as))),
        warnings=tuple(warning for runner in runners.values() for warning in runner.warnings),
        tool=_tool(store),
    )


def local_cells(discovery: Discovery, platform: Platform) -> tuple[Cell, ...]:
    """A cell for each kind of interpreter of this computer: what there is to examine without a matrix."""
    tags = {tag for one in discovery.interpreters if (tag := _tag(one.facts))}
    ordered = sorted(map(PythonTag.parse, tags), key=lambda tag: (tag.implementation, tag.series or (0, 0), tag.build))
    return tuple(Cell(platform=platform, python=tag) for tag in ordered)


def _tag(facts: Facts) -> str:
    """The tag of an interpreter as a matrix would name it; empty for one that would need a name of its own."""
    letters = {"cpython": "cp", "pypy": "pp", "graalpy": "graalpy"}.get(facts.implementation, "")
    flags = "".join(flag for word, flag in (("free-threaded", "t"), ("debug", "d")) if word in facts.build)
    return f"{letters}{facts.series.replace('.', '')}{flags}" if letters and facts.series else ""


def _cell(surveyed: Surveyed) -> CellHealth:
    verdict = surveyed.report.verdict
    mend = surveyed.mend
    if verdict is not None and mend in _UNHELPFUL:
        mend = _MENDS.get(verdict.reason, "")
    # A misplaced cell has no placement, but what was measured names what answered in its place.
    answered = (surveyed.facts.executable,) if surveyed.facts else ()
    subject = surveyed.placement.subject if surveyed.placement else answered
    return CellHealth(surveyed=surveyed, subject=subject, mend=mend)


def _machines(
    surveyed: Sequence[Surveyed], dispatcher: Dispatcher, window: tuple[float, float]
) -> tuple[MachineHealth, ...]:
    served: dict[str, list[Surveyed]] = {}
    for one in surveyed:
        placed = [each.machine for each in one.placement.machines] if one.placement else [one.report.machine]
        for name in filter(None, (*placed, *(each.machine for each in one.report.left_out))):
            served.setdefault(name, []).append(one)
    return tuple(_machine(name, cells, dispatcher, window) for name, cells in served.items())


def _machine(
    name: str, cells: Sequence[Surveyed], dispatcher: Dispatcher, window: tuple[float, float]
) -> MachineHealth:
    hello, noise = dispatcher.hello(name), dispatcher.noise(name)
    first = cells[0].report
    skew = _skew(hello.clock, window) if hello else 0.0
    return MachineHealth(
        name=name,
        runner=first.runner,
        isolation=first.isolation,
        cells=tuple(one.report.cell.id for one in cells),
        hello=hello,
        noise=noise,
        skew=skew,
        troubles=(
            *_left_out(name, cells),
            *_machine_troubles(
                hello, noise, skew, {one.report.cell.platform.os for one in cells}, is_bounded=first.isolation != "none"
            ),
        ),
    )


def _left_out(name: str, cells: Sequence[Surveyed]) -> tuple[Trouble, ...]:
    """Why one of several machines serves some of its cells not."""
    found = [one for each in cells for one in each.report.left_out if one.machine == name]
    return tuple(
        dict.fromkeys(
            Trouble(
                message=f"left out: {one.verdict.reason or one.verdict.kind.value}: {one.verdict.message}",
                mend=one.mend,
            )
            for one in found
        )
    )


def _skew(clock: float, window: tuple[float, float]) -> float:
    """What the clock must be off by at least, having been read at some moment between the two."""
    return clock - max(min(clock, window[1]), window[0])


def _machine_troubles(
    hello: Hello | None, noise: bytes, skew: float, systems: set[str], *, is_bounded: bool
) -> list[Trouble]:
    """What is wrong with a machine; where its disk ``is_bounded`` on purpose, little space is not."""
    found = []
    if noise:
        message = f"{len(noise)} bytes of noise before the agent's first word"
        found.append(Trouble(message=message, mend="let the shell's start files print only where there is a terminal"))
    if hello is None:
        return found
    if abs(skew) > SKEW:
        message = f"the clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
        found.append(Trouble(message=message, mend="synchronise it, for instance with systemd-timesyncd or chrony"))
    if hello.free < LITTLE_SPACE and not is_bounded:
        message = f"{hello.free / (1 << 20):.0f} MiB of disk are free where jobs run"
        found.append(Trouble(message=message, mend="free some, or let TMPDIR name a larger file system"))
    if not hello.reaper and "linux" in systems:
        message = "the agent is no subreaper: what a job leaves behind may escape it"
        found.append(Trouble(message=message, mend="take a Python with ctypes for the agent"))
    if "utf" not in hello.locale.lower():
        message = f"there is no C.UTF-8 locale; jobs run with LC_ALL={hello.locale}"
        found.append(Trouble(message=message, mend="install the C.UTF-8 locale (Debian: libc-bin)"))
    return found


def _tool(store: Path | None) -> Tool:
    # What is installed with the tool counts, even where its environment is not on PATH.
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    programs = tuple((name, shutil.which(name, path=beside) or "") for name in PROGRAMS)
    trouble = _store_trouble(store) if store else ""
    mend = "mend the permissions, or name another folder with `store:` in matrix.yaml"
    return Tool(
        version=__version__,
        python=f"{sys.implementation.name} {'.'.join(map(str, sys.version_info[:3]))}",
        executable=sys.executable,
        programs=programs,
        store=os.fspath(store) if store else "",
        troubles=(Trouble(message=trouble, mend=mend),) if trouble else (),
    )


def _store_trouble(store: Path) -> str:
    """Why runs could not be kept there; nothing is made to find out."""
    place = store if os.path.lexists(store) else store.absolute().parent
    if not place.is_dir():
        return f"{place} is not a folder"
    return "" if os.access(place, os.W_OK | os.X_OK) else f"{place} cannot be written to"
