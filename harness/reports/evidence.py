"""Evidence: the two outputs behind a failing job, compared once and bounded, and the end of its stderr."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.divergence.difference import Difference, difference_of
from harness.divergence.part import Known, first_chunk, parts
from harness.divergence.unified import unified_of
from harness.model.outline import CHUNK, Outline
from harness.model.report import Divergence, JobReport
from harness.model.verdict import Kind
from harness.reports import Blobs

_JOB_FOLDER = re.compile(rb"""[^\s"'()<>]{0,100}harness-agent-[^/\s]{1,32}/slot\d{1,4}/(work/)?""")
_OF_OUTPUT = (Kind.DIVERGED, Kind.CHANGED, Kind.FLAKY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two outputs: where they first differ and a bounded diff, or in ``lacking`` why there is none."""

    difference: Difference | None = None
    rows: tuple[str, ...] = ()
    lacking: str = ""

    @property
    def place(self) -> str:
        """The first difference in words."""
        if self.difference is None:
            return self.lacking
        at = self.difference
        where = f"byte {at.offset}" if at.line is None else f"line {at.line}, column {at.column} (byte {at.offset})"
        kind = {"": "", "encoding-only": f", encoding-only: {' and '.join(at.encodings)}"}.get(at.kind, f", {at.kind}")
        return where + kind


def class_names(divergence: Divergence) -> dict[str, str]:
    """Name each output by digest: ``expected``, then ``class b``, ``class c``; from ``class a`` without it."""
    start = 1 if divergence.expected else 0
    others = [group.digest for group in divergence.classes if not group.is_expected]
    names = {divergence.expected: "expected"} if divergence.expected else {}
    for position, digest in enumerate(others, start):
        names[digest] = f"class {chr(ord('a') + position)}" if position < 26 else f"class {position + 1}"
    return names


def reference(divergence: Divergence) -> str:
    """The digest that the other classes are compared with: the expected one, else that of the largest class."""
    return divergence.expected or divergence.classes[0].digest


def outputs_of(job: JobReport, divergence: Divergence | None) -> tuple[str, str] | None:
    """The digests of what a job should have said and what it said; None when its output is not what failed."""
    kinds = (job.verdict.kind, *(detail.kind for detail in job.verdict.details))
    if job.observation is None or not any(kind in _OF_OUTPUT for kind in kinds):
        return None
    wanted = job.expected or (reference(divergence) if divergence else "")
    said = job.observation.stdout.digest
    return (wanted, said) if wanted and wanted != said else None


def compare(wanted: str, said: str, blobs: Blobs, *, rows: int, width: int) -> Comparison:
    """Compare two outputs by digest, as far as they were kept."""
    expected, actual = known(wanted, blobs), known(said, blobs)
    if expected is None or actual is None:
        missing = wanted if expected is None else said
        return Comparison(lacking=f"not shown: the bytes of sha256 {missing[:16]} were not kept")
    found = parts(expected, actual)
    if found is None:
        first = (first_chunk(expected, actual) or 0) * CHUNK
        return Comparison(lacking=f"somewhere in bytes {first} to {first + CHUNK - 1}, which were not kept")
    return Comparison(difference=difference_of(*found), rows=unified_of(*found, limit=rows, width=width)[2:])


def known(digest: str, blobs: Blobs) -> Known | None:
    """An output: its bytes, or the outline of one that was too large; None when neither was kept."""
    data = blobs.get(digest)
    return blobs.outline(digest) if data is None else data


def last_words(job: JobReport, blobs: Blobs, lines: int) -> tuple[str, ...]:
    """The last lines of a failed job's stderr; none when it said nothing or they were not kept.

    Paths in the job's own folder are shown relative to it: the folder has another name in each run.
    """
    if job.observation is None or job.observation.stderr.size == 0:
        return ()
    said = known(job.observation.stderr.digest, blobs) or b""
    end = said.tail if isinstance(said, Outline) else said[-CHUNK:]
    if b"harness-agent-" in end:
        end = _JOB_FOLDER.sub(b"", end)
    return tuple(line[:500].decode("utf-8", "backslashreplace") for line in end.splitlines()[-lines:])
