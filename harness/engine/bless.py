"""Blessing: what programs say in one reference cell becomes what they must say everywhere.

Each program runs twice, and once more under another hash seed; one that does not say the same each time, or does not
end by itself, is refused. ``examine`` only proposes; ``write`` writes, each file whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from harness.engine.cells import Surveyed, survey
from harness.engine.dispatch import Dispatcher, Outcome, Task, Work
from harness.engine.oracle import command_of, load_for_command
from harness.engine.prepare import prepare
from harness.engine.project import Project
from harness.engine.proposals import Proposal, propose
from harness.errors import Incomplete, InputError, NothingRan, Problem, UsageError
from harness.fixtures import read_payload
from harness.matrix.corpora import in_full
from harness.model.cell import Cell, Corpus, Facts, Oracle, Tier
from harness.model.fixture import Fixture
from harness.model.platform import PythonTag
from harness.plan import PlannedJob, Selection, plan, select_cells, select_fixtures
from harness.runners.base import Placement, Runner
from harness.runners.local import LocalRunner, this_platform
from harness.scaffold.writing import replace_file
from harness.wire import Expected

# In all cells the seed is 0, and still what hangs on hashes differs with the version and the width of a word.
PERTURBED = (("PYTHONHASHSEED", "1"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Who speaks: a cell of the matrix, or a command on this computer. ``name`` says which."""

    name: str
    placement: Placement
    facts: Facts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What blessing would do: a proposal for each selected fixture, in the order of their ids."""

    reference: str
    proposals: tuple[Proposal, ...]


def examine(
    project: Project,
    selection: Selection,
    folder: Path,
    runners: Mapping[str, Runner],
    *,
    cell: str = "",
    command: Sequence[str] = (),
) -> Examined:
    """Run the selected fixtures in the reference and propose their goldens; write nothing but prepared programs.

    The reference is ``command``, or the cell that ``cell`` (an id or a pattern) names, or the tier-1 cell with the
    lowest CPython that answers. ``folder`` is the store's. Raises NothingRan without a fixture that has use for a
    golden, UsageError for a reference that cannot be, Incomplete for one that does not answer.
    """
    fixtures = _selected(project, selection)
    with Dispatcher() as dispatcher:
        if command:
            reference = _command(project, command)
        else:
            reference = _cell(_candidates(project, cell), runners, dispatcher)
        prepared, failed = prepare(project, fixtures, folder)
        unprepared = {one.fixture: one.message for one in failed}
        jobs = [_with_program(job, prepared) for job in _jobs(reference, fixtures)]
        runnable = [job for job in jobs if job.skip is None and job.fixture.id not in unprepared]
        sink = _Answers(known={_digest(path) for job in runnable for path in (job.golden.stdout, job.golden.stderr)})
        dispatcher.execute([task for job in runnable for task in _tasks(job, reference)], sink)
    proposals = []
    for job in jobs:
        name = job.fixture.id
        reason = job.skip.message if job.skip else unprepared.get(name, "")
        if reason:
            proposals.append(Proposal(fixture=name, refusal=reason))
        else:
            outcomes = sorted(sink.outcomes[name], key=lambda outcome: outcome.task.attempt)
            results = [outcome.result for outcome in outcomes]
            proposals.append(propose(project.root / name, job, results, sink.streams))
    return Examined(reference=reference.name, proposals=tuple(proposals))


def write(proposals: Sequence[Proposal]) -> None:
    """Write every change that is proposed; raise LocalTrouble for the disk, with whole goldens before it."""
    for proposal in proposals:
        for change in proposal.changes:
            replace_file(change.path, change.after)


def _selected(project: Project, selection: Selection) -> tuple[Fixture, ...]:
    everything = sorted((*project.fixtures, *project.unblessed), key=lambda fixture: fixture.id)
    chosen = select_fixtures(everything, selection)
    golden = tuple(one for one in chosen if project.oracles[one.corpus].kind == "golden")
    if not golden:
        why = "the selected fixtures are judged without goldens" if chosen else "no fixture is left after the selection"
        raise NothingRan(Problem(id="H0502", message=why, hint="`harness list fixtures` shows what there is"))
    return golden


def _candidates(project: Project, pattern: str) -> tuple[Cell, ...]:
    """The cells that may be the reference, the best first."""
    if pattern:
        found = select_cells(project.matrix.cells, Selection(cells=(in_full(pattern, this_platform()),)))
        if len(found) > 1:
            message = f"--cell {pattern!r} matches {len(found)} cells, and one is to be the reference"
            raise UsageError(Problem(id="H0003", message=message))
        return found
    gating = [one for one in project.matrix.cells if one.tier is Tier.ONE and one.python.implementation == "cpython"]
    plain = [one for one in gating if one.python.build == "default"]
    if not plain:
        problem = Problem(id="H0003", message="no cell of tier 1 has a plain CPython", hint="name one with --cell")
        raise UsageError(problem)
    return tuple(sorted(plain, key=lambda one: one.python.series or (0, 0)))


def _cell(candidates: Sequence[Cell], runners: Mapping[str, Runner], dispatcher: Dispatcher) -> Reference:
    """The first that answers; when none does, the first that is not merely elsewhere says why."""
    silent: list[Surveyed] = []
    for cell in candidates:
        (surveyed,) = survey((cell,), runners, dispatcher)
        if surveyed.placement is not None:
            return Reference(name=cell.id, placement=surveyed.placement, facts=surveyed.facts)
        silent.append(surveyed)
    closest = next(
        (one for one in silent if one.report.verdict and one.report.verdict.reason != "no-runner"), silent[0]
    )
    verdict = closest.report.verdict
    assert verdict is not None
    raise Incomplete(
        Problem(
            id="H0401",
            message=f"the reference cell {closest.report.cell.id} does not answer: {verdict}: {verdict.message}",
            hint=closest.mend or "name another one with --cell; `harness doctor` shows which answer",
        )
    )


def _command(project: Project, words: Sequence[str]) -> Reference:
    asked = Corpus(path=".", oracle=Oracle(kind="command", command=tuple(words)))
    try:
        found = command_of(project.root, asked)
    except InputError:
        raise UsageError(Problem(id="H0001", message=f"--command: {words[0]!r} is not there")) from None
    cell = Cell(platform=this_platform(), python=PythonTag(text="command"))
    return Reference(name=" ".join(words), placement=LocalRunner().serve(cell, *found))


def _jobs(reference: Reference, fixtures: Sequence[Fixture]) -> list[PlannedJob]:
    """What applies in the reference cell; a command answers for the general golden of everything."""
    cell = reference.placement.cell
    if reference.facts is None:
        return [PlannedJob(fixture=one, cell=cell, golden=one.goldens[-1]) for one in fixtures]
    return list(plan((cell,), fixtures, Selection(), {cell.id: reference.facts}).jobs)


def _with_program(job: PlannedJob, prepared: Mapping[str, Fixture]) -> PlannedJob:
    return replace(job, fixture=prepared.get(job.fixture.id, job.fixture))


def _tasks(job: PlannedJob, reference: Reference) -> list[Task]:
    """Twice the same, and once with another hash seed; what a fixture sets itself stays as it is."""
    limits = job.fixture.limits
    placement = reference.placement
    cell = replace(placement.cell, env=(*placement.cell.env, *PERTURBED))
    load = partial(_load, job) if reference.facts else partial(load_for_command, job.fixture)
    return [
        Task(
            key=job.key,
            attempt=attempt,
            placement=where,
            load=load,
            timeout=limits.timeout * job.cell.timeout_scale,
            output=limits.output,
        )
        for attempt, where in enumerate((placement, placement, replace(placement, cell=cell)), start=1)
    ]


def _load(job: PlannedJob) -> Work:
    """The job, told what its golden has, so that bytes which agree do not travel."""
    known = _digest(job.golden.stdout)
    expected = Expected(
        stdout=(known,) if known else (), stderr=_digest(job.golden.stderr), exit=job.golden.exit if known else -1
    )
    return Work(payload=read_payload(job.fixture), expect=expected)


def _digest(path: Path | None) -> str:
    return sha256(path.read_bytes()).hexdigest() if path and path.is_file() else ""


@dataclass(slots=True, kw_only=True)
class _Answers:
    """A sink that keeps what each program did, and each stream that no golden has, once."""

    known: set[str]
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)
    streams: dict[str, bytes] = field(default_factory=dict)

    def wants(self, digest: str) -> bool:
        return digest not in self.known and digest not in self.streams

    def finished(self, outcome: Outcome) -> bool:
        self.outcomes.setdefault(outcome.task.key[0], []).append(outcome)
        return False

    def commit(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self.streams.update(outcome.streams)
