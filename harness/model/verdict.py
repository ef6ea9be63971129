"""Verdicts: the closed list of judgements, in the order in which the first that holds is the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """The kinds of verdict. Their order is their precedence; each knows the exit status that it asks for."""

    UNAVAILABLE = "unavailable"
    SKIPPED = "skipped"
    MISPLACED = "misplaced"
    LOST = "lost"
    RESOURCE_LIMIT = "resource-limit"
    TIMEOUT = "timeout"
    OUTPUT_LIMIT = "output-limit"
    SIGNAL = "signal"
    EXIT_STATUS = "exit-status"
    LEAKED = "leaked"
    FLAKY = "flaky"
    NOT_REFUSED = "not-refused"
    REFUSED = "refused"
    CHANGED = "changed"
    DIVERGED = "diverged"
    FIXED = "fixed"
    ACCEPTED = "accepted"
    AGREE = "agree"

    @property
    def is_pass(self) -> bool:
        """The job ran and says what was declared."""
        return self in (Kind.AGREE, Kind.ACCEPTED, Kind.REFUSED)

    @property
    def is_incomplete(self) -> bool:
        """Infrastructure: neither a pass nor a failure of the program."""
        return self in (Kind.UNAVAILABLE, Kind.MISPLACED, Kind.LOST)

    @property
    def is_failure(self) -> bool:
        """The answer of the program is no."""
        return not (self.is_pass or self.is_incomplete or self is Kind.SKIPPED)


PRECEDENCE = {kind: position for position, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement of one job.

    ``reason`` is a word of the kind's own list (``no-interpreter``, ``newline-only``, ``memory``); ``message``
    says it in a sentence with its figures. ``details`` are the other verdicts that hold too. ``normalised`` names
    the normalisations without which the outputs would not match.
    """

    kind: Kind
    reason: str = ""
    message: str = ""
    details: tuple[Verdict, ...] = ()
    normalised: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind.value}({self.reason})" if self.reason else self.kind.value
