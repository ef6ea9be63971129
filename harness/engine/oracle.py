"""The command oracle: what another program says, asked on this computer under the same rules as any fixture."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from harness.engine.dispatch import Dispatcher, Outcome, Task, Work
from harness.engine.project import Project
from harness.errors import InputError, Problem
from harness.fixtures import read_payload
from harness.judge import Expectation
from harness.model.cell import Cell, Corpus
from harness.model.fixture import Fixture
from harness.model.observation import Ending
from harness.model.outline import Window
from harness.model.platform import PythonTag
from harness.plan import PlannedJob
from harness.runners.local import LocalRunner, this_platform
from harness.store.database import Store
from harness.wire import Expected

Key = tuple[str, str]


def ask_commands(
    project: Project,
    jobs: Sequence[PlannedJob],
    declared: Mapping[Key, Expectation],
    dispatcher: Dispatcher,
    store: Store,
) -> dict[Key, Expectation]:
    """Run the command of each corpus that has one, once for each fixture; return the expectations that follow.

    A command that is ended by a limit or leaves processes behind gives none.
    """
    fixtures = {job.fixture.id: job.fixture for job in jobs if project.oracles[job.fixture.corpus].kind == "command"}
    if not fixtures:
        return {}
    sink = _Answers(store=store)
    dispatcher.execute(_tasks(project, [(fixture, None) for fixture in fixtures.values()]), sink)
    silent = ("", 0)
    asked = [job for job in jobs if job.fixture.id in fixtures]
    answers = {job.key: sink.answers.get(job.fixture.id, silent) for job in asked}
    return {key: replace(declared[key], stdout=stdout, exit=status) for key, (stdout, status) in answers.items()}


def look_closer(
    project: Project, windows: Mapping[str, Window], jobs: Sequence[PlannedJob], dispatcher: Dispatcher, store: Store
) -> None:
    """Run commands once more, by fixture, for these bytes of answers that are too large to be kept."""
    fixtures = {job.fixture.id: job.fixture for job in jobs if job.fixture.id in windows}
    tasks = _tasks(project, [(fixture, windows[name]) for name, fixture in fixtures.items()])
    dispatcher.execute(tasks, _Answers(store=store))


def _tasks(project: Project, fixtures: Sequence[tuple[Fixture, Window | None]]) -> list[Task]:
    runner = LocalRunner()
    tasks = []
    for fixture, window in fixtures:
        corpus = project.corpora[fixture.corpus]
        cell = Cell(platform=this_platform(), python=PythonTag(text="oracle"))
        placement = runner.serve(cell, *command_of(project.root, corpus))
        tasks.append(
            Task(
                key=(fixture.id, cell.id),
                attempt=1,
                placement=placement,
                load=partial(load_for_command, fixture),
                timeout=fixture.limits.timeout,
                output=fixture.limits.output,
                window=window,
            )
        )
    return tasks


def load_for_command(fixture: Fixture) -> Work:
    """The fixture as it is, or with its source in place of the program that was made from it."""
    payload = read_payload(fixture)
    if fixture.source is not None:
        files = tuple(one for one in payload.files if one[0] != fixture.program)
        named = (fixture.source.name, fixture.source.read_bytes())
        payload = replace(payload, program=fixture.source.name, files=(*files, named))
    return Work(payload=payload, expect=Expected(exit=-1))


def command_of(root: Path, corpus: Corpus) -> tuple[str, ...]:
    """The command of a corpus's oracle, with full paths; raise InputError (H0210) when it is not there."""
    root = root.absolute()
    first, *rest = corpus.oracle.command
    found = shutil.which(first) or shutil.which(str(root / first))
    if found is None:
        problem = Problem(id="H0210", message=f"the oracle's command {first!r} of corpus {corpus.path} is not there")
        raise InputError(problem)
    # The job has a folder of its own: what the command names in the project must not depend on where it runs.
    return (str(Path(found).absolute()), *(str(root / word) if (root / word).is_file() else word for word in rest))


@dataclass(slots=True, kw_only=True)
class _Answers:
    """A sink that keeps what the commands said."""

    store: Store
    answers: dict[str, tuple[str, int]] = field(default_factory=dict)

    def wants(self, digest: str) -> bool:
        return not self.store.has(digest) and self.store.outline(digest) is None

    def finished(self, outcome: Outcome) -> bool:
        result = outcome.result
        if result.ending in (Ending.EXITED, Ending.SIGNALLED) and not result.leaked:
            status = -result.code if result.ending is Ending.SIGNALLED else result.code
            self.answers[outcome.task.key[0]] = (result.stdout.digest, status)
        return False

    def commit(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            for data in outcome.streams.values():
                self.store.keep(data)
            self.store.keep_outlines(outcome.outlines)
