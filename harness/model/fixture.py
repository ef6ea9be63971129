"""Fixtures: a program, what it is given, and what it must say.

A fixture names its files; it does not hold their bytes, so that ten thousand of them fit in memory and
planning reads none. ``Payload`` is what travels to a cell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.model.cell import Normalisation
from harness.model.rule import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one job. Seconds are unscaled; bytes count each output stream for itself."""

    timeout: float = 10.0
    output: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """What a fixture must say where ``when`` holds (everywhere, without one).

    ``stdout`` and ``stderr`` are files; None is a stream that is not compared (stdout is None only when the
    oracle is not a golden file).
    """

    stdout: Path | None
    stderr: Path | None = None
    exit: int = 0
    when: Rule | None = None
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A rule with its reason: ``only`` on these cells, or ``skip`` them."""

    rule: Rule
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixture:
    """One fixture as found on disk.

    ``id`` is the path relative to the matrix file, with forward slashes. ``files`` maps the name in the job's
    private directory to the file it is copied from; ``program`` is one of those names. ``goldens`` has the
    general expectation last: the first whose ``when`` holds is the declared one. ``source`` is set where the
    corpus prepares its programs: ``files`` lacks ``program`` until it has been made from that file. ``is_raw`` keeps
    the cell's normalisations from it too: its bytes are compared as they are.
    """

    id: str
    corpus: str
    program: str
    files: tuple[tuple[str, Path], ...]
    goldens: tuple[Golden, ...]
    source: Path | None = None
    stdin: Path | None = None
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    limits: Limits = Limits()
    tags: tuple[str, ...] = ()
    requires_python: str = ""
    normalise: tuple[Normalisation, ...] = ()
    is_raw: bool = False
    only: tuple[Condition, ...] = ()
    skip: tuple[Condition, ...] = ()

    def golden_for(self, axes: Mapping[str, str]) -> Golden:
        """The declared expectation in a cell with these facts."""
        return next(golden for golden in self.goldens if golden.when is None or golden.when.matches(axes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """The bytes of a fixture: what its job needs in a cell, read once and addressed by ``digest``."""

    program: str
    files: tuple[tuple[str, bytes], ...]
    stdin: bytes = b""
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        # With the counts first, no part can be taken for one of another kind.
        counts = b"%d %d %d" % (len(self.files), len(self.args), len(self.env))
        parts: list[bytes] = [counts, self.program.encode(), self.stdin]
        for name, data in self.files:
            parts += [name.encode(), data]
        for text in (*self.args, *(text for pair in self.env for text in pair)):
            parts.append(text.encode("utf-8", "surrogateescape"))
        for part in parts:
            digest.update(b"%d:" % len(part))
            digest.update(part)
        object.__setattr__(self, "digest", digest.hexdigest())
