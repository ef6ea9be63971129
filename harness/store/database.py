"""The store of one matrix: runs, observations and reports in one SQLite file, blobs beside it, one writer at a time.

What ``record`` and ``finish`` return from is on the disk: it outlives kill -9 and power loss, and is there once.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING

from harness.errors import NothingRan, Problem
from harness.model.codec import from_json, to_json
from harness.model.observation import Observation
from harness.model.outline import Outline
from harness.model.report import Report
from harness.store import schema
from harness.store.blobs import Blobs
from harness.store.disk import Damaged, local_trouble, private_folder, write_whole

if TYPE_CHECKING:
    from filelock import BaseFileLock

_FILE = "harness.db"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
_NO_BLOBS: Mapping[str, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What a run is, from its first moment: enough to go on with it after a crash.

    ``started`` is ISO 8601 in UTC and orders nothing (clocks jump). ``inputs`` is a digest over matrix, corpus and
    selection; ``selection`` is JSON text. Raises ValueError for an id that could not name a file.
    """

    id: str
    started: str
    arguments: tuple[str, ...]
    inputs: str
    selection: str

    def __post_init__(self) -> None:
        if not _ID.match(self.id):
            raise ValueError(f"{self.id!r} is no id of a run")


def _in_silence(_: str) -> None:
    """Say nothing of a wait."""


