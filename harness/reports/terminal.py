"""The report for a terminal: what failed and how to see it again, and the verdict in words as the last line.

Every line is escaped at one place, so that no byte of a cell is obeyed by a terminal or a CI log.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from harness.model.report import CellReport, Divergence, JobReport, Report
from harness.reports import Blobs
from harness.reports import summary as say
from harness.reports.commands import repeat_command
from harness.reports.escape import terminal, workflow_safe
from harness.reports.evidence import class_names, compare, last_words, outputs_of

_NEVER = 1 << 30


@dataclass(frozen=True, slots=True)
class Line:
    """One line and what it means: ``good``, ``bad``, ``dim``, ``title`` or nothing."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much of each kind is shown before the rest is only counted."""

    width: int
    fixtures: int = 10
    outputs: int = 4
    rows: int = 16
    commands: int = 4
    names: int = 4
    cells: int = 24
    slowest: int = 3


def _bounds(width: int, verbosity: int) -> Bounds:
    if verbosity <= 0:
        return Bounds(width=width)
    if verbosity == 1:
        return Bounds(width=width, fixtures=50, outputs=12, rows=60, commands=20, names=20, cells=200, slowest=20)
    return Bounds(
        width=width, fixtures=_NEVER, outputs=_NEVER, rows=400, commands=_NEVER, names=_NEVER, cells=_NEVER, slowest=100
    )


def render(report: Report, blobs: Blobs) -> str:
    """The report in 80 columns, without colour."""
    return render_terminal(report, blobs, width=80, color=False, verbosity=0)


def render_terminal(report: Report, blobs: Blobs, *, width: int, color: bool, verbosity: int) -> str:
    """Render for a terminal of ``width`` columns.

    ``verbosity`` -1 shows one line per failing fixture, 0 the first failures with their diffs, 1 more of each, 2 all.
    Commands to paste and single words longer than a line are never broken.
    """
    bounds = _bounds(width, verbosity)
    if verbosity < 0:
        lines = [Line(_headline(failure), "bad") for failure in say.failures(report)]
    else:
        lines = [
            *_cells(report, bounds),
            *_failures(report, blobs, bounds),
            *_remarks(report, bounds),
            *_run(report, bounds),
        ]
    lines += _wrapped(say.coverage_sentence(report.coverage, bounds.names), width, indent="", more="  ")
    lines.append(Line(report.sentence, "good" if report else "bad"))
    safe = _safe(lines)
    if color:
        safe = [_colored(text, line.style) for text, line in zip(safe, lines, strict=True)]
    return "\n".join(safe) + "\n"


def render_failures(report: Report, blobs: Blobs, *, width: int, verbosity: int = 0) -> str:
    """What failed and how to see it again, without a title: for a place where more than the report is told."""
    return "\n".join(_safe([*_failures(report, blobs, _bounds(width, verbosity))][1:])).strip("\n")


def render_totals(report: Report, *, width: int, verbosity: int = 0) -> tuple[str, ...]:
    """The cells, what a green line would hide, what was not covered, and the verdict in words; without a title."""
    bounds = _bounds(width, verbosity)
    remarks = [line for text in (*say.notes(report), *report.warnings) for line in _wrapped(say.brief(text), width)]
    coverage = _wrapped(say.coverage_sentence(report.coverage, bounds.names), width, indent="", more="  ")
    return tuple(_safe([*[*_cells(report, bounds)][1:], *remarks, *coverage, Line(report.sentence)]))


def _safe(lines: list[Line]) -> list[str]:
    return workflow_safe("\n".join(terminal(line.text) for line in lines)).split("\n")


def _colored(text: str, style: str) -> str:
    from rich.color import ColorSystem
    from rich.style import Style

    looks = {"good": "bold green", "bad": "bold red", "dim": "dim", "title": "bold", "-": "red", "+": "green"}
    return Style.parse(looks.get(style, "")).render(text, color_system=ColorSystem.STANDARD)


def _title(text: str, bounds: Bounds) -> Line:
    return Line(f" {text} ".center(bounds.width, "="), "title")


