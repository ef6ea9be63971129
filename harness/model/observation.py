"""Observations: the facts of one execution, as the agent reports them. Immutable, and without any judgement."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Ending(Enum):
    """Why an execution ended. Only ``EXITED`` and ``SIGNALLED`` are the program's own doing."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    TIMEOUT = "timeout"
    OUTPUT_LIMIT = "output-limit"
    MEMORY_LIMIT = "memory-limit"
    PROCESS_LIMIT = "process-limit"
    DISK_LIMIT = "disk-limit"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One output stream: its size in bytes and the sha256 of all of it, hashed in the cell as it came."""

    size: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One execution of one fixture in one cell.

    ``key`` identifies it within its run. ``attempt`` counts executions from 1, and
    losses, which are none, below 0. ``code`` is the exit status or the signal's number; ``leaked`` counts processes
    that outlived the program and were killed; ``lost`` names the layer that failed (agent, channel, protocol, ...)
    and how when ``ending`` is LOST. Durations are nanoseconds of the cell's monotonic clock.
    """

    fixture: str
    fixture_digest: str
    cell: str
    fingerprint: str
    attempt: int
    ending: Ending
    code: int = 0
    stdout: Stream
    stderr: Stream
    leaked: int = 0
    lost: str = ""
    duration_ns: int = 0

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What identifies the execution within its run. Ids too: two fixtures, or two cells, may be copies."""
        return (self.fixture, self.cell, self.fixture_digest, self.fingerprint, self.attempt)
