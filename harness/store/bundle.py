"""Bundles: one run in one file that can be carried to another machine and there be trusted, or refused.

JSON lines, each chained to the one before by sha256, blobs under their own digest, a count at the end. The bytes
follow from what was recorded, not from when or in which order.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from harness.errors import InputError, Place, Problem
from harness.model.codec import canonical, decode, encode
from harness.model.observation import Observation
from harness.model.outline import Outline
from harness.model.report import Report
from harness.store.database import RunRecord, Store
from harness.store.disk import local_trouble, write_whole
from harness.store.schema import row_of

_FORMAT = {"name": "harness-bundle", "version": 1}
# A line is {"chain": "<sha256 of the last line's chain and of this line without its chain>", "<kind>": <value>}.
_OPENING = b'{"chain":"'
_BODY = len(_OPENING) + 64 + len(b'",')
# The kinds in their order. All sort after "chain", so that keys are sorted in every line.
_KINDS = ("format", "run", "content", "outline", "observation", "report", "end")
_SINGLE = frozenset({"format", "run", "report", "end"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A run as read from its file, every digest verified; ``digest`` names the whole.

    ``blobs`` are (digest, bytes), ``outlines`` (digest of the stream, encoded outline).
    """

    run: RunRecord
    observations: tuple[Observation, ...]
    blobs: tuple[tuple[str, bytes], ...]
    outlines: tuple[tuple[str, bytes], ...]
    report: Report | None
    digest: str


def write_bundle(store: Store, run_id: str, path: Path) -> str:
    """Write a run, finished or not, to a file that is there whole or not at all; return the bundle's digest.

    It holds the record, the observations, the blobs and outlines that these and the report speak of as far as the
    store has them, and the report if there is one. Raises NothingRan for an unknown run, LocalTrouble when the disk fails.
    """
    chain = _Chain()
    parts = _contents(store, run_id)
    with local_trouble(path):
        write_whole(path, (chain.seal(kind, value) for kind, value in _ended(parts, chain)), scratch=path.parent)
    return chain.digest


def read_bundle(path: Path) -> Bundle:
    """Read a bundle and verify all of it; raise InputError naming the line that is cut off, altered or not understood."""
    found: dict[str, list[Any]] = {kind: [] for kind in _KINDS}
    number, chain = 0, _Chain()
    try:
        with path.open("rb") as file:
            for number, (kind, value) in enumerate(_lines(file, chain), start=1):  # noqa: B007  # the line
                found[kind].append(value)
    except OSError as error:
        raise InputError(Problem(id="H0101", message=str(error.strerror), place=Place(path=str(path)))) from error
    except (ValueError, RecursionError) as error:
        place = Place(path=str(path), line=number + 1)
        raise InputError(Problem(id="H0704", message=str(error), place=place)) from error
    return Bundle(
        run=found["run"][0],
        observations=tuple(found["observation"]),
        blobs=tuple(found["content"]),
        outlines=tuple(found["outline"]),
        report=next(iter(found["report"]), None),
        digest=chain.digest,
    )


def import_bundle(store: Store, bundle: Bundle) -> tuple[Observation, ...]:
    """Take a bundle into the store; again, or after a crash in the middle, it changes nothing that is there.

    A run that is known keeps its record and, when it has finished, its report. Returned is what ``Store.record``
    returns. Raises InputError when the store knows the run with other inputs.
    """
    known = next((run for run in store.runs() if run.id == bundle.run.id), None)
    if known is None:
        store.begin(bundle.run)
    elif known.inputs != bundle.run.inputs:
        raise InputError(Problem(id="H0704", message=f"run {known.id} is in the store with other inputs"))
    repeated = store.record(bundle.run.id, bundle.observations, dict(bundle.blobs), dict(bundle.outlines))
    if bundle.report is not None and any(run.id == bundle.run.id for run in store.unfinished()):
        store.finish(bundle.run.id, bundle.report)
    return repeated


class _Chain:
    """The running digest of the lines so far, and their number."""

    def __init__(self) -> None:
        self.digest = ""
        self.count = 0

    def follow(self, body: bytes) -> str:
        self.digest = hashlib.sha256(self.digest.encode() + body).hexdigest()
        self.count += 1
        return self.digest

    def seal(self, kind: str, value: object) -> bytes:
        body = canonical({kind: value}).encode()
        return b'%s%s",%s\n' % (_OPENING, self.follow(body).encode(), body[1:])


