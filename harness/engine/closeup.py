"""Close-ups: which executions to repeat for the bytes around a difference that lies in an output too large to be kept.

One cell of each differing output is asked, and one of an expected output that no file has, or else the oracle's
command. Which cells follows from what they said in this run, never from what happens to be in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.agent import HOLD_LIMIT
from harness.divergence.part import Known, first_chunk
from harness.model.observation import Ending, Observation
from harness.model.outline import CHUNK, Outline, Window
from harness.model.report import JobReport, Report
from harness.model.verdict import Kind
from harness.reports.evidence import outputs_of

Key = tuple[str, str]


def has_large_output(observations: Mapping[Key, Sequence[Observation]]) -> bool:
    """Whether any stdout was too large to be kept: without one there is nothing to ask for."""
    return any(one.stdout.size > HOLD_LIMIT for attempts in observations.values() for one in attempts)


@dataclass(slots=True, kw_only=True)
class CloseUps:
    """The windows of stdout to be had: by the job to repeat, and by the fixture to ask the oracle's command about."""

    jobs: dict[Key, Window] = field(default_factory=dict)
    commands: dict[str, Window] = field(default_factory=dict)


def close_ups(report: Report, known: Callable[[str], Known | None], is_declared: Callable[[str], bool]) -> CloseUps:
    """What to repeat, of a run that has some large output.

    ``report`` is what would be said without, ``known`` gives an output by digest as far as it is at hand, and
    ``is_declared`` tells whether a file of the project has these bytes. An output that differs from two others is
    shown where it differs from that of the first cell, in the order of ids.
    """
    divergences = {divergence.fixture: divergence for divergence in report.divergences}
    jobs = sorted((job for job in report.jobs if _is_whole(job)), key=lambda job: (job.fixture, job.cell))
    speakers: dict[Key, JobReport] = {}
    for job in jobs:
        speakers.setdefault((job.fixture, _said(job)), job)
    found = CloseUps()
    for job in jobs:
        pair = outputs_of(job, divergences.get(job.fixture))
        if pair is None or Kind.FLAKY in _kinds(job):
            continue
        wanted, said = pair
        asked = [speakers[job.fixture, said]]
        if (job.fixture, wanted) in speakers and not is_declared(wanted):
            asked.append(speakers[job.fixture, wanted])
        large = [one for one in asked if one.observation and one.observation.stdout.size > HOLD_LIMIT]
        expected = known(wanted) if large or (job.fixture, wanted) not in speakers else None
        if not large and not isinstance(expected, Outline):
            continue
        window = _window(expected, known(said))
        for one in large:
            found.jobs.setdefault((one.fixture, one.cell), window)
        if (job.fixture, wanted) not in speakers and isinstance(expected, Outline):
            found.commands.setdefault(job.fixture, window)
    return found


def _is_whole(job: JobReport) -> bool:
    """Whether the job's program has ended by itself and left nothing behind, so that it would say the same again."""
    seen = job.observation
    return seen is not None and seen.ending in (Ending.EXITED, Ending.SIGNALLED) and not seen.leaked


def _kinds(job: JobReport) -> Iterable[Kind]:
    return (job.verdict.kind, *(detail.kind for detail in job.verdict.details))


def _said(job: JobReport) -> str:
    assert job.observation is not None
    return job.observation.stdout.digest


def _window(expected: Known | None, actual: Known | None) -> Window:
    """The first chunk that differs, the one before it and the one after."""
    index = None if expected is None or actual is None else first_chunk(expected, actual)
    return max((index or 0) - 1, 0) * CHUNK, 3 * CHUNK
