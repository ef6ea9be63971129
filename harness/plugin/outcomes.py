"""What a job's verdict is to pytest: the one table from verdicts to outcomes.

Only a cell that gates can fail or be an error; elsewhere a failure is an expected one, as in our JUnit reports.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import HarnessError
from harness.model.cell import Cell, Tier
from harness.model.report import JobReport, Report
from harness.model.verdict import Kind, Verdict
from harness.reports import Blobs
from harness.reports.escape import terminal

_WIDTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``word`` is passed, failed, error, skipped or xfailed; ``text`` says why; ``seconds`` is how long the job ran."""

    word: str
    verdict: str
    text: str = ""
    seconds: float = 0.0


def outcome_of(report: Report, cell: Cell, blobs: Blobs, require: str) -> Outcome:
    """The outcome of the one job of a report."""
    (job,) = report.jobs
    word = _word(job.verdict, cell, require)
    return Outcome(
        word=word,
        verdict=str(job.verdict),
        text="" if word == "passed" else _text(report, job, blobs, is_whole=word == "failed"),
        seconds=next((row[2] for row in report.run.durations if row[:2] == (job.fixture, job.cell)), 0.0),
    )


def _word(verdict: Verdict, cell: Cell, require: str) -> str:
    kind = verdict.kind
    if kind.is_pass:
        return "passed"
    if kind is Kind.SKIPPED:
        # A program that could not be made fails a run, wherever it was to be run.
        return "failed" if verdict.reason == "prepare-failed" else "skipped"
    if kind is Kind.UNAVAILABLE:
        is_required = require == "all" or (require == "tier-1" and cell.tier is Tier.ONE)
        return "error" if is_required or verdict.reason == "host-key" else "skipped"
    if kind.is_incomplete:
        return "error" if cell.tier.gates or require == "all" else "skipped"
    return "failed" if cell.tier.gates else "xfailed"


def _text(report: Report, job: JobReport, blobs: Blobs, *, is_whole: bool) -> str:
    if is_whole:
        from harness.reports.terminal import render_failures

        return render_failures(report, blobs, width=_WIDTH)
    message = f": {job.verdict.message}" if job.verdict.message else ""
    return terminal(f"{job.verdict}{message}")


def complaint(error: HarnessError) -> str:
    """An error as the command line says it: each problem with its next step."""
    said = [f"harness: {terminal(str(one))}\n  hint: {terminal(one.mend)}" for one in error.problems]
    return "\n".join(said)
