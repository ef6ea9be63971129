"""What is measured with: an interpreter of this computer as harness finds it, and the environment its agent gives.

Both are asked of harness itself, so that the rivals start the same program with the same variables.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.engine.dispatch import Dispatcher, Outcome, Task, Work
from harness.model.cell import Cell
from harness.model.fixture import Payload
from harness.model.platform import PythonTag
from harness.runners.interpreters import Interpreter, discover, matching
from harness.runners.local import LocalRunner, this_platform

PREFERRED = "3.12"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """An interpreter: its path, ``major.minor``, full version, and the closed environment of its jobs."""

    python: Path
    series: str
    version: str
    environment: dict[str, str]


def find_subject(private: Path) -> Subject:
    """CPython 3.12, else the newest release build; HOME and TMPDIR are in ``private``. Raises LookupError without any."""
    cell, found = _choose()
    environment = _environment(cell, found)
    for name in ("HOME", "TMPDIR"):  # the agent's are the job's own and gone by now
        place = private / name.lower()
        place.mkdir()
        environment[name] = str(place)
    return Subject(python=found.path, series=cell.python.version, version=found.facts.version, environment=environment)


def _choose() -> tuple[Cell, Interpreter]:
    interpreters = discover(None).interpreters
    released = [
        tuple(map(int, one.facts.series.split(".")))
        for one in interpreters
        if one.facts.implementation == "cpython" and one.facts.build == "default" and one.facts.version.count(".") == 2
    ]
    for series in (PREFERRED, *(".".join(map(str, numbers)) for numbers in sorted(set(released), reverse=True))):
        cell = Cell(platform=this_platform(), python=PythonTag.parse(series))
        found = matching(cell, interpreters)
        if found is not None:
            return cell, found
    raise LookupError("there is no CPython on this computer")


@dataclass(slots=True)
class _Kept:
    """A sink for one answer."""

    outcomes: list[Outcome] = field(default_factory=list)

    def wants(self, digest: str) -> bool:
        return True

    def finished(self, outcome: Outcome) -> bool:
        self.outcomes.append(outcome)
        return False

    def commit(self, outcomes: Sequence[Outcome]) -> None:
        return


def _environment(cell: Cell, found: Interpreter) -> dict[str, str]:
    """The environment that a job really has, as the job says."""
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    work = Work(payload=Payload(program="-c", files=(), args=(program,)))
    placement = LocalRunner(slots=1).serve(cell, str(found.path))
    task = Task(
        key=("environment", cell.id), attempt=1, placement=placement, load=lambda: work, timeout=30.0, output=1 << 20
    )
    kept = _Kept()
    with Dispatcher() as dispatcher:
        dispatcher.execute([task], kept)
    said = json.loads(kept.outcomes[0].streams[kept.outcomes[0].result.stdout.digest])
    assert isinstance(said, dict)
    return {str(name): str(value) for name, value in said.items()}
