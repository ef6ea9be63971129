"""The report as JSON for programs: ``harness-report/1``.

Whatever differs between two equal runs is under ``run``; everything else is equal byte for byte. One line per
cell, job and divergence, so that two reports can be compared with any diff. Outputs are base64, and bounded.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.divergence.difference import Difference, Excerpt, difference_of
from harness.divergence.part import Known, Part, parts
from harness.model.outline import Outline
from harness.model.report import CellReport, Divergence, JobReport, OutputClass, Report
from harness.model.verdict import Verdict
from harness.reports import Blobs, summary
from harness.reports.evidence import known, reference

SCHEMA = "harness-report/1"
OUTPUT_LIMIT = 16 * 1024
"""Bytes of one output that are kept, around its first difference."""
TOTAL_LIMIT = 8 * 1024 * 1024
"""Bytes of all outputs together; later ones are only named."""

Value = Mapping[str, object]


def render(report: Report, blobs: Blobs) -> str:
    """Render the report; the text is ASCII, and JSON for every reader, lone surrogates being escaped visibly."""
    scalars: dict[str, Value] = {
        "counts": {kind.value: count for kind, count in report.counts().items()},
        "coverage": coverage_value(report),
        "run": run_value(report),
        "verdict": verdict_of_run(report),
    }
    rows: dict[str, Iterable[object]] = {
        "cells": [cell_value(cell) for cell in report.cells],
        "divergences": divergence_values(report, blobs),
        "fixtures": [
            {"fixture": result.fixture, "message": result.message, "result": result.result}
            for result in sorted(report.fixtures, key=lambda result: (result.fixture, result.result))
        ],
        "jobs": (job_value(job) for job in summary.sorted_jobs(report)),
        "warnings": report.warnings,
    }
    parts = {name: json_line(value) for name, value in scalars.items()}
    parts["schema"] = json_line(SCHEMA)
    for name, values in rows.items():
        lines = ",\n  ".join(json_line(value) for value in values)
        parts[name] = f"[\n  {lines}\n ]" if lines else "[]"
    return "{\n" + ",\n".join(f' "{name}": {parts[name]}' for name in sorted(parts)) + "\n}\n"


def json_line(value: object) -> str:
    """One value on one line, keys sorted, ASCII, without anything that a CI log would obey."""
    line = json.dumps(value, sort_keys=True)
    if "\\ud" in line:
        line = json.dumps(_writable(value), sort_keys=True)
    return line.replace("##", "#\\u0023")  # only ever inside a string, where it is the same text


def _writable(value: object) -> object:
    """Replace lone surrogates, which most readers of JSON refuse, by their visible escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_writable(key): _writable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(item) for item in value]
    return value


def verdict_of_run(report: Report) -> Value:
    """The exit status and the sentence."""
    return {"exit": report.exit_code, "sentence": report.sentence}


def coverage_value(report: Report) -> Value:
    """Planned minus executed, and which cells were not verified and why."""
    coverage = report.coverage
    return {
        "executed": coverage.executed,
        "missing": coverage.missing,
        "planned": coverage.planned,
        "skipped": coverage.skipped,
        "unverified": [{"cell": cell, "why": why} for cell, why in sorted(coverage.unverified)],
        "unverified_gating": sorted(coverage.unverified_gating),
    }


def run_value(report: Report) -> Value:
    """The only block that differs between two equal runs: identity, times, tries, and what failed jobs complained."""
    run = report.run
    return {
        "arguments": run.arguments,
        "attempts": [
            {"attempts": job.attempts, "cell": job.cell, "fixture": job.fixture}
            for job in summary.sorted_jobs(report)
            if job.attempts > 1
        ],
        "duration": run.duration,
        "durations": sorted(run.durations),
        "id": run.id,
        "resumed": run.resumed,
        "started": run.started,
        "stderr": [
            {
                "cell": job.cell,
                "digest": job.observation.stderr.digest,
                "fixture": job.fixture,
                "size": job.observation.stderr.size,
            }
            for job in summary.sorted_jobs(report)
            if job.observation is not None and job.verdict.kind.is_failure and job.observation.stderr.size
        ],
        "version": run.version,
    }


def cell_value(report: CellReport) -> Value:
    """A cell: claim, server, measured facts or why there are none."""
    return {
        "cell": report.cell.id,
        "facts": None if report.facts is None else report.facts.to_json(),
        "fingerprint": None if report.facts is None else report.facts.fingerprint,
        "isolation": report.isolation,
        "machine": report.machine,
        "runner": report.runner,
        "tier": report.cell.tier.value,
        "verdict": None if report.verdict is None else verdict_value(report.verdict),
        "verified": report.is_verified,
    }


