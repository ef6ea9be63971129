"""Cells made real: each placed by its first runner that can, connected, measured, and held to its claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.engine.dispatch import Dispatcher, Outcome, Task, Work
from harness.errors import CellUnavailable
from harness.facts import LEAST_PROGRAM, probe_program, read_facts, read_least
from harness.model.cell import Cell, Facts
from harness.model.fixture import Payload
from harness.model.observation import Ending
from harness.model.report import CellReport, LeftOut
from harness.model.verdict import Kind, Verdict
from harness.runners.base import Placement, Runner
from harness.wire import Expected

PROBE_TIMEOUT = 30.0
PROBE_OUTPUT = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """One cell after the survey: its report, how it is served (None: not at all), and how to mend that."""

    report: CellReport
    placement: Placement | None = None
    mend: str = ""

    @property
    def facts(self) -> Facts | None:
        """What was measured there."""
        return self.report.facts


def place_cells(
    cells: Sequence[Cell], runners: Mapping[str, Runner]
) -> tuple[tuple[Cell, Placement | CellUnavailable], ...]:
    """Ask each cell's runners in order; the first that can serve it does. Starts no agent."""
    return tuple((cell, _place(cell, runners)) for cell in cells)


def _place(cell: Cell, runners: Mapping[str, Runner]) -> Placement | CellUnavailable:
    refusals: list[CellUnavailable] = []
    for entry in cell.runners:
        runner = runners.get(entry.name)
        if runner is None:
            refusals.append(CellUnavailable("no-runner", f"the {entry.name} runner is not installed"))
            continue
        try:
            return runner.place(cell, entry)
        except CellUnavailable as error:
            if error.reason in CellUnavailable.REFUSALS:
                return error
            refusals.append(error)
    # What came closest says most: a runner that reaches the platform but lacks something, before one that does not.
    return next((error for error in refusals if error.reason != "no-runner"), refusals[0])


def connect(cells: Sequence[Cell], runners: Mapping[str, Runner], dispatcher: Dispatcher) -> None:
    """Start the agents that these cells will need, so that they come up while something else is done."""
    placed = place_cells(cells, runners)
    dispatcher.connect(placement for _, placement in placed if isinstance(placement, Placement))


def survey(cells: Sequence[Cell], runners: Mapping[str, Runner], dispatcher: Dispatcher) -> tuple[Surveyed, ...]:
    """Place and measure all cells, those that run side by side; the order of ``cells`` is kept."""
    placed = place_cells(cells, runners)
    reached = [each for _, placement in placed if isinstance(placement, Placement) for each in placement.machines]
    probes, least = _Measurements(), _Measurements()
    dispatcher.execute([_probe(placement, probe_program()) for placement in reached], probes)
    # An interpreter of one's own may be a poor one, and is a cell all the same.
    poor = [one for one in reached if one.cell.subject and _is_silent(probes.of(one))]
    dispatcher.execute([_probe(placement, LEAST_PROGRAM) for placement in poor], least)
    found = []
    for cell, placement in placed:
        if isinstance(placement, CellUnavailable):
            found.append(_refused(CellReport(cell=cell), placement))
            continue
        each = [_surveyed(one, dispatcher.refusal(one.machine), probes, least) for one in placement.machines]
        found.append(_together(each))
    return tuple(found)


def _together(surveyed: Sequence[Surveyed]) -> Surveyed:
    """One cell out of what was found on each of its machines: those that agree with the first usable one serve it."""
    first = next((one for one in surveyed if one.placement), surveyed[0])
    if len(surveyed) == 1 or first.placement is None or first.facts is None:
        return first
    others, left_out = [], []
    for one in surveyed:
        if one is first:
            continue
        verdict = one.report.verdict
        if verdict is None and one.facts is not None and one.facts.fingerprint != first.facts.fingerprint:
            message = f"it is another system than {first.report.machine}: {_differences(first.facts, one.facts)}"
            verdict = Verdict(kind=Kind.MISPLACED, message=message)
        if verdict is not None:
            machine = one.report.machine or first.report.machine
            mend = one.mend or "give it a cell of its own, or make the two alike"
            left_out.append(LeftOut(machine=machine, verdict=verdict, mend=mend))
        elif one.placement is not None:
            others.append(one.placement)
    return replace(
        first,
        report=replace(first.report, left_out=tuple(left_out)),
        placement=replace(first.placement, others=tuple(others)),
    )


