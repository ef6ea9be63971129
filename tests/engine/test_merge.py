"""Parts of one run become one report, whatever their order and however often they come."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from harness.engine.dispatch import Dispatcher
from harness.engine.merge import merge, take
from harness.engine.options import Options
from harness.engine.project import Project
from harness.engine.run import new_identity, new_record
from harness.engine.stepwise import Stepwise
from harness.model.report import Report
from harness.plan import Selection
from harness.runners import open_runners
from harness.runners.local import this_platform
from harness.store.bundle import Bundle, read_bundle, write_bundle
from harness.store.database import Store

FIXTURES = ("a-good", "b-wrong", "c-voted")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two gating cells and one that cannot be reached; in ``voted`` cells judge each other."""
    cells = [
        f"  - {{platform: local, python: {name}, interpreter: {place}}}\n"
        for name, place in (("one", sys.executable), ("two", sys.executable), ("gone", "nowhere/python"))
    ]
    corpora = "corpora:\n  - {path: fixtures}\n  - {path: voted, oracle: consensus}\n"
    (tmp_path / "matrix.yaml").write_text(f"cells:\n{''.join(cells)}{corpora}", encoding="utf-8")
    for name, program in (("fixtures/a-good", "yes"), ("fixtures/b-wrong", "no"), ("voted/c-voted", "maybe")):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "main.py").write_text(f"print({program!r})\n", encoding="utf-8")
        if name.startswith("fixtures"):
            (folder / "expected.stdout").write_bytes(b"yes\n")
    return Project.load(tmp_path / "matrix.yaml", local=this_platform())


@pytest.fixture
def options(project: Project) -> Options:
    jobs = frozenset((fixture.id, cell.id) for fixture in project.fixtures for cell in project.matrix.cells)
    return Options(selection=Selection(only_jobs=jobs))


def part_of(project: Project, options: Options, identity: tuple[str, str], cell: str, folder: Path) -> Bundle:
    """What a process observes that is asked for the jobs of one cell."""
    folder.mkdir(exist_ok=True)
    jobs = [key for key in sorted(options.selection.only_jobs or ()) if key[1].endswith(cell)]
    with Store.open(folder / cell) as store, Dispatcher() as dispatcher:
        record = new_record(project, options, identity)
        stepwise = Stepwise(project, options, record, store, open_runners(project.root), dispatcher)
        for key in jobs:
            (job,) = stepwise.conclude(key, jobs).jobs
            assert (job.fixture, job.cell) == key
            assert job.verdict.reason != "no-oracle"
        stepwise.finish()
        write_bundle(store, record.id, folder / f"{cell}.bundle")
    return read_bundle(folder / f"{cell}.bundle")


def without_run(report: Report) -> Report:
    return replace(report, run=replace(report.run, id="", started="", duration=0.0, durations=()))


def test_the_order_of_the_parts_changes_nothing_and_neither_does_a_part_that_comes_twice(
    project: Project, options: Options, tmp_path: Path, ground: Path
) -> None:
    identity = new_identity()
    parts = [part_of(project, options, identity, cell, tmp_path / "parts") for cell in ("one", "two", "gone")]
    reports = []
    for number, order in enumerate([*permutations(parts), [*parts, parts[0]]]):
        with Store.open(tmp_path / f"store{number}") as store:
            reports.append(merge(project, options, store, order))
            assert store.report() == reports[-1]
    assert all(without_run(report) == without_run(reports[0]) for report in reports)
    verdicts = {
        (job.fixture.rpartition("/")[2], job.cell.rpartition("/")[2]): str(job.verdict) for job in reports[0].jobs
    }
    assert verdicts == {
        **{(name, "gone"): "unavailable(no-interpreter)" for name in FIXTURES},
        **{("a-good", cell): "agree" for cell in ("one", "two")},
        **{("b-wrong", cell): "diverged" for cell in ("one", "two")},
        **{("c-voted", cell): "agree" for cell in ("one", "two")},
    }
    assert [one.result for one in reports[0].fixtures] == ["drifted"]


def test_a_part_that_is_missing_leaves_its_jobs_open(
    project: Project, options: Options, tmp_path: Path, ground: Path
) -> None:
    part = part_of(project, options, new_identity(), "one", tmp_path / "parts")
    with Store.open(tmp_path / "store") as store:
        take(store, [part])
        assert [run.id for run in store.unfinished()] == [part.run.id]
        report = merge(project, options, store, [part])
        assert store.unfinished() == ()
    unasked = {(job.fixture, job.cell.rpartition("/")[2]) for job in report.jobs if job.verdict.reason == "deselected"}
    # What judges the jobs of the one cell has been run with them.
    assert unasked == {("fixtures/a-good", "two"), ("fixtures/b-wrong", "two")}