def verdict_value(verdict: Verdict) -> Value:
    """A verdict; what it does not have is left out."""
    value: dict[str, object] = {"kind": verdict.kind.value}
    if verdict.reason:
        value["reason"] = verdict.reason
    if verdict.message:
        value["message"] = verdict.message
    if verdict.details:
        value["details"] = [verdict_value(detail) for detail in verdict.details]
    if verdict.normalised:
        value["normalised"] = verdict.normalised
    return value


def job_value(job: JobReport) -> Value:
    """A job. Its stderr is in the block about the run: a traceback names the job's folder, which no two runs share."""
    value: dict[str, object] = {
        "cell": job.cell,
        "expected": job.expected,
        "expected_exit": job.expected_exit,
        "fixture": job.fixture,
        "verdict": verdict_value(job.verdict),
    }
    if (seen := job.observation) is not None:
        observed: dict[str, object] = {
            "code": seen.code,
            "ending": seen.ending.value,
            "fixture_digest": seen.fixture_digest,
            "stdout": {"digest": seen.stdout.digest, "size": seen.stdout.size},
        }
        if seen.leaked:
            observed["leaked"] = seen.leaked
        if seen.lost:
            observed["lost"] = seen.lost
        value["observation"] = observed
    return value


@dataclass(slots=True)
class _Budget:
    """How many bytes of outputs may still be kept."""

    left: int

    def take(self, count: int) -> bool:
        """Whether that many are left; they are then taken."""
        if count > self.left:
            return False
        self.left -= count
        return True


def divergence_values(report: Report, blobs: Blobs) -> list[Value]:
    """All divergences by fixture, with the first difference of each class and bounded outputs."""
    budget = _Budget(left=TOTAL_LIMIT)
    ordered = sorted(report.divergences, key=lambda divergence: divergence.fixture)
    return [_divergence_value(divergence, blobs, budget) for divergence in ordered]


def _divergence_value(divergence: Divergence, blobs: Blobs, budget: _Budget) -> Value:
    against = reference(divergence)
    wanted = known(against, blobs)
    expected = _head(wanted)
    classes = []
    first = 0
    for group in divergence.classes:
        value = _class_value(group)
        if group.digest != against:
            said = known(group.digest, blobs)
            pair = parts(wanted, said) if wanted is not None and said is not None else None
            found = difference_of(*pair) if pair else None
            value["difference"] = None if found is None else difference_value(found)
            value["output"] = _output(pair[1] if pair else _head(said), found.offset if found else 0, budget)
            if found and pair and not first:
                first, expected = found.offset, pair[0]
        classes.append(value)
    return {
        "classes": classes,
        "expected": divergence.expected,
        "fixture": divergence.fixture,
        "reference": {"digest": against, "output": _output(expected, first, budget)},
    }


def _class_value(group: OutputClass) -> dict[str, object]:
    return {
        "cells": group.cells,
        "digest": group.digest,
        "is_expected": group.is_expected,
        "representative": group.representative,
        "size": group.size,
    }


def difference_value(found: Difference) -> Value:
    """A first difference: offset from 0, line and column from 1 (null: not known), and what is there on both sides."""
    return {
        "actual": _excerpt(found.actual),
        "column": found.column,
        "encodings": found.encodings,
        "expected": _excerpt(found.expected),
        "kind": found.kind,
        "line": found.line,
        "offset": found.offset,
        "unit": found.unit,
    }


def _excerpt(excerpt: Excerpt) -> Value:
    return {"hex": excerpt.hex, "start": excerpt.start, "text": excerpt.text}


def _head(said: Known | None) -> Part | None:
    """What is known of an output from its start on."""
    if said is None:
        return None
    return Part(data=said.head, is_end=False) if isinstance(said, Outline) else Part(data=said)


def _output(part: Part | None, offset: int, budget: _Budget) -> Value:
    """Bytes of an output around an offset; ``base64`` is null when they were not kept or there are too many."""
    if part is None:
        return {"base64": None, "omitted": "not kept"}
    start = max(min(offset - part.start - OUTPUT_LIMIT // 4, len(part.data) - OUTPUT_LIMIT), 0)
    data = part.data[start : start + OUTPUT_LIMIT]
    if not budget.take(len(data)):
        return {"base64": None, "omitted": f"this report keeps {TOTAL_LIMIT} bytes of outputs"}
    is_whole = part.is_end and part.start == 0 and len(data) == len(part.data)
    return {"base64": base64.b64encode(data).decode(), "start": part.start + start, "is_whole": is_whole}