def _contents(store: Store, run_id: str) -> Iterator[tuple[str, object]]:
    yield "format", _FORMAT
    yield "run", encode(store.run(run_id))
    observations = sorted(
        store.observations(run_id), key=lambda seen: (seen.fixture, seen.cell, seen.attempt, seen.key)
    )
    finished = run_id not in {run.id for run in store.unfinished()}
    report = store.report(run_id) if finished else None
    spoken = sorted(_digests(observations, report))
    for digest in spoken:
        data = store.get(digest)
        if data is not None:
            yield "content", _content(digest, data)
    for digest in spoken:
        outline = store.outline(digest)
        if outline is not None:
            yield "outline", _content(digest, outline.encode())
    for seen in observations:
        yield "observation", encode(seen)
    if report is not None:
        yield "report", encode(report)


def _content(digest: str, data: bytes) -> object:
    return {"digest": digest, "base64": base64.b64encode(data).decode("ascii")}


def _ended(parts: Iterator[tuple[str, object]], chain: _Chain) -> Iterator[tuple[str, object]]:
    yield from parts
    yield "end", {"count": chain.count, "digest": chain.digest}


def _digests(observations: list[Observation], report: Report | None) -> set[str]:
    spoken = {digest for seen in observations for digest in (seen.stdout.digest, seen.stderr.digest)}
    if report is not None:
        spoken.update(job.expected for job in report.jobs)
        spoken.update(divergence.expected for divergence in report.divergences)
        spoken.update(each.digest for divergence in report.divergences for each in divergence.classes)
    return spoken


def _lines(file: BinaryIO, chain: _Chain) -> Iterator[tuple[str, object]]:
    """The kind and value of each line, verified; raise ValueError at the first that is not as it was written."""
    last = -1
    for line in file:
        count, before = chain.count, chain.digest
        kind, value = _opened(line, chain)
        position = _KINDS.index(kind)
        # format and run are the first two lines, the end is the last; between them each kind keeps its place.
        repeatable = position == last and kind not in _SINGLE
        if position != count if count < 2 else not (position > last or repeatable):
            raise ValueError(f"a line of kind {kind!r} has no place here")
        if kind == "end" and value != {"count": count, "digest": before}:
            raise ValueError("the count or the digest at the end is not that of the lines before")
        last = position
        yield kind, _READERS[kind](value)
    if last != _KINDS.index("end"):
        raise ValueError("the bundle is cut off here")


def _opened(line: bytes, chain: _Chain) -> tuple[str, Any]:
    body = b"{" + line[_BODY:-1]
    if not line.endswith(b"\n") or line[:_BODY] != b'%s%s",' % (_OPENING, chain.follow(body).encode()):
        raise ValueError("the line, or the one before it, is not as it was written")
    content = json.loads(body)
    kind = next(iter(content), "")
    if kind not in _KINDS or len(content) != 1:
        raise ValueError(f"a line of kind {kind!r} is not understood")
    return kind, content[kind]


def _format(value: object) -> object:
    if value != _FORMAT:
        raise ValueError(f"this harness reads bundles of the format {_FORMAT}, not {value}")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    digest: str
    base64: str


def _blob(value: object) -> tuple[str, bytes]:
    content = decode(_Content, value)
    data = base64.b64decode(content.base64, validate=True)
    if hashlib.sha256(data).hexdigest() != content.digest:
        raise ValueError(f"the content is not the bytes of {content.digest}")
    return content.digest, data


def _outline(value: object) -> tuple[str, bytes]:
    content = decode(_Content, value)
    data = base64.b64decode(content.base64, validate=True)
    Outline.decode(data)
    return content.digest, data


def _observation(value: object) -> Observation:
    seen = decode(Observation, value)
    # JSON can hold half of a surrogate pair, which is no text that the store could keep.
    "".join(str(part) for part in row_of(0, seen)).encode()
    return seen


_READERS: dict[str, Callable[[Any], object]] = {
    "format": _format,
    "run": lambda value: decode(RunRecord, value),
    "content": _blob,
    "outline": _outline,
    "observation": _observation,
    "report": lambda value: decode(Report, value),
    "end": lambda value: value,
}
