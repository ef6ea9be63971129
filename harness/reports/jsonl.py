"""The report as JSON lines, one event each, for programs that read as they go.

Events are ``run``, ``cell``, ``fixture``, ``job``, ``divergence``, ``warning`` and, last, ``verdict``. Only ``run``
differs between two equal runs. The values are those of the JSON report.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.model.report import Report
from harness.reports import Blobs, summary
from harness.reports import json as values

SCHEMA = "harness-events/1"


def render(report: Report, blobs: Blobs) -> str:
    """Render the report; every line is one JSON object with its ``event``."""
    return "".join(values.json_line(event) + "\n" for event in _events(report, blobs))


def _events(report: Report, blobs: Blobs) -> Iterator[values.Value]:
    yield {"event": "run", "schema": SCHEMA, **values.run_value(report)}
    for cell in report.cells:
        yield {"event": "cell", **values.cell_value(cell)}
    for result in sorted(report.fixtures, key=lambda result: (result.fixture, result.result)):
        yield {"event": "fixture", "fixture": result.fixture, "message": result.message, "result": result.result}
    for job in summary.sorted_jobs(report):
        yield {"event": "job", **values.job_value(job)}
    for divergence in values.divergence_values(report, blobs):
        yield {"event": "divergence", **divergence}
    for warning in report.warnings:
        yield {"event": "warning", "message": warning}
    counts = {kind.value: count for kind, count in report.counts().items()}
    yield {
        "event": "verdict",
        "counts": counts,
        "coverage": values.coverage_value(report),
        **values.verdict_of_run(report),
    }
