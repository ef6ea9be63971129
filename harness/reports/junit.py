"""The report as JUnit XML: a suite per cell, a test case per job, the cell in every class name.

Trouble of the infrastructure is an error only where the cell gates; a failure that cannot change the exit is
skipped, as an expected failure is. Only ``time``, ``timestamp`` and the ``run.`` properties differ between runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from harness.model.report import CellReport, Divergence, JobReport, Report
from harness.model.verdict import Kind, Verdict
from harness.reports import Blobs
from harness.reports import summary as say
from harness.reports.commands import repeat_command
from harness.reports.escape import attribute, xml
from harness.reports.evidence import compare, last_words, outputs_of

_ROWS, _WIDTH, _WORDS = 40, 200, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One test case: what it ended as (``failure``, ``error``, ``skipped`` or nothing) and its element."""

    outcome: str = ""
    element: str


@dataclass(slots=True, kw_only=True)
class _Context:
    """What the cases of one report share; ``shown`` remembers where an output was compared first."""

    blobs: Blobs
    gates: frozenset[str]
    unverified_gating: frozenset[str]
    divergences: dict[str, Divergence]
    times: dict[tuple[str, str], float]
    config: str
    shown: dict[tuple[str, str, str], str] = field(default_factory=dict)


def render(report: Report, blobs: Blobs) -> str:
    """Render the report; the XML is well-formed whatever the cells said."""
    context = _Context(
        blobs=blobs,
        gates=say.gating(report),
        unverified_gating=frozenset(report.coverage.unverified_gating),
        divergences={divergence.fixture: divergence for divergence in report.divergences},
        times={(fixture, cell): seconds for fixture, cell, seconds in report.run.durations},
        config=report.run.config,
    )
    jobs: dict[str, list[JobReport]] = {cell.cell.id: [] for cell in report.cells}
    for job in say.sorted_jobs(report):
        jobs.setdefault(job.cell, []).append(job)
    cells = {cell.cell.id: cell for cell in report.cells}
    suites = [("harness", _properties(report), _fixture_cases(report), 0.0)]
    for name, planned in jobs.items():
        cases = [_job_case(job, context) for job in planned] or _empty_cell(cells[name], context)
        seconds = sum(context.times.get((job.fixture, job.cell), 0.0) for job in planned)
        suites.append((name, _cell_properties(cells.get(name)), cases, seconds))
    all_cases = [case for _, _, cases, _ in suites for case in cases]
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f'<testsuites name="harness"{_counts(all_cases)} time="{report.run.duration:.3f}">',
    ]
    for name, properties, cases, seconds in suites:
        started = attribute(report.run.started)
        lines.append(f'<testsuite name="{attribute(name)}"{_counts(cases)} time="{seconds:.3f}" timestamp="{started}">')
        lines += properties
        lines += (case.element for case in cases)
        lines.append("</testsuite>")
    return "\n".join([*lines, "</testsuites>"]) + "\n"


def _counts(cases: list[_Case]) -> str:
    counts = {"tests": len(cases)}
    for name, outcome in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        counts[name] = sum(case.outcome == outcome for case in cases)
    return "".join(f' {name}="{count}"' for name, count in counts.items())


def _property_lines(pairs: Iterable[tuple[str, object]]) -> list[str]:
    entries = [f'<property name="{attribute(name)}" value="{attribute(str(value))}"/>' for name, value in pairs]
    return ["<properties>", *entries, "</properties>"] if entries else []


def _properties(report: Report) -> list[str]:
    coverage, run = report.coverage, report.run
    pairs: list[tuple[str, object]] = [
        ("verdict.exit", report.exit_code),
        ("verdict.sentence", report.sentence),
        ("coverage.planned", coverage.planned),
        ("coverage.executed", coverage.executed),
        ("coverage.skipped", coverage.skipped),
        ("coverage.missing", coverage.missing),
        *((f"coverage.unverified.{cell}", why) for cell, why in sorted(coverage.unverified)),
        *(("note", say.brief(note)) for note in say.notes(report)),
        *(("warning", say.brief(warning)) for warning in report.warnings),
        ("run.id", run.id),
        ("run.version", run.version),
        ("run.arguments", " ".join(run.arguments)),
        ("run.resumed", run.resumed),
    ]
    return _property_lines(pairs)


