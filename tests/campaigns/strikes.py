"""What a kill campaign observes: how a process ended, what the reference says, and what came of one strike."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

INSIDE = frozenset({"commit", "insert", "page", "sync", "unlink", "report"})

Key = tuple[str, str, int]
Accepted = dict[Key, tuple[object, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one process ended, from its cradle: ``gone`` is when (s) all that it had started was."""

    status: int
    took: float
    gone: float
    left: tuple[str, ...]
    report: str
    errors: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What an undisturbed run says, observes and takes (s)."""

    report: str
    status: int
    accepted: Accepted
    executions: Counter[str]
    took: float


@dataclass(slots=True, kw_only=True)
class Strike:
    """One run that was killed once or twice, and what is wrong with its end; ``moments`` are how it died."""

    number: int
    moments: list[str] = field(default_factory=list)
    recorded: list[int] = field(default_factory=list)
    is_hot: bool = False
    again: int = 0
    gone: float = 0.0
    violations: list[str] = field(default_factory=list)

    @property
    def is_inside(self) -> bool:
        """Whether the store was being changed when the run was first killed."""
        return self.moments[0].partition(":")[0] in INSIDE

    def row(self) -> str:
        """One line of the table."""
        recorded = ",".join(map(str, self.recorded))
        hot = "half a commit" if self.is_hot else ""
        verdict = "; ".join(self.violations) or "equal"
        moments = " ".join(self.moments)
        return (
            f"{self.number:>3}  {moments:<28}  {recorded:>9}  {self.again:>5}  {self.gone:>5.1f}  {hot:<13}  {verdict}"
        )
