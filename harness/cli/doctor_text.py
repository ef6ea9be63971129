"""What the doctor found, as text of a given width: cells that are alike are one entry, so that sixty are readable.

Every line is escaped at one place: facts, noise and messages come from cells.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

import click

from harness.engine.doctor import PROGRAMS, CellHealth, Checkup, MachineHealth, Trouble
from harness.model.cell import Cell, Facts
from harness.reports.escape import terminal, workflow_safe
from harness.reports.summary import listed, plural

_NOISE_SHOWN = 200
_COLORS = {"good": "green", "bad": "red", "mend": "cyan"}
_CASES = {"sensitive": "case-sensitive files", "insensitive": "case-insensitive files"}

Line = tuple[str, str]
"""A text and what it means: ``title``, a key of ``_COLORS``, or nothing."""


def render(checkup: Checkup, *, width: int, color: bool) -> str:
    """The whole checkup; its last line is the answer in words."""
    lines: list[Line] = []
    for title, part in (
        ("cells", _cells(checkup, width)),
        ("machines", _machines(checkup.machines, width)),
        ("interpreters of this computer", _interpreters(checkup, width)),
        ("harness", _tool(checkup, width)),
    ):
        rows = list(part)
        if rows:
            lines += [(f" {title} ".center(width, "="), "title"), *rows]
    lines += [("=" * width, "title"), (sentence(checkup), "bad" if checkup.exit_code else "good")]
    safe = workflow_safe("\n".join(terminal(text) for text, _ in lines)).split("\n")
    if color:
        safe = [_styled(text, look) for text, (_, look) in zip(safe, lines, strict=True)]
    return "\n".join(safe)


def _styled(text: str, look: str) -> str:
    if look == "title":
        return click.style(text, bold=True)
    return click.style(text, fg=_COLORS[look]) if look else text


def sentence(checkup: Checkup) -> str:
    """The answer in words: how many cells answer, and how many of the others are broken."""
    total, broken = len(checkup.cells), sum(cell.is_broken for cell in checkup.cells)
    if not total:
        return "no cell can be reached: there is no interpreter"
    words = f"{checkup.reachable} of {plural(total, 'cell')} can be reached"
    words = f"none of {plural(total, 'cell')} can be reached" if not checkup.reachable else words
    words += f", {broken} {'is' if broken == 1 else 'are'} broken" if broken else ""
    words += "; the store cannot be written" if checkup.tool.troubles else ""
    return words if checkup.tool.store else f"{words}; there is no matrix yet, `harness init` writes one"


def _wrapped(text: str, width: int, indent: int, look: str = "") -> list[Line]:
    rows = textwrap.wrap(
        terminal(text),
        max(width, indent + 30),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [(row, look) for row in rows]


def _mended(mend: str, width: int, indent: int) -> list[Line]:
    return _wrapped(f"mend: {mend}", width, indent, "mend") if mend else []


def _cells(checkup: Checkup, width: int) -> Iterable[Line]:
    alike: dict[tuple[str, ...], list[CellHealth]] = {}
    refused: dict[tuple[str, str, str], list[CellHealth]] = {}
    for cell in checkup.cells:
        report = cell.surveyed.report
        if report.verdict is not None:
            refused.setdefault((str(report.verdict), report.verdict.message, cell.mend), []).append(cell)
        elif report.facts is not None:
            key = (str(report.cell.platform), report.runner, report.isolation, _surroundings(report.facts))
            alike.setdefault(key, []).append(cell)
    for (platform, runner, isolation, surroundings), cells in alike.items():
        machines = list(dict.fromkeys(cell.surveyed.report.machine for cell in cells))
        where = f"{platform} on {listed(machines, 3)} ({runner}, isolation {isolation}): {plural(len(cells), 'cell')}"
        yield from _wrapped(where, width, 2)
        yield from _wrapped(surroundings, width, 4)
        yield from _served(cells)
    previous = ""
    for (verdict, message, mend), cells in sorted(refused.items(), key=lambda entry: entry[0][0]):
        if verdict != previous:
            count = sum(len(others) for key, others in refused.items() if key[0] == verdict)
            bad = any(cell.is_broken for key, others in refused.items() if key[0] == verdict for cell in others)
            yield f"  {verdict}: {plural(count, 'cell')}", "bad" if bad else ""
        previous = verdict
        yield from _wrapped(message, width, 4)
        for names in _compact([cell.surveyed.report.cell for cell in cells]):
            yield from _wrapped(names, width, 6)
        yield from _mended(mend, width, 6)


def _served(cells: Sequence[CellHealth]) -> Iterable[Line]:
    """A row for each cell that answers: interpreter, version, and the command that it is."""
    rows = [(str(cell.surveyed.report.cell.python), cell.surveyed.facts, cell.subject) for cell in cells]
    widest = max(len(tag) for tag, _, _ in rows)
    versions = max(len(facts.version) for _, facts, _ in rows if facts)
    for tag, facts, subject in rows:
        yield f"      {tag:<{widest}}  {facts.version if facts else '':<{versions}}  {' '.join(subject)}", ""


def _surroundings(facts: Facts) -> str:
    """What cells of one machine have in common; what could not be measured is left out."""
    words = (
        f"{facts.libc} {facts.libc_version}".strip(),
        facts.arch,
        f"{facts.bits} bits" if facts.bits else "",
        facts.emulation if facts.emulation == "native" else f"emulation {facts.emulation}",
        f"encoding {facts.encoding}" if facts.encoding else "",
        _CASES.get(facts.fs_case, facts.fs_case),
    )
    return ", ".join(word for word in words if word)


def _compact(cells: Sequence[Cell]) -> list[str]:
    """``platform, platform: interpreter, interpreter`` for platforms that have the same interpreters."""
    pythons: dict[str, list[str]] = {}
    for cell in cells:
        pythons.setdefault(str(cell.platform), []).append(str(cell.python))
    platforms: dict[tuple[str, ...], list[str]] = {}
    for platform, tags in pythons.items():
        platforms.setdefault(tuple(tags), []).append(platform)
    return [f"{', '.join(names)}: {', '.join(tags)}" for tags, names in platforms.items()]


def _machines(machines: Sequence[MachineHealth], width: int) -> Iterable[Line]:
    alike: dict[tuple[str, tuple[Trouble, ...], bytes], list[str]] = {}
    for machine in machines:
        alike.setdefault((_state(machine), machine.troubles, machine.noise), []).append(machine.name)
    for (state, troubles, noise), names in alike.items():
        yield from _wrapped(f"{listed(names, 6)}: {state}", width, 2)
        if noise:
            more = "..." if len(noise) > _NOISE_SHOWN else ""
            yield from _wrapped(f"it said: {terminal(noise[:_NOISE_SHOWN])}{more}", width, 4)
        yield from _troubles(troubles, width)


def _state(machine: MachineHealth) -> str:
    hello = machine.hello
    if hello is None:
        return "its agent never spoke"
    return ", ".join(
        (
            plural(hello.slots, "slot"),
            f"agent on Python {hello.python} as user {hello.user}",
            f"locale {hello.locale}",
            f"clock {machine.skew:+.0f} s" if abs(machine.skew) >= 1 else "clock as here",
            f"{hello.free / (1 << 30):.1f} GiB free",
            "subreaper" if hello.reaper else "no subreaper",
        )
    )


def _troubles(troubles: Iterable[Trouble], width: int) -> Iterable[Line]:
    for trouble in troubles:
        yield from _wrapped(trouble.message, width, 4, "bad")
        yield from _mended(trouble.mend, width, 6)


def _interpreters(checkup: Checkup, width: int) -> Iterable[Line]:
    for broken in checkup.broken:
        missing = f" (missing: {broken.diagnosis.missing})" if broken.diagnosis.missing else ""
        yield from _wrapped(f"broken: {broken.diagnosis.message}{missing}", width, 2, "bad")
        yield from _mended(broken.diagnosis.mend, width, 4)
    for warning in checkup.warnings:
        yield from _wrapped(f"warning: {warning}", width, 2)
    if checkup.unused:
        named = ", ".join(map(_named, sorted((one.facts for one in checkup.unused), key=_age)))
        yield from _wrapped(f"no cell uses: {named}", width, 2)


def _age(facts: Facts) -> tuple[str, list[int]]:
    return facts.implementation, [int(number) for number in re.findall(r"\d+", facts.version)]


def _named(facts: Facts) -> str:
    name = {"cpython": "CPython", "pypy": "PyPy", "graalpy": "GraalPy"}.get(facts.implementation, facts.implementation)
    return f"{name} {facts.version}{'' if facts.build == 'default' else f' {facts.build}'}"


def _tool(checkup: Checkup, width: int) -> Iterable[Line]:
    tool = checkup.tool
    yield from _wrapped(f"harness {tool.version} on {tool.python}, {tool.executable}", width, 2)
    if tool.store:
        yield from _wrapped(f"store: {tool.store}{'' if tool.troubles else ', writable'}", width, 2)
    found = [f"{name} {path}" for name, path in tool.programs if path]
    lacking = [name for name, path in tool.programs if not path]
    yield from _wrapped(f"found: {', '.join(found) or 'nothing'}", width, 2)
    if lacking:
        uses = (f"{name} ({PROGRAMS[name]})" for name in lacking)
        yield from _wrapped(f"not found: {', '.join(uses)}", width, 2)
    yield from _troubles(tool.troubles, width)
