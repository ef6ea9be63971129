"""The database of the store: how it is opened, its tables, and how an observation lies in its row.

Observations can be added and never changed. Each row carries a digest of itself, so that a bit that fell over on
the disk is damage and not a result.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from pathlib import Path

from harness.errors import LocalTrouble, NothingRan, Place, Problem
from harness.model.observation import Ending, Observation, Stream
from harness.store.disk import Damaged, local_trouble

VERSION = 2
APPLICATION = 0x68726E73  # "hrns": tells our file from any other database

SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE runs (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL,
    finished INTEGER UNIQUE
);
CREATE TABLE observations (
    seq INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES runs,
    fixture TEXT NOT NULL,
    fixture_digest TEXT NOT NULL,
    cell TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    ending TEXT NOT NULL,
    code INTEGER NOT NULL,
    stdout_size INTEGER NOT NULL,
    stdout_digest TEXT NOT NULL,
    stderr_size INTEGER NOT NULL,
    stderr_digest TEXT NOT NULL,
    leaked INTEGER NOT NULL,
    lost TEXT NOT NULL,
    duration_ns INTEGER NOT NULL,
    seal TEXT NOT NULL,
    UNIQUE (run, fixture, cell, attempt, fixture_digest, fingerprint)
);
CREATE TRIGGER observations_stay BEFORE UPDATE ON observations
    BEGIN SELECT RAISE(ABORT, 'observations are append-only'); END;
CREATE TRIGGER observations_remain BEFORE DELETE ON observations
    BEGIN SELECT RAISE(ABORT, 'observations are append-only'); END;
CREATE TABLE reports (run INTEGER PRIMARY KEY REFERENCES runs, body BLOB NOT NULL, digest TEXT NOT NULL);
CREATE TABLE outlines (stream TEXT PRIMARY KEY, blob TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE verified (
    run INTEGER NOT NULL REFERENCES runs,
    cell TEXT NOT NULL,
    PRIMARY KEY (run, cell)
) WITHOUT ROWID;
CREATE TABLE durations (
    fixture TEXT NOT NULL,
    cell TEXT NOT NULL,
    duration_ns INTEGER NOT NULL,
    PRIMARY KEY (fixture, cell)
) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
COMMIT;
"""

_COLUMNS = (
    "fixture, fixture_digest, cell, fingerprint, attempt, ending, code, stdout_size, stdout_digest, "
    "stderr_size, stderr_digest, leaked, lost, duration_ns"
)
# The fixture's and the cell's names are part of the key: two fixtures may have equal bytes, and two cells equal facts.
INSERT = (
    f"INSERT INTO observations (run, {_COLUMNS}, seal) VALUES ({', '.join('?' * 16)}) "
    "ON CONFLICT (run, fixture, cell, attempt, fixture_digest, fingerprint) DO NOTHING"
)
SELECT = f"SELECT {_COLUMNS}, seal FROM observations WHERE run = ? ORDER BY seq"
STDOUT_OF = (
    "SELECT stdout_digest FROM observations WHERE run = ? AND fixture = ? AND cell = ? AND attempt = ? "
    "AND fixture_digest = ? AND fingerprint = ?"
)
# An execution that was lost says nothing about how long the program takes.
LEARN_DURATIONS = (
    "INSERT INTO durations SELECT fixture, cell, duration_ns FROM observations "
    "WHERE run = ? AND ending <> 'lost' ORDER BY seq "
    "ON CONFLICT (fixture, cell) DO UPDATE SET duration_ns = excluded.duration_ns"
)

# A rollback journal, never a write-ahead log: the store stays one file that can be read from read-only media, and
# before 3.51.3 SQLite could lose commits of a log. EXTRA also syncs the folder in which the journal is deleted.
_WRITING = ("PRAGMA journal_mode = DELETE", "PRAGMA synchronous = EXTRA", "PRAGMA foreign_keys = ON")
_READING = ("PRAGMA query_only = ON",)
# The file may have come with a checkout: nothing in its schema may call functions of SQLite that have effects.
_CAUTIOUS = ("PRAGMA trusted_schema = OFF", "PRAGMA cell_size_check = ON")

Row = tuple[str | int, ...]


def connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    """Open the database at a path; a writer makes it where there is none, with its tables.

    A reader, too, may write in one case: it rolls back the commit of a writer that was killed. Raises
    LocalTrouble for a file that is not ours, of another version or not to be opened, NothingRan for an empty one.
    """
    with local_trouble(path), contextlib.ExitStack() as undo:
        if path.is_symlink():
            raise Damaged("it is a link")
        if writable:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        uri = f"{path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None, check_same_thread=False)
        undo.callback(connection.close)
        connection.text_factory = bytes.decode  # sqlite3's own gives text that is not UTF-8 no error code
        for pragma in _CAUTIOUS + (_WRITING if writable else _READING):
            connection.execute(pragma)
        _examine(connection, path, writable=writable)
        undo.pop_all()
        return connection


def _examine(connection: sqlite3.Connection, path: Path, *, writable: bool) -> None:
    version, application, tables = (
        connection.execute(query).fetchone()[0]
        for query in ("PRAGMA user_version", "PRAGMA application_id", "SELECT count(*) FROM sqlite_master")
    )
    if (version, application, tables) == (0, 0, 0):  # new, or its writer was killed before its first commit
        if not writable:
            raise NothingRan(Problem(id="H0503", message=f"no run has begun in {path.parent}"))
        connection.executescript(SCHEMA)
    elif application == APPLICATION and version > 0 and version != VERSION:
        message = f"the store has version {version}; this harness reads and writes version {VERSION}"
        hint = f"move {path.parent} away; `harness run` starts a new one" if version < VERSION else ""
        raise LocalTrouble(Problem(id="H0703", message=message, place=Place(path=str(path)), hint=hint))
    elif (version, application) != (VERSION, APPLICATION):
        raise Damaged("it is not a store of harness")


def row_of(run: int, seen: Observation) -> Row:
    """The values for INSERT."""
    values: Row = (
        seen.fixture,
        seen.fixture_digest,
        seen.cell,
        seen.fingerprint,
        seen.attempt,
        seen.ending.value,
        seen.code,
        seen.stdout.size,
        seen.stdout.digest,
        seen.stderr.size,
        seen.stderr.digest,
        seen.leaked,
        seen.lost,
        seen.duration_ns,
    )
    return (run, *values, _seal(values))


def key_of(run: int, seen: Observation) -> Row:
    """The values for STDOUT_OF: what tells one execution from every other."""
    return (run, seen.fixture, seen.cell, seen.attempt, seen.fixture_digest, seen.fingerprint)


def observation_of(row: Row) -> Observation:
    """Build the observation of a row of SELECT; raise Damaged when the row is not as it was written."""
    *values, seal = row
    if _seal(tuple(values)) != seal:
        raise Damaged(f"the observation of {row[0]} in {row[2]} is not as it was written")
    fixture, fixture_digest, cell, fingerprint, attempt, ending, code, size, digest, err_size, err, *rest = values
    leaked, lost, duration_ns = rest
    return Observation(
        fixture=str(fixture),
        fixture_digest=str(fixture_digest),
        cell=str(cell),
        fingerprint=str(fingerprint),
        attempt=int(attempt),
        ending=Ending(ending),
        code=int(code),
        stdout=Stream(size=int(size), digest=str(digest)),
        stderr=Stream(size=int(err_size), digest=str(err)),
        leaked=int(leaked),
        lost=str(lost),
        duration_ns=int(duration_ns),
    )


def _seal(values: Row) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()