def _wrapped(text: str, width: int, *, indent: str = "  ", more: str = "    ", style: str = "") -> list[Line]:
    found = textwrap.wrap(
        terminal(text),
        max(width, 20),
        initial_indent=indent,
        subsequent_indent=more,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [Line(line, style) for line in found]


def _cells(report: Report, bounds: Bounds) -> Iterable[Line]:
    yield _title("cells", bounds)
    tallies = say.tallies(report)
    verified = [cell for cell in report.cells if cell.is_verified]
    loud = [cell for cell in verified if tallies[cell.cell.id].failed or tallies[cell.cell.id].other]
    # A report of hundreds of cells shows those with something to say.
    chosen = {cell.cell.id for cell in [*loud, *verified][: bounds.cells]} if len(verified) > bounds.cells else None
    shown = [cell for cell in verified if chosen is None or cell.cell.id in chosen]
    if shown:
        yield from _table(shown, tallies)
    if len(shown) < len(verified):
        trouble = max(len(loud) - bounds.cells, 0)
        yield Line(
            f"  and {say.plural(len(verified) - len(shown), 'cell')} more, {trouble or 'none'} with a failure", "dim"
        )
    unverified = say.unverified_cells(report)
    for group in unverified:
        yield from _group(f"{say.plural(len(group.names), 'cell')} {group.verdict}", group, bounds)
    if unverified:
        yield Line("  `harness doctor` tells what would mend that", "dim")


def _table(cells: list[CellReport], tallies: dict[str, say.Tally]) -> Iterable[Line]:
    wide = max(len(cell.cell.id) for cell in cells)
    python = max(6, *(len(say.interpreter(cell)) for cell in cells))
    yield Line(
        f"  {'cell':<{wide}}  {'tier':<8}  {'python':<{python}}  {'pass':>5} {'fail':>5} {'skip':>5} other", "dim"
    )
    for cell in cells:
        tally = tallies[cell.cell.id]
        numbers = (tally.passed, tally.failed, tally.skipped, tally.other)
        columns = " ".join(f"{number or '-':>5}" for number in numbers)
        text = f"  {cell.cell.id:<{wide}}  {cell.cell.tier.value:<8}  {say.interpreter(cell):<{python}}  {columns}"
        yield Line(text, "bad" if tally.failed and cell.cell.tier.gates else "")


def _group(head: str, group: say.Group, bounds: Bounds) -> Iterable[Line]:
    yield from _wrapped(f"{head}: {say.listed(group.names, bounds.names)}", bounds.width)
    if group.message:
        yield from _wrapped(say.brief(group.message), bounds.width, indent="      ", more="      ", style="dim")


def _headline(failure: say.Failure) -> str:
    words = sorted({str(job.verdict) for job in failure.jobs} | {r.result for r in failure.results if r.is_failure})
    cells = f" in {say.plural(len(failure.jobs), 'cell')}" if failure.jobs else ""
    return f"{say.brief(failure.fixture, 120)}: {', '.join(words)}{cells}{'' if failure.gates else ' (does not gate)'}"


def _failures(report: Report, blobs: Blobs, bounds: Bounds) -> Iterable[Line]:
    found = say.failures(report)
    if not found:
        return
    yield _title("failures", bounds)
    for failure in found[: bounds.fixtures]:
        yield Line(_headline(failure), "bad" if failure.gates else "title")
        for result in failure.results:
            yield from _wrapped(f"{result.result}: {say.brief(result.message)}", bounds.width)
        yield from _failure(failure, blobs, bounds, report.run.config)
        yield Line("")
    rest = found[bounds.fixtures :]
    if rest:
        names = say.listed([failure.fixture for failure in rest], 3 * bounds.names)
        yield from _wrapped(
            f"{say.plural(len(rest), 'fixture')} more (-v shows them): {names}", bounds.width, indent=""
        )


def _failure(failure: say.Failure, blobs: Blobs, bounds: Bounds, config: str) -> Iterable[Line]:
    divergence = failure.divergence
    names = class_names(divergence) if divergence else {}
    if divergence:
        yield from _classes(divergence, names, bounds)
    outputs: dict[tuple[str, str], JobReport] = {}
    for job in failure.jobs:
        if pair := outputs_of(job, divergence):
            outputs.setdefault(pair, job)
    in_order = sorted(outputs.items(), key=lambda shown: names.get(shown[0][1], ""))
    for (wanted, said), job in in_order[: bounds.outputs]:
        yield from _difference(wanted, said, names.get(said, job.cell), blobs, bounds)
    if len(outputs) > bounds.outputs:
        yield Line(f"  {len(outputs) - bounds.outputs} more outputs are not shown (-v shows them)", "dim")
    for group in say.same_verdict(failure.jobs):
        yield from _group(group.verdict, group, bounds)
    speaker = next((job for job in failure.jobs if outputs_of(job, divergence) is None), None)
    words = last_words(speaker, blobs, bounds.rows // 2) if speaker else ()
    if speaker and words:
        yield Line(f"  the end of stderr in {speaker.cell}:")
        yield from (Line(f"    {_clipped(word, bounds.width - 4)}", "dim") for word in words)
    yield from (Line(f"  {repeat_command(job.fixture, job.cell, config)}") for job in failure.jobs[: bounds.commands])
    if len(failure.jobs) > bounds.commands:
        yield Line(f"  and {say.plural(len(failure.jobs) - bounds.commands, 'cell')} more", "dim")


def _clipped(text: str, width: int) -> str:
    shown = terminal(text)
    return shown if len(shown) <= width else f"{shown[: width - 3]}..."


def _classes(divergence: Divergence, names: dict[str, str], bounds: Bounds) -> Iterable[Line]:
    if divergence.expected and not any(group.is_expected for group in divergence.classes):
        yield Line("  expected: no cell")
    for group in divergence.classes[: bounds.outputs + 1]:
        head = f"{names[group.digest]}: {say.plural(len(group.cells), 'cell')} ({group.size} bytes)"
        first = (group.representative, *(cell for cell in group.cells if cell != group.representative))
        yield from _wrapped(f"{head}: {say.listed(first, bounds.names)}", bounds.width)
    if len(divergence.classes) > bounds.outputs + 1:
        yield Line(f"  and {len(divergence.classes) - bounds.outputs - 1} more classes", "dim")


def _difference(wanted: str, said: str, name: str, blobs: Blobs, bounds: Bounds) -> Iterable[Line]:
    compared = compare(wanted, said, blobs, rows=bounds.rows + 2, width=bounds.width - 4)
    yield from _wrapped(f"first difference of {name}: {compared.place}", bounds.width)
    if compared.difference is not None:
        sides = (("expected", compared.difference.expected), (name, compared.difference.actual))
        wide = max(len(label) for label, _ in sides) + 1
        for label, excerpt in sides:
            text = _clipped(f"'{excerpt.text}'", bounds.width - wide - 5) if excerpt.data else "the end of the output"
            yield Line(f"    {label + ':':<{wide}} {text}")
    yield from (Line(f"    {row}", row[:1]) for row in compared.rows)


def _remarks(report: Report, bounds: Bounds) -> Iterable[Line]:
    lost, skipped, notes = say.incomplete_jobs(report), say.skipped_jobs(report), say.notes(report)
    if lost:
        yield _title("not verified", bounds)
    for group in lost:
        yield from _group(f"{say.plural(group.jobs, 'job')} {group.verdict}", group, bounds)
    if skipped:
        yield _title("skipped", bounds)
    for group in skipped:
        yield from _group(f"{say.plural(group.jobs, 'job')} {group.verdict}", group, bounds)
    for title, texts in (("notes", notes), ("warnings", report.warnings)):
        if texts:
            yield _title(title, bounds)
        for text in texts:
            yield from _wrapped(say.brief(text), bounds.width)


def _run(report: Report, bounds: Bounds) -> Iterable[Line]:
    """The one block that differs in every run; its lines are indented, and nothing else follows its title."""
    run = report.run
    yield _title("run", bounds)
    resumed = f", resumed with {say.plural(run.resumed, 'result')}" if run.resumed else ""
    yield from _wrapped(f"{run.id}, {run.started}, {run.duration:.1f} s{resumed}, harness {run.version}", bounds.width)
    if run.arguments:
        yield from _wrapped(say.brief(" ".join(run.arguments)), bounds.width)
    slowest = sorted(run.durations, key=lambda entry: (-entry[2], entry[0], entry[1]))[: bounds.slowest]
    for fixture, cell, seconds in slowest:
        yield Line(f"  {seconds:8.2f} s  {say.brief(fixture, 120)}  {cell}", "dim")
    yield Line("=" * bounds.width, "title")
