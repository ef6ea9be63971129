"""The report as Markdown, for a pull request or a CI summary: the verdict in words first, and again last.

Stays below 900 KiB, because a longer summary is dropped whole; what was cut is said. Data is never markup.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.model.report import Report
from harness.reports import Blobs
from harness.reports import summary as say
from harness.reports.commands import repeat_command
from harness.reports.escape import fence, markdown
from harness.reports.evidence import class_names, compare, last_words, outputs_of

LIMIT = 900 * 1024
"""Bytes of UTF-8 that a summary never reaches."""

_RUN, _RUN_END = "<!-- run -->", "<!-- /run -->"
_CELLS, _ENTRIES, _NAMES, _OUTPUTS, _COMMANDS, _ROWS = 200, 20, 6, 6, 6, 60


def render(report: Report, blobs: Blobs) -> str:
    """Render the report; the block between the two ``run`` comments is the only one that differs between runs."""
    sentence = markdown(say.brief(report.sentence, 1000))
    coverage = markdown(say.brief(say.coverage_sentence(report.coverage), 4000))
    before = [f"## {sentence}", coverage, *_cells(report)]
    after = [*_remarks(report), *_run(report), f"**{sentence}**"]
    found = say.failures(report)
    cut = f"**Cut here:** {{}} of {say.plural(len(found), 'failing fixture')} are only in the other reports."
    left = LIMIT - _size([*before, *after, cut, "### Failures"]) - 100
    blocks = ["### Failures"] if found else []
    for shown, failure in enumerate(found):
        block = "\n\n".join(_failure(failure, blobs, report.run.config))
        left -= _size([block])
        if left < 0:
            blocks.append(cut.format(len(found) - shown))
            break
        blocks.append(block)
    return "\n\n".join([*before, *blocks, *after]) + "\n"


def _size(blocks: list[str]) -> int:
    return sum(len(block.encode()) + 2 for block in blocks)


def _row(*columns: object) -> str:
    return f"| {' | '.join(markdown(str(column)) for column in columns)} |"


def _cells(report: Report) -> Iterable[str]:
    tallies = say.tallies(report)
    rows = ["| cell | tier | python | pass | fail | skip | other | |", "|---|---|---|--:|--:|--:|--:|---|"]
    for cell in report.cells[:_CELLS]:
        tally = tallies[cell.cell.id]
        why = ""
        if cell.verdict is not None:
            message = f": {say.brief(cell.verdict.message, 120)}" if cell.verdict.message else ""
            why = f"not verified: {cell.verdict}{message}"
        counts = (tally.passed, tally.failed, tally.skipped, tally.other)
        rows.append(_row(say.brief(cell.cell.id, 120), cell.cell.tier.value, say.interpreter(cell), *counts, why))
    yield "### Cells"
    yield "\n".join(rows)
    if len(report.cells) > _CELLS:
        yield f"and {say.plural(len(report.cells) - _CELLS, 'cell')} more"


def _failure(failure: say.Failure, blobs: Blobs, config: str) -> Iterable[str]:
    divergence = failure.divergence
    names = class_names(divergence) if divergence else {}
    yield f"#### {markdown(say.brief(failure.fixture))}{'' if failure.gates else ' (does not gate)'}"
    items = [f"{result.result}: {say.brief(result.message)}" for result in failure.results]
    for group in divergence.classes[: _OUTPUTS + 1] if divergence else ():
        count = f"{say.plural(len(group.cells), 'cell')} ({group.size} bytes)"
        items.append(f"{names[group.digest]}: {count}: {say.listed(group.cells, _NAMES)}")
    if divergence and len(divergence.classes) > _OUTPUTS + 1:
        items.append(f"and {len(divergence.classes) - _OUTPUTS - 1} more classes")
    for same in say.same_verdict(failure.jobs)[:_ENTRIES]:
        message = f": {say.brief(same.message)}" if same.message else ""
        items.append(f"{same.verdict} in {say.listed(same.names, _NAMES)}{message}")
    yield _list(items)
    outputs = {pair: job for job in reversed(failure.jobs) if (pair := outputs_of(job, divergence))}
    for (wanted, said), job in list(reversed(outputs.items()))[:_OUTPUTS]:
        compared = compare(wanted, said, blobs, rows=_ROWS, width=200)
        yield f"First difference of {markdown(names.get(said, job.cell))}: {markdown(compared.place)}"
        if compared.rows:
            yield fence("\n".join(compared.rows), "diff")
    speaker = next((job for job in failure.jobs if outputs_of(job, divergence) is None), None)
    words = last_words(speaker, blobs, _ENTRIES) if speaker else ()
    if speaker and words:
        yield f"The end of stderr in {markdown(speaker.cell)}:"
        yield fence("\n".join(word.replace("\n", "\\n") for word in words))
    if failure.jobs:
        commands = (repeat_command(job.fixture, job.cell, config) for job in failure.jobs[:_COMMANDS])
        yield fence("\n".join(say.brief(command.replace("\n", "\\n"), 1000) for command in commands), "sh")


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {markdown(item)}" for item in items)


def _remarks(report: Report) -> Iterable[str]:
    for title, groups in (("Not verified", say.incomplete_jobs(report)), ("Skipped", say.skipped_jobs(report))):
        lines = [
            f"{say.plural(group.jobs, 'job')} {group.verdict} in {say.listed(group.names, _NAMES)}: {group.message}"
            for group in groups
        ]
        yield from _section(title, lines)
    yield from _section("Notes", say.notes(report))
    yield from _section("Warnings", report.warnings)


def _section(title: str, lines: Iterable[str]) -> Iterable[str]:
    items = [say.brief(line) for line in lines]
    if items:
        more = [f"and {len(items) - _ENTRIES} more"] if len(items) > _ENTRIES else []
        yield f"### {title}"
        yield _list([*items[:_ENTRIES], *more])


def _run(report: Report) -> Iterable[str]:
    run = report.run
    words = f"{run.id}, {run.started}, {run.duration:.1f} s, harness {run.version}"
    slowest = sorted(run.durations, key=lambda entry: (-entry[2], entry[0], entry[1]))[:_ENTRIES]
    items = [words, *([say.brief(" ".join(run.arguments))] if run.arguments else [])]
    items += [f"{seconds:.2f} s {say.brief(fixture, 120)} {cell}" for fixture, cell, seconds in slowest]
    yield f"{_RUN}\n\n### Run\n\n{_list(items)}\n\n{_RUN_END}"
