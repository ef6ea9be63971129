"""Proposals: from what a program did in its runs to the files of its golden, or to the reason why it cannot have one.

Nothing is written here. A golden keeps the name that it has; a new one is named as its fixture's layout asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from harness.divergence.difference import Excerpt, difference
from harness.judge import normalise
from harness.model.observation import Ending
from harness.plan import PlannedJob
from harness.wire import Result

_LIMITS = {
    Ending.OUTPUT_LIMIT: "it was stopped at its output limit",
    Ending.MEMORY_LIMIT: "it was stopped at its memory limit",
    Ending.PROCESS_LIMIT: "it was stopped at its limit of processes",
    Ending.DISK_LIMIT: "it was stopped at its disk limit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One file: what is in it (None: it is not there) and what shall be."""

    path: Path
    before: bytes | None
    after: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a fixture's golden should become: files to write, nothing, or a refusal with its reason.

    ``remark`` is what to know before agreeing, such as an exit status that is not 0.
    """

    fixture: str
    changes: tuple[Change, ...] = ()
    refusal: str = ""
    remark: str = ""

    @property
    def is_new(self) -> bool:
        """Whether the fixture has had no golden until now."""
        return bool(self.changes) and all(change.before is None for change in self.changes)


class _Refused(Exception):
    """There can be no golden, for the reason in words."""


def propose(place: Path, job: PlannedJob, results: Sequence[Result], streams: Mapping[str, bytes]) -> Proposal:
    """Judge the runs of one job. ``place`` is the fixture's folder, or the program of a flat one.

    ``results`` are of equal runs but for the last, which had another hash seed. ``streams`` has bytes by digest; those of the golden's own files are read from them.
    """
    golden, name = job.golden, job.fixture.id
    try:
        _refuse_unsound(job, results, streams)
        result = results[0]
        status = -result.code if result.ending is Ending.SIGNALLED else result.code
        changes = []
        for path, stream in ((golden.stdout or _new(place), result.stdout), (golden.stderr, result.stderr)):
            if path is not None:
                changes += _stream_change(job, path, stream.digest, streams)
        if status != golden.exit:
            changes.append(_exit_change(place, job, status))
    except _Refused as refusal:
        return Proposal(fixture=name, refusal=str(refusal))
    remark = f"it ends with status {status}{_last_words(result, streams)}" if status and changes else ""
    return Proposal(fixture=name, changes=tuple(changes), remark=remark)


def _refuse_unsound(job: PlannedJob, results: Sequence[Result], streams: Mapping[str, bytes]) -> None:
    for result in results:
        if result.ending is Ending.LOST:
            raise _Refused(f"its run was lost: {result.lost}")
        if result.ending is Ending.TIMEOUT:
            raise _Refused(f"it was stopped after {result.duration_ns / 1e9:.1f} s")
        if result.ending in _LIMITS:
            raise _Refused(_LIMITS[result.ending])
        if result.ending is Ending.SIGNALLED and job.golden.exit != -result.code:
            raise _Refused(f"it was ended by signal {result.code}{_last_words(result, streams)}")
        if result.leaked:
            raise _Refused(f"it left {result.leaked} process{'es' * (result.leaked != 1)} behind")
    first, *repeated, perturbed = results
    for other in repeated:
        _refuse_different(job, first, other, streams, "its runs differ")
    _refuse_different(job, first, perturbed, streams, "it depends on the hash seed, such as the order of a set")


def _refuse_different(job: PlannedJob, first: Result, other: Result, streams: Mapping[str, bytes], blame: str) -> None:
    if (first.ending, first.code) != (other.ending, other.code):
        raise _Refused(f"{blame}: it ended with {first.code}, and then with {other.code}")
    if first.stdout != other.stdout:
        raise _Refused(f"{blame}{_where(first, other, streams)}")
    if job.golden.stderr is not None and first.stderr != other.stderr:
        raise _Refused(f"{blame} (on stderr, which its golden has)")


def _where(first: Result, other: Result, streams: Mapping[str, bytes]) -> str:
    one, two = (streams.get(result.stdout.digest) for result in (first, other))
    found = difference(one, two) if one is not None and two is not None else None
    if found is None:
        return ""
    return f": line {found.line} has `{_line(found.expected)}`, and then `{_line(found.actual)}`"


def _line(excerpt: Excerpt) -> str:
    """The part of an excerpt that is on the line of the difference, short enough for a sentence."""
    return excerpt.text.partition("\\n")[0].strip()[:60]


def _last_words(result: Result, streams: Mapping[str, bytes]) -> str:
    lines = streams.get(result.stderr.digest, b"").decode("utf-8", "backslashreplace").strip().splitlines()
    return f": {lines[-1].strip()[:200]}" if lines else ""


def _stream_change(job: PlannedJob, path: Path, digest: str, streams: Mapping[str, bytes]) -> list[Change]:
    """The file of one stream, unless it says the same already, be it after the normalisations asked for."""
    before = path.read_bytes() if path.is_file() else None
    if before is not None and sha256(before).hexdigest() == digest:
        return []
    after = streams.get(digest, b"" if sha256().hexdigest() == digest else None)
    if after is None:
        raise _Refused("it says more than can be kept; a golden has at most 8 MiB")
    if before is not None and normalise(before, job.normalise) == normalise(after, job.normalise):
        return []
    return [Change(path=path, before=before, after=after)]


def _new(place: Path) -> Path:
    return place / "expected.stdout" if place.is_dir() else place.with_name(f"{_stem(place)}.out")


def _stem(place: Path) -> str:
    return place.name.rpartition(".")[0] or place.name


def _exit_change(place: Path, job: PlannedJob, status: int) -> Change:
    """The file that names the exit status; what fixture.yaml says of it has to be changed there."""
    names = ("expected.exit", "expect.exit") if place.is_dir() else (f"{_stem(place)}.exit",)
    folder = place if place.is_dir() else place.parent
    existing = next((folder / name for name in names if (folder / name).is_file()), None)
    if job.golden.when is not None or (existing is None and job.golden.exit != 0):
        raise _Refused(f"it ends with status {status}, and fixture.yaml says {job.golden.exit}: change it there")
    if existing is not None:
        return Change(path=existing, before=existing.read_bytes(), after=b"%d\n" % status)
    older = job.golden.stdout is not None and job.golden.stdout.name == "expect.txt"
    return Change(path=folder / names[1 if older else 0], before=None, after=b"%d\n" % status)
