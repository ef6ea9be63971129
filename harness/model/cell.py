"""Cells: what the matrix claims about them, and what was measured in them.

A cell is a platform and an interpreter. The claim is known before anything runs; the facts are measured
inside the cell by the subject itself, and a contradiction between the two makes the cell ``misplaced``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import Enum

from harness.model.platform import Platform, PythonTag, canonical_arch
from harness.model.reach import RunnerEntry, Subject
from harness.model.rule import Rule


class Tier(Enum):
    """What a failure in a cell means: tier 1 gates, 2 runs nightly, 3 is tolerated, advisory only informs."""

    ONE = "1"
    TWO = "2"
    THREE = "3"
    ADVISORY = "advisory"

    @property
    def gates(self) -> bool:
        """Whether a failing job in such a cell may change the exit status."""
        return self in (Tier.ONE, Tier.TWO)

    @property
    def label(self) -> str:
        """The tier in words: ``tier 1``, ``advisory``."""
        return "advisory" if self is Tier.ADVISORY else f"tier {self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalisation:
    """A named loosening of byte equality: ``final-newline``, ``crlf``, or ``regex`` with a replacement."""

    name: str
    pattern: str = ""
    replacement: str = ""

    def __str__(self) -> str:
        return f"regex:{self.pattern}" if self.name == "regex" else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of the matrix, as claimed.

    ``runners`` are tried in order. ``interpreter`` names the one on this computer, ``subject`` what is under test
    beside it, where it cannot host the agent. ``env`` and ``carry`` add to the closed environment of every job:
    ``env`` with values, ``carry`` names variables taken from the machine. ``timeout_scale`` multiplies
    every time limit. ``id`` is ``platform/interpreter``, the one name of the cell in every table, flag and file.
    """

    platform: Platform
    python: PythonTag
    tier: Tier = Tier.ONE
    runners: tuple[RunnerEntry, ...] = (RunnerEntry(name="local"),)
    env: tuple[tuple[str, str], ...] = ()
    carry: tuple[str, ...] = ()
    normalise: tuple[Normalisation, ...] = ()
    timeout_scale: float = 1.0
    interpreter: str = ""
    subject: Subject | None = None
    id: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", f"{self.platform}/{self.python}")

    def axes(self) -> dict[str, str]:
        """What the claim alone says of the axes that rules speak about; unknown axes are absent."""
        claimed = {
            "platform": str(self.platform),
            "interpreter": str(self.python),
            "os": self.platform.os,
            "libc": self.platform.libc,
            "arch": canonical_arch(self.platform.arch),
            "implementation": self.python.implementation,
            "python": self.python.version,
            "build": self.python.build if self.python.series else "",
        }
        return {axis: value for axis, value in claimed.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was measured in a cell by running its subject. Empty text means: could not be measured there."""

    os: str
    arch: str
    implementation: str
    version: str
    libc: str = ""
    libc_version: str = ""
    bits: int = 0
    byteorder: str = ""
    build: str = "default"
    build_info: str = ""
    emulation: str = "unknown"
    fs_case: str = ""
    fs_normalisation: str = ""
    encoding: str = ""
    fs_encoding: str = ""
    locale: str = ""
    executable: str = ""
    executable_digest: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Facts:
        """Build from a probe's or a store's mapping; raise ValueError when a field is missing, unknown or mistyped."""
        known = {one.name: one for one in fields(cls)}
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise ValueError(f"unknown fact {unknown[0]!r}")
        for name, value in data.items():
            wanted = int if name == "bits" else str
            if type(value) is not wanted:
                raise ValueError(f"fact {name!r} is not {wanted.__name__}")
        try:
            return cls(**data)  # type: ignore[arg-type]  # checked field by field above
        except TypeError as error:
            raise ValueError(f"a fact is missing: {error}") from None

    def to_json(self) -> dict[str, object]:
        """All facts as a JSON object, in the order of the fields."""
        return asdict(self)

    @property
    def series(self) -> str:
        """``major.minor`` of the version."""
        return ".".join(self.version.split(".")[:2])

    @property
    def fingerprint(self) -> str:
        """A digest of everything measured but the path: equal interpreters on equal systems have equal ones."""
        data = self.to_json()
        del data["executable"]
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    def axes(self) -> dict[str, str]:
        """The facts under the names that rules use; what could not be measured is absent."""
        measured = {
            "os": self.os,
            "libc": self.libc,
            "libc-version": self.libc_version,
            "arch": canonical_arch(self.arch),
            "bits": str(self.bits or ""),
            "byteorder": self.byteorder,
            "implementation": self.implementation,
            "python": self.series,
            "patch": self.version,
            "build": self.build,
            "emulation": self.emulation,
            "fs-case": self.fs_case,
            "encoding": self.encoding,
        }
        return {axis: value for axis, value in measured.items() if value}

    def contradictions(self, cell: Cell) -> tuple[str, ...]:
        """Each way in which what was measured is not what the cell claims, in words; empty when it fits."""
        measured = self.axes()
        return tuple(
            f"{axis} is {measured[axis]}, claimed {claim}"
            for axis, claim in cell.axes().items()
            if axis in measured and measured[axis] != claim
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """Where the expectation of a corpus comes from.

    ``kind`` is ``golden``, ``reference`` (``cell`` names it), ``command`` (``command`` is run on the controller
    with the program's path appended) or ``consensus`` (what strictly more than half of the cells say).
    """

    kind: str = "golden"
    cell: str = ""
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A folder of fixtures: where, in which layout, judged by what, and prepared how.

    ``prepare`` is a command that makes a fixture's program: ``{source}`` stands for the file that matched the glob
    ``source``, ``{output}`` for the program to be written. ``exclude`` are globs over paths relative to the folder.
    """

    path: str
    layout: str = "auto"
    program: str = "main.py"
    oracle: Oracle = Oracle()
    prepare: tuple[str, ...] = ()
    source: str = ""
    normalise: tuple[Normalisation, ...] = ()
    exclude: tuple[str, ...] = ()
    timeout: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """Cells that the matrix leaves out, and why."""

    cells: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """A whole matrix file: cells in a stable order, corpora, exclusions. ``path`` is the file it came from.

    ``store`` is the folder of the store, relative to that file's.
    """

    path: str
    cells: tuple[Cell, ...]
    corpora: tuple[Corpus, ...]
    exclusions: tuple[Exclusion, ...] = ()
    store: str = ".harness"


__all__ = [
    "Cell",
    "Corpus",
    "Exclusion",
    "Facts",
    "Matrix",
    "Normalisation",
    "Oracle",
    "Rule",
    "Tier",
]
