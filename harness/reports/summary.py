"""What a report says, counted and grouped: the parts that every rendering for people shares.

Pure functions of the report, in an order that does not depend on which job ended first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.model.report import CellReport, Coverage, Divergence, FixtureReport, JobReport, Report
from harness.model.verdict import Kind, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How the jobs of one cell ended. ``other`` is infrastructure: unavailable, lost, misplaced."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    other: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Names that share one verdict and message, and how many jobs that are."""

    verdict: str
    message: str
    names: tuple[str, ...]
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One fixture with failing jobs, or that could not be prepared. Only if it ``gates`` may it change the exit."""

    fixture: str
    jobs: tuple[JobReport, ...]
    results: tuple[FixtureReport, ...]
    divergence: Divergence | None
    gates: bool


def brief(text: str, length: int = 400) -> str:
    """Cut a long text in its middle, and say so."""
    if len(text) <= length:
        return text
    half = length // 2
    return f"{text[:half]} [... {len(text) - 2 * half} characters ...] {text[-half:]}"


def listed(names: Sequence[str], count: int) -> str:
    """Name some, and count the rest: ``a, b and 3 more``."""
    shown = ", ".join(brief(name, 120) for name in names[:count])
    return f"{shown} and {len(names) - count} more" if len(names) > count else shown


def plural(count: int, noun: str) -> str:
    """``1 cell``, ``2 cells``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def gating(report: Report) -> frozenset[str]:
    """The ids of the cells whose failures may change the exit status."""
    return frozenset(cell.cell.id for cell in report.cells if cell.cell.tier.gates)


def sorted_jobs(report: Report) -> list[JobReport]:
    """All jobs by fixture and cell, whatever ended first."""
    return sorted(report.jobs, key=lambda job: (job.fixture, job.cell))


def tallies(report: Report) -> dict[str, Tally]:
    """Count the jobs of every planned cell."""
    counts = {cell.cell.id: [0, 0, 0, 0] for cell in report.cells}
    for job in report.jobs:
        kind = job.verdict.kind
        column = 0 if kind.is_pass else 1 if kind.is_failure else 3 if kind.is_incomplete else 2
        counts.setdefault(job.cell, [0, 0, 0, 0])[column] += 1
    return {
        cell: Tally(passed=passed, failed=failed, skipped=skipped, other=other)
        for cell, (passed, failed, skipped, other) in counts.items()
    }


def interpreter(report: CellReport) -> str:
    """The measured interpreter in a few words: ``3.12.1``, ``pypy 3.10.14 qemu``."""
    if report.facts is None:
        return ""
    implementation = "" if report.facts.implementation == "cpython" else report.facts.implementation
    emulation = "" if report.facts.emulation in ("native", "unknown") else report.facts.emulation
    return " ".join(word for word in (implementation, report.facts.version, emulation) if word)


def failures(report: Report) -> tuple[Failure, ...]:
    """Every fixture that failed somewhere: those that gate first, then by name."""
    gates = gating(report)
    divergences = {divergence.fixture: divergence for divergence in report.divergences}
    jobs: dict[str, list[JobReport]] = {result.fixture: [] for result in report.fixtures if result.is_failure}
    for job in sorted_jobs(report):
        if job.verdict.kind.is_failure:
            jobs.setdefault(job.fixture, []).append(job)
    found = []
    for fixture, failing in jobs.items():
        results = tuple(result for result in report.fixtures if result.fixture == fixture)
        found.append(
            Failure(
                fixture=fixture,
                jobs=tuple(failing),
                results=results,
                divergence=divergences.get(fixture),
                gates=any(job.cell in gates for job in failing) or any(result.is_failure for result in results),
            )
        )
    return tuple(sorted(found, key=lambda failure: (not failure.gates, failure.fixture)))


def unverified_cells(report: Report) -> tuple[Group, ...]:
    """The cells that could not be used, grouped by why."""
    return _grouped((cell.verdict, cell.cell.id) for cell in report.cells if cell.verdict is not None)


def incomplete_jobs(report: Report) -> tuple[Group, ...]:
    """The jobs that infrastructure kept from ending, grouped by why; those of unverified cells are left out."""
    unusable = {cell.cell.id for cell in report.cells if cell.verdict is not None}
    return _grouped(
        (job.verdict, job.cell)
        for job in sorted_jobs(report)
        if job.verdict.kind.is_incomplete and job.cell not in unusable
    )


def skipped_jobs(report: Report) -> tuple[Group, ...]:
    """The jobs that were skipped for a declared reason, grouped by reason."""
    return _grouped(
        (job.verdict, job.cell)
        for job in sorted_jobs(report)
        if not (job.verdict.kind.is_pass or job.verdict.kind.is_failure or job.verdict.kind.is_incomplete)
    )


def same_verdict(jobs: Iterable[JobReport]) -> tuple[Group, ...]:
    """Jobs grouped by verdict and message, under their cells."""
    return _grouped((job.verdict, job.cell) for job in jobs)


def _grouped(pairs: Iterable[tuple[Verdict, str]]) -> tuple[Group, ...]:
    groups: dict[tuple[str, str], dict[str, int]] = {}
    for verdict, name in pairs:
        names = groups.setdefault((str(verdict), verdict.message), {})
        names[name] = names.get(name, 0) + 1
    return tuple(
        Group(verdict=verdict, message=message, names=tuple(sorted(names)), jobs=sum(names.values()))
        for (verdict, message), names in sorted(groups.items())
    )


def notes(report: Report) -> tuple[str, ...]:
    """What a green line would hide: matches only thanks to a normalisation, accepted differences, drift."""
    loosened: dict[tuple[str, ...], int] = {}
    accepted = 0
    for job in report.jobs:
        if job.verdict.kind.is_pass and job.verdict.normalised:
            loosened[job.verdict.normalised] = loosened.get(job.verdict.normalised, 0) + 1
        accepted += job.verdict.kind is Kind.ACCEPTED
    said = [
        f"{plural(count, 'job')} {'matches' if count == 1 else 'match'} only thanks to {' and '.join(names)}"
        for names, count in sorted(loosened.items())
    ]
    if accepted:
        said.append(f"{plural(accepted, 'job')} {'differs' if accepted == 1 else 'differ'} as the ledger accepts")
    failing = {job.fixture for job in report.jobs if job.verdict.kind.is_failure}
    said += [
        f"{result.fixture}: {result.result}: {result.message}"
        for result in report.fixtures
        if not result.is_failure and result.fixture not in failing
    ]
    open_cells = [cell.cell.id for cell in report.cells if cell.is_verified and cell.isolation == "none"]
    if open_cells:
        said.append(f"isolation: none, a program can alter its own result: {listed(open_cells, 4)}")
    return tuple(said)


def coverage_sentence(coverage: Coverage, names: int = 4) -> str:
    """Planned minus executed, and which cells are missing and why."""
    parts = [f"coverage: {coverage.executed} of {plural(coverage.planned, 'planned job')} executed"]
    if coverage.skipped:
        parts.append(f"{coverage.skipped} skipped")
    if coverage.missing:
        parts.append(f"{coverage.missing} missing")
    sentence = ", ".join(parts)
    reasons: dict[str, list[str]] = {}
    for cell, why in coverage.unverified:
        reasons.setdefault(why, []).append(cell)
    cells = [f"{brief(why, 120)}: {listed(sorted(cells), names)}" for why, cells in sorted(reasons.items())]
    return f"{sentence}; not verified: {'; '.join(cells)}" if cells else sentence