class Store:
    """An open store; a context manager that closes it. Its methods may be called from any thread.

    Every method raises LocalTrouble when the disk fails or the store is damaged, and NothingRan for a run that
    is not there.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection, blobs: Blobs, lock: BaseFileLock | None) -> None:
        self.folder = folder
        self._path = folder / _FILE
        self._connection = connection
        self._blobs = blobs
        self._lock = lock
        self._turn = threading.RLock()

    @classmethod
    def open(cls, folder: Path, *, waiting: Callable[[str], None] = _in_silence, patience: float = 5.0) -> Store:
        """Open for writing, as the only writer; make the folder (0700, unknown to git) where there is none.

        Waits for another writer to end; after ``patience`` seconds ``waiting`` is told so, once, in a sentence.
        """
        with local_trouble(folder), contextlib.ExitStack() as undo:
            private_folder(folder)
            lock = _writer_lock(folder, waiting, patience)
            undo.callback(lock.release)
            blobs = Blobs(folder, writable=True)
            if not (folder / ".gitignore").exists():
                write_whole(folder / ".gitignore", (b"*\n",), scratch=folder / "incoming")
            connection = schema.connect(folder / _FILE, writable=True)
            undo.pop_all()
            return cls(folder, connection, blobs, lock)

    @classmethod
    def read(cls, folder: Path) -> Store:
        """Open for reading, without waiting for a writer and without making anything; raise NothingRan without a store."""
        with local_trouble(folder):
            if not (folder / _FILE).exists():
                raise _nothing(f"there is no store in {folder}")
            private_folder(folder)
            return cls(folder, schema.connect(folder / _FILE, writable=False), Blobs(folder, writable=False), None)

    def close(self) -> None:
        """Close, and let the next writer in. Closing twice is closing."""
        with self._turn:
            self._connection.close()
            if self._lock is not None:
                self._lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begin(self, run: RunRecord) -> None:
        """Register a run before its first observation. The same run again is nothing; another under its id a ValueError."""
        with self._changing() as connection:
            known = connection.execute("SELECT record FROM runs WHERE id = ?", (run.id,)).fetchone()
            if known is None:
                connection.execute("INSERT INTO runs (id, record) VALUES (?, ?)", (run.id, to_json(run)))
        if known is not None and known[0] != to_json(run):
            raise ValueError(f"another run has the id {run.id}")

    def run(self, run_id: str) -> RunRecord:
        """The record of a run."""
        found = self._runs("WHERE id = ?", run_id)
        if not found:
            raise self._unknown(run_id)
        return found[0]

    def runs(self) -> tuple[RunRecord, ...]:
        """All runs, the one begun last first."""
        return self._runs("")

    def unfinished(self) -> tuple[RunRecord, ...]:
        """The runs that have no report yet, the one begun last first."""
        return self._runs("WHERE finished IS NULL")

    def record(
        self,
        run_id: str,
        observations: Sequence[Observation],
        blobs: Mapping[str, bytes] = _NO_BLOBS,
        outlines: Mapping[str, bytes] = _NO_BLOBS,
    ) -> tuple[Observation, ...]:
        """Keep observations, and before them what they speak of; on return all is durable.

        ``blobs`` are by digest; ``outlines``, encoded, are by the digest of the stream that they are of. An
        observation whose key is recorded already is ignored. Returned are those among them whose stdout differs
        from the recorded one: a repeat that says something else. Raises ValueError for a blob that is not its
        digest's, and for an outline that does not hold together.
        """
        for digest, data in blobs.items():
            if hashlib.sha256(data).hexdigest() != digest:
                raise ValueError(f"the blob is not the bytes of {digest}")
        with self._turn, local_trouble(self.folder):
            for data in blobs.values():
                self._blobs.put(data)
        self.keep_outlines(outlines)
        with self._changing() as connection:
            run = self._seq(run_id)
            added = connection.executemany(schema.INSERT, [schema.row_of(run, seen) for seen in observations]).rowcount
            if added == len(observations):
                return ()
            return tuple(seen for seen in observations if self._differs(run, seen))

    def observations(self, run_id: str) -> tuple[Observation, ...]:
        """The accepted observations of a run, in the order in which they were recorded, each verified."""
        with self._reading() as connection:
            return tuple(map(schema.observation_of, connection.execute(schema.SELECT, (self._seq(run_id),))))

    def finish(self, run_id: str, report: Report) -> None:
        """Save the report of a run and make it the newest finished one; a run judged again has its last report."""
        body = zlib.compress(to_json(report).encode(), 1)
        cells = [cell.cell.id for cell in report.cells if cell.is_verified]
        with self._changing() as connection:
            run = self._seq(run_id)
            digest = hashlib.sha256(body).hexdigest()
            connection.execute("INSERT OR REPLACE INTO reports VALUES (?, ?, ?)", (run, body, digest))
            connection.execute("DELETE FROM verified WHERE run = ?", (run,))
            connection.executemany("INSERT OR IGNORE INTO verified VALUES (?, ?)", [(run, cell) for cell in cells])
            connection.execute(schema.LEARN_DURATIONS, (run,))
            newest = "(SELECT coalesce(max(finished), 0) + 1 FROM runs)"
            connection.execute(f"UPDATE runs SET finished = {newest} WHERE seq = ?", (run,))

    def report(self, run_id: str | None = None) -> Report:
        """The report of a run, verified; without an id, of the run that finished last."""
        with self._reading() as connection:
            chosen = self.latest_with() if run_id is None else run_id
            if chosen is None:
                raise _nothing(f"no run in {self.folder} has finished")
            found = connection.execute(
                "SELECT body, digest FROM reports WHERE run = ?", (self._seq(chosen),)
            ).fetchone()
            if found is None:
                raise _nothing(f"run {chosen} has not finished")
            body, digest = found
            if hashlib.sha256(body).hexdigest() != digest:
                raise Damaged(f"the report of run {chosen} is not as it was written")
            return from_json(Report, zlib.decompress(body))

    def latest_with(self, cells: Callable[[str], bool] | None = None) -> str | None:
        """The id of the run that finished last and has a verified cell whose id is wanted; without a test, of any."""
        with self._reading() as connection:
            if cells is None:
                newest = "SELECT id FROM runs WHERE finished NOT NULL ORDER BY finished DESC LIMIT 1"
                return next((str(row[0]) for row in connection.execute(newest)), None)
            having = "SELECT id, cell FROM verified JOIN runs ON runs.seq = run ORDER BY finished DESC, cell"
            return next((str(run) for run, cell in connection.execute(having).fetchall() if cells(cell)), None)

    def failures(self, run_id: str | None = None) -> tuple[tuple[str, str], ...]:
        """Fixture and cell of each failed job of a run, in the report's order; without an id, of the last finished."""
        return tuple((job.fixture, job.cell) for job in self.report(run_id).jobs if job.verdict.kind.is_failure)

    def durations(self) -> dict[tuple[str, str], int]:
        """How long each fixture took in each cell in the last finished run that has it, in nanoseconds."""
        with self._reading() as connection:
            rows = connection.execute("SELECT fixture, cell, duration_ns FROM durations ORDER BY fixture, cell")
            return {(fixture, cell): duration for fixture, cell, duration in rows}

    def get(self, digest: str) -> bytes | None:
        """The bytes of a digest, verified; None when the store does not have them."""
        with self._turn, local_trouble(self.folder):
            return self._blobs.get(digest)

    def has(self, digest: str) -> bool:
        """Whether bytes are kept under a digest, without reading them."""
        with self._turn, local_trouble(self.folder):
            return self._blobs.has(digest)

    def keep(self, data: bytes) -> str:
        """Keep bytes that belong to no observation, such as a golden; return their digest."""
        with self._turn, local_trouble(self.folder):
            return self._blobs.put(data)

    def outline(self, digest: str) -> Outline | None:
        """The outline of the stream with this digest, verified; None when the store does not have it."""
        with self._reading() as connection:
            row = connection.execute("SELECT blob FROM outlines WHERE stream = ?", (digest,)).fetchone()
            data = self._blobs.get(row[0]) if row else None
        with contextlib.suppress(ValueError):  # what is not as it was written is a miss
            return None if data is None else Outline.decode(data)
        return None

    def keep_outlines(self, outlines: Mapping[str, bytes]) -> None:
        """Keep encoded outlines by the digest of their streams; one with a window is not replaced by one without."""
        for stream, data in outlines.items():
            outline, known = Outline.decode(data), self.outline(stream)
            if known is None or (outline != known and (outline.window or not known.window)):
                blob = self.keep(data)
                with self._changing() as connection:
                    connection.execute("INSERT OR REPLACE INTO outlines VALUES (?, ?)", (stream, blob))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._turn, local_trouble(self._path):
            yield self._connection

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full or failing disk has rolled back by itself
                    connection.execute("ROLLBACK")
                raise

    def _runs(self, where: str, *values: str) -> tuple[RunRecord, ...]:
        with self._reading() as connection:
            rows = connection.execute(f"SELECT record FROM runs {where} ORDER BY seq DESC", values)
            return tuple(from_json(RunRecord, text) for (text,) in rows)

    def _seq(self, run_id: str) -> int:
        row = self._connection.execute("SELECT seq FROM runs WHERE id = ?", (run_id,)).fetchone()
        if row is None:
            raise self._unknown(run_id)
        return int(row[0])

    def _unknown(self, run_id: str) -> NothingRan:
        return _nothing(f"there is no run {run_id} in {self.folder}")

    def _differs(self, run: int, seen: Observation) -> bool:
        recorded = self._connection.execute(schema.STDOUT_OF, schema.key_of(run, seen)).fetchone()
        return bool(recorded[0] != seen.stdout.digest)


def _writer_lock(folder: Path, waiting: Callable[[str], None], patience: float) -> BaseFileLock:
    from filelock import FileLock, Timeout

    lock = FileLock(folder / "lock", mode=0o600, thread_local=False)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        waiting(f"another harness is writing to {folder}; waiting for it to end")
        lock.acquire()
    return lock


def _nothing(message: str) -> NothingRan:
    return NothingRan(Problem(id="H0503", message=message))
