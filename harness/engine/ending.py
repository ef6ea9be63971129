"""How a run ends: what it observed, in order, becomes the evidence's last parts, the report, and what the store keeps.

Shared by a run that does all its jobs, one that is asked for them one by one, and one that is merged from parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness import __version__
from harness.conclude import Evidence, conclude
from harness.engine.cells import Surveyed
from harness.engine.goldens import Goldens
from harness.engine.options import Options
from harness.model.cell import Tier
from harness.model.observation import Observation
from harness.model.report import Report, RunInfo
from harness.model.verdict import Kind
from harness.store.database import RunRecord, Store

Key = tuple[str, str]


def in_order(observations: Mapping[Key, Sequence[Observation]]) -> dict[Key, list[Observation]]:
    """Observations by job with the attempts of each in their order; a loss is counted below zero."""
    return {key: sorted(attempts, key=lambda seen: abs(seen.attempt)) for key, attempts in observations.items()}


def run_info(
    record: RunRecord,
    options: Options,
    observations: Mapping[Key, Sequence[Observation]],
    *,
    seconds: float = 0.0,
    resumed: int = 0,
) -> RunInfo:
    """What a report says of the run itself, which took so many seconds."""
    return RunInfo(
        id=record.id,
        started=record.started,
        duration=round(seconds, 3),
        version=__version__,
        arguments=options.arguments,
        config=options.config,
        resumed=resumed,
        durations=tuple(
            (*key, round(sum(one.duration_ns for one in attempts) / 1e9, 6))
            for key, attempts in sorted(observations.items())
        ),
    )


def finish(store: Store, evidence: Evidence, goldens: Goldens) -> Report:
    """Bring a run to its report, and keep that with all bytes that it speaks of."""
    report = conclude(evidence, goldens.fetch)
    goldens.keep(report)
    store.finish(evidence.run.id, report)
    return report


def notes(surveyed: Sequence[Surveyed]) -> tuple[str, ...]:
    """Which hosts a cell had to do without, and what a user should do next when no gating cell could be verified here."""
    left_out = tuple(
        f"{cell.cell.id} runs without {one.machine}: {one.verdict.reason or one.verdict.kind.value}: {one.verdict.message}"
        for cell in (each.report for each in surveyed)
        for one in cell.left_out
    )
    gating = [one for one in surveyed if one.report.cell.tier is Tier.ONE]
    if not gating or any(one.report.is_verified for one in gating):
        return left_out
    nearest = next((one for one in gating if one.mend and one.report.verdict), None)
    if nearest is None or nearest.report.verdict is None or nearest.report.verdict.kind is not Kind.UNAVAILABLE:
        return (*left_out, "no cell of tier 1 was verified")
    mend = f"no cell of tier 1 was verified: {nearest.report.verdict.message}; get it with `{nearest.mend}`"
    return (*left_out, mend)