def _cell_properties(report: CellReport | None) -> list[str]:
    if report is None:
        return []
    pairs = [("tier", report.cell.tier.label), ("runner", report.runner), ("isolation", report.isolation)]
    pairs.append(("python", say.interpreter(report)))
    if report.verdict is not None:
        pairs.append(("not-verified", f"{report.verdict}: {report.verdict.message}"))
    return _property_lines((name, value) for name, value in pairs if value)


def _fixture_cases(report: Report) -> list[_Case]:
    return [
        _case("harness.fixtures", result.fixture, "", "failure", result.result, result.message, result.message)
        for result in sorted(report.fixtures, key=lambda result: result.fixture)
        if result.is_failure
    ]


def _empty_cell(report: CellReport, context: _Context) -> list[_Case]:
    """A cell that is not verified is a case of its own when no job tells of it."""
    if report.verdict is None:
        return []
    outcome = _outcome(report.verdict, report.cell.id, context)
    message = f"{report.verdict}: {report.verdict.message}"
    return [_case(_classname(report.cell.id), "(cell)", "", outcome, str(report.verdict), message, message)]


def _classname(cell: str) -> str:
    return f"harness.{cell.replace('.', '_').replace('/', '.')}"


def _outcome(verdict: Verdict, cell: str, context: _Context) -> str:
    kind = verdict.kind
    if kind.is_pass:
        return ""
    if kind is Kind.UNAVAILABLE:
        return "error" if cell in context.unverified_gating else "skipped"
    if cell not in context.gates or kind is Kind.SKIPPED:
        return "skipped"
    return "error" if kind.is_incomplete else "failure"


def _job_case(job: JobReport, context: _Context) -> _Case:
    seconds = context.times.get((job.fixture, job.cell))
    time = "" if seconds is None else f"{seconds:.3f}"
    outcome = _outcome(job.verdict, job.cell, context)
    if not outcome:
        return _case(_classname(job.cell), job.fixture, time)
    message = f"{job.verdict}: {job.verdict.message}" if job.verdict.message else str(job.verdict)
    body = "\n".join(_body(job, message, context)) if job.verdict.kind.is_failure else message
    return _case(_classname(job.cell), job.fixture, time, outcome, str(job.verdict), message, body)


def _body(job: JobReport, message: str, context: _Context) -> Iterator[str]:
    yield message
    yield from (f"also {detail}: {detail.message}" for detail in job.verdict.details)
    if pair := outputs_of(job, context.divergences.get(job.fixture)):
        first = context.shown.setdefault((job.fixture, *pair), job.cell)
        if first == job.cell:
            compared = compare(*pair, context.blobs, rows=_ROWS, width=_WIDTH)
            yield f"first difference: {compared.place}"
            yield from compared.rows
        else:
            yield f"the same output as in {first}, where it is compared"
    elif words := last_words(job, context.blobs, _WORDS):
        yield "the end of stderr:"
        yield from words
    yield f"repeat: {repeat_command(job.fixture, job.cell, context.config)}"


def _case(
    classname: str, name: str, time: str, outcome: str = "", kind: str = "", message: str = "", body: str = ""
) -> _Case:
    timed = f' time="{time}"' if time else ""
    head = f'<testcase classname="{attribute(classname)}" name="{attribute(name)}"{timed}'
    if not outcome:
        return _Case(element=f"{head}/>")
    what = f'type="{attribute(kind)}" message="{attribute(say.brief(message))}"'
    return _Case(outcome=outcome, element=f"{head}><{outcome} {what}>{xml(body)}</{outcome}></testcase>")
