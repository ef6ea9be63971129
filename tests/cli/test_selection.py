"""What narrows and orders a run: words, tags, paths, shards, the last failures, the first failure."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.cli.conftest import CELL, HERE, TAG, Project

YES = "print('yes')"
NO = "print('no')"


@pytest.fixture
def mixed(project: Project) -> Project:
    """Three fixtures of which one fails, and one more in another folder."""
    project.fixture("a/red", NO, declared="tags: [colour, warm]\n")
    project.fixture("a/green", YES, declared="tags: [colour]\n")
    project.fixture("b/deep/one", YES)
    project.fixture("b/two", YES, declared="tags: [warm]\n")
    return project


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), {"red", "green", "one", "two"}),
        (("-k", "a"), {"red", "green"}),
        (("-k", "RED or two"), {"red", "two"}),
        (("-k", "not (red or b)"), {"green"}),
        (("-m", "colour and not warm"), {"green"}),
        (("-m", "war"), set()),
        (("fixtures/b",), {"one", "two"}),
        (("fixtures/b/", "fixtures/a/red/main.py"), {"one", "two", "red"}),
        (("--cell", "*/cp3*", "-k", "one"), {"one"}),
        (("--python", HERE, "--tier", "1", "-k", "one"), {"one"}),
    ],
)
def test_jobs_are_selected_by_words_tags_paths_and_cells(
    mixed: Project, arguments: tuple[str, ...], expected: set[str]
) -> None:
    done = mixed("list", "jobs", *arguments)
    names = {line.partition("@")[0].rpartition("/")[2] for line in done.out.splitlines()}
    assert (done.status, names) == (0 if expected else 4, expected)


def test_the_shards_of_a_run_are_a_partition(mixed: Project) -> None:
    parts = "".join(mixed("list", "fixtures", "--shard", f"{part}/3").out for part in (1, 2, 3))
    assert sorted(parts.split()) == mixed("list", "fixtures").out.split()
    for wrong in ("0/3", "4/3", "1", "x/y"):
        assert mixed("list", "fixtures", "--shard", wrong).status == 2


def test_the_last_failures_can_be_run_alone_or_first(mixed: Project) -> None:
    assert len(mixed("run", "--lf", "--json").report["jobs"]) == 4  # nothing has failed yet
    alone = mixed("run", "--lf", "--json")
    assert (alone.status, alone.verdicts()) == (1, {f"red@{TAG}": "diverged"})
    assert mixed("run", "--lf", "--dry-run").last.startswith("1 job: ")
    first = mixed("run", "--ff", "-x", "-n", "1", "--json")
    assert first.verdicts()[f"red@{TAG}"] == "diverged"
    assert len(first.report["jobs"]) == 4


@pytest.mark.parametrize("limit", [("-x",), ("--maxfail", "2")])
def test_a_run_can_stop_after_so_many_failures_and_says_what_it_did_not_run(
    project: Project, limit: tuple[str, ...]
) -> None:
    project.fixture("a", NO)
    project.fixture("b", NO)
    for number in range(300):
        (project.folder / "fixtures" / f"slow{number}.py").write_text("import time; time.sleep(0.02); print('yes')\n")
        (project.folder / "fixtures" / f"slow{number}.out").write_text("yes\n")
    done = project("run", *limit, "-n", "2", "--json")
    kinds = done.report["counts"]
    assert done.status == 1
    assert kinds["diverged"] >= len(limit)
    assert kinds["skipped"] > 100
    stopped = {job["verdict"].get("message", "") for job in done.report["jobs"] if job["verdict"]["kind"] == "skipped"}
    assert stopped == {"not run: the run was stopped before it"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--paltform", "x"), "--platform"),
        (("rum",), "'run'"),
        (("list",), "Choose from: cells, fixtures, jobs\n  hint: see `harness list --help`"),
        (("run", "nowhere"), "hint: see `harness run --help`"),
        (("run", "--cell", f"{CELL}x"), f"did you mean '{CELL}'?"),
        (("run", "--platform", "linux"), "matches no cell of the matrix"),
        (("run", "--python", "2.7"), f"there is {TAG}"),
        (("run", "fixtures/a/rad"), "did you mean 'fixtures/a/red'?"),
        (("run", "-k", "a and"), "-k 'a and', character 6"),
        (("run", "-n", "many"), "-n 'many'"),
        (("run", "-n", "²"), "-n '²'"),
        (("run", "--output-format", "yaml"), "none of text, json"),
        (("diff", "--output-format", "yaml"), "none of text, json"),
        (("report", "--output-format", "yaml"), "none of text, json"),
        (("run", "--resume", "--lf"), "--lf cannot be given with it"),
        (("run", "-c", "nowhere.yaml"), "nowhere.yaml"),
        (("run", "--repeat", "0"), "--repeat"),
        (("run", "--timeout", "0"), "--timeout"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_nearest_that_can(
    mixed: Project, arguments: tuple[str, ...], said: str
) -> None:
    done = mixed(*arguments)
    assert (done.status, done.out) == (2, "")
    assert said in done.err


def test_diff_and_report_without_a_run_say_how_to_get_one(mixed: Project) -> None:
    for command in ("diff", "report"):
        done = mixed(command)
        assert (done.status, done.out) == (4, "")
        assert "`harness run" in done.err
    shutil.rmtree(mixed.folder / ".harness", ignore_errors=True)
    assert mixed("diff").status == mixed("report").status == mixed("run", "--resume").status == 4


@pytest.mark.parametrize("has_run", [True, False])
def test_a_diff_of_a_platform_that_no_run_has_verified_says_how_to_get_one(mixed: Project, has_run: bool) -> None:
    elsewhere = "macos-arm64" if os.uname().sysname != "Darwin" else "linux-musl-x86_64"
    mixed.matrix(f'platforms: [local, {elsewhere}]\npythons: ["{HERE}"]\n')
    if has_run:
        assert mixed("run").status == 1
        assert mixed("diff").status == 1
    done = mixed("diff", "--platform", elsewhere)
    assert (done.status, done.out) == (4, "")
    assert f"no run has verified {elsewhere}/{TAG}" in done.err
    assert f"`harness run --platform {elsewhere}`" in done.err


def test_a_diff_can_be_narrowed_and_outlives_its_fixture(mixed: Project) -> None:
    assert mixed("run", "-q").status == 1
    assert mixed("diff", "-k", "green").status == 0
    assert mixed("diff", "fixtures/a").status == 1
    for file in sorted((mixed.folder / "fixtures/a/red").iterdir()):
        file.unlink()
    assert mixed("diff").status == 1
    assert mixed("diff", "--cell", CELL, "--tier", "3").status == 2  # no cell has that tier


def test_options_that_exclude_each_other_select_nothing(mixed: Project) -> None:
    mixed.matrix(f'platforms: [local]\npythons: {{"{HERE}": {{tier: 1}}, "3.99": {{tier: 2}}}}\n')
    for command in ("run", "diff"):
        done = mixed(command, "--python", HERE, "--tier", "2")
        assert (done.status, "H0502" in done.err) == (4, True)
