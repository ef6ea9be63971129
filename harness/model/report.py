"""Reports: one frozen value from which every rendering is made, and the selection and plan that led to it.

Everything outside ``Report.run`` depends on the inputs and on what the cells said, never on when, where or
how fast: equal inputs give equal bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.cell import Cell, Facts
from harness.model.observation import Observation
from harness.model.verdict import Kind, Verdict

WORDS = {
    0: "all agree",
    1: "the answer is no",
    2: "bad input",
    3: "incomplete",
    4: "nothing ran",
    5: "refused for security",
    6: "local trouble",
    70: "a bug in harness",
    130: "interrupted",
    143: "terminated",
}
_EXIT_ORDER = (70, 130, 143, 5, 6, 2, 1, 3, 4)


def worst_exit(codes: set[int]) -> int:
    """The one exit status of a command to which several apply; 0 when none does."""
    return next((code for code in _EXIT_ORDER if code in codes), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What belongs to this one run and differs in every other: never compared, always in a block of its own.

    ``started`` is ISO 8601 in UTC; durations are seconds. ``config`` is the matrix file as it was named, if it was. ``resumed`` counts the executions that were recorded
    before the run was interrupted.
    """

    id: str
    started: str
    duration: float
    version: str
    arguments: tuple[str, ...]
    config: str = ""
    resumed: int = 0
    durations: tuple[tuple[str, str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """One of several machines of a cell that does not serve it, and why; the others do."""

    machine: str
    verdict: Verdict
    mend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellReport:
    """One planned cell: who served it and what was measured there, or why it could not be used.

    ``left_out`` are those of its machines that could not, where others did.
    """

    cell: Cell
    runner: str = ""
    machine: str = ""
    isolation: str = ""
    facts: Facts | None = None
    verdict: Verdict | None = None
    left_out: tuple[LeftOut, ...] = ()

    @property
    def is_verified(self) -> bool:
        """Whether jobs could run here at all."""
        return self.facts is not None and self.verdict is None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """One job: its verdict, and the observation that stands for it (the first bad one, else the first).

    ``expected`` is the sha256 of the declared stdout, empty when there is none.
    """

    fixture: str
    cell: str
    verdict: Verdict
    expected: str = ""
    expected_exit: int = 0
    observation: Observation | None = None
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputClass:
    """The cells of one fixture that say the same bytes. ``representative`` stands for them."""

    digest: str
    size: int
    cells: tuple[str, ...]
    representative: str
    is_expected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """One fixture whose cells, or whose cells and golden, say different bytes.

    ``classes`` are ordered: the expected one first, then by falling number of cells, then by digest.
    ``expected`` is the digest that the first diverging cell was held to: a golden's, or the oracle's answer.
    """

    fixture: str
    expected: str
    classes: tuple[OutputClass, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FixtureReport:
    """A result of the fixture itself, not of one job: ``prepare-failed`` or ``drifted``."""

    fixture: str
    result: str
    message: str

    @property
    def is_failure(self) -> bool:
        """A fixture that could not be prepared makes the run a failure; drift only explains one."""
        return self.result == "prepare-failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Planned minus executed, always shown. ``unverified`` names each unverified cell and why."""

    planned: int
    executed: int
    skipped: int
    unverified: tuple[tuple[str, str], ...]
    unverified_gating: tuple[str, ...] = ()

    @property
    def missing(self) -> int:
        """Jobs that were planned, and neither run nor skipped for a declared reason."""
        return self.planned - self.executed - self.skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole answer of a run. ``sentence`` is the verdict in words, the last line of every rendering."""

    run: RunInfo
    cells: tuple[CellReport, ...]
    jobs: tuple[JobReport, ...]
    fixtures: tuple[FixtureReport, ...]
    divergences: tuple[Divergence, ...]
    coverage: Coverage
    warnings: tuple[str, ...]
    exit_code: int
    sentence: str

    def __bool__(self) -> bool:
        return self.exit_code == 0

    def counts(self) -> dict[Kind, int]:
        """How many jobs ended in each kind of verdict; kinds without a job are absent."""
        counted: dict[Kind, int] = {}
        for job in self.jobs:
            counted[job.verdict.kind] = counted.get(job.verdict.kind, 0) + 1
        return {kind: counted[kind] for kind in Kind if kind in counted}