def _differences(first: Facts, second: Facts) -> str:
    ours, theirs = first.to_json(), second.to_json()
    names = [name for name in ours if name != "executable" and ours[name] != theirs[name]]
    return ", ".join(f"{name} {theirs[name]}, not {ours[name]}" for name in names)


def _probe(placement: Placement, text: str) -> Task:
    work = Work(payload=Payload(program="probe.py", files=(("probe.py", text.encode()),)), expect=Expected(exit=-1))
    return Task(
        key=(placement.machine, placement.cell.id),
        attempt=1,
        placement=placement,
        load=lambda: work,
        timeout=PROBE_TIMEOUT * placement.cell.timeout_scale,
        output=PROBE_OUTPUT,
    )


def _is_silent(outcome: Outcome | None) -> bool:
    """Whether a subject ran the probe and did not tell its facts."""
    if outcome is None or outcome.result.ending is Ending.LOST:
        return False
    try:
        read_facts(_said(outcome))
    except ValueError:
        return True
    return False


def _said(outcome: Outcome) -> bytes:
    return outcome.streams.get(outcome.result.stdout.digest, b"")


@dataclass(slots=True)
class _Measurements:
    """A sink for probes: everything is wanted, nothing is kept longer than the survey."""

    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)

    def of(self, placement: Placement) -> Outcome | None:
        return self.outcomes.get((placement.machine, placement.cell.id))

    def wants(self, digest: str) -> bool:
        return True

    def finished(self, outcome: Outcome) -> bool:
        self.outcomes[outcome.task.key] = outcome
        return False

    def commit(self, outcomes: Sequence[Outcome]) -> None:
        return


def _refused(report: CellReport, refusal: CellUnavailable) -> Surveyed:
    verdict = Verdict(kind=Kind.UNAVAILABLE, reason=refusal.reason, message=refusal.message)
    return Surveyed(report=replace(report, verdict=verdict), mend=refusal.mend)


def _surveyed(
    placement: Placement, refusal: CellUnavailable | None, probes: _Measurements, least: _Measurements
) -> Surveyed:
    """One machine of a cell, held to the cell's claim."""
    cell = placement.cell
    report = CellReport(cell=cell, runner=placement.runner, machine=placement.machine, isolation=placement.isolation)
    # What a machine said of itself when it was to be started is nearer to the truth than where it was to be.
    if refusal is not None:
        return _refused(report, refusal)
    outcome = probes.of(placement)
    assert outcome is not None
    result = outcome.result
    if result.ending is Ending.LOST:
        verdict = Verdict(kind=Kind.UNAVAILABLE, reason="unreachable", message=result.lost)
        return Surveyed(report=replace(report, verdict=verdict), mend="harness doctor")
    try:
        answer = least.of(placement)
        facts = read_least(_said(answer)) if answer else read_facts(_said(outcome))
    except ValueError as error:
        words = outcome.streams.get(result.stderr.digest, b"").decode("utf-8", "replace").strip().splitlines()
        message = "; ".join(
            [f"{' '.join(placement.subject)} {result.ending.value} with {result.code}: {error}", *words[-1:]]
        )
        verdict = Verdict(kind=Kind.UNAVAILABLE, reason="broken-interpreter", message=message)
        return Surveyed(report=replace(report, verdict=verdict), mend="harness doctor")
    contradictions = facts.contradictions(cell)
    if contradictions:
        verdict = Verdict(kind=Kind.MISPLACED, message="; ".join(contradictions))
        return Surveyed(report=replace(report, facts=facts, verdict=verdict), mend="mend the cell's claim")
    if placement.finds_subject and facts.executable:
        placement = replace(placement, subject=(facts.executable,))  # its name may lead to a shim, which is slow
    return Surveyed(report=replace(report, facts=facts), placement=placement)
