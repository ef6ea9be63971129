"""Commands that only look: schema, list and plan."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import CELL, Project


@pytest.fixture
def small(project: Project) -> Project:
    project.fixture("one", "print(1)", "1\n")
    project.fixture("two", "print(2)", "2\n")
    return project


@pytest.mark.parametrize(("which", "key"), [("matrix", "platforms"), ("fixture", "requires-python")])
def test_a_schema_describes_the_keys_of_its_file(project: Project, which: str, key: str) -> None:
    done = project("schema", which)
    schema = json.loads(done.out)
    assert done.status == 0
    assert key in schema["properties"]
    assert schema["additionalProperties"] is False


def test_the_schema_is_that_of_the_matrix_unless_said_otherwise(project: Project) -> None:
    assert project("schema").out == project("schema", "matrix").out


@pytest.mark.parametrize(
    ("what", "rows"),
    [
        ("cells", [CELL]),
        ("fixtures", ["fixtures/one", "fixtures/two"]),
        ("jobs", [f"fixtures/one@{CELL}", f"fixtures/two@{CELL}"]),
    ],
)
def test_a_list_has_an_id_on_each_line_or_is_json(small: Project, what: str, rows: list[str]) -> None:
    assert small("list", what).out.splitlines() == rows
    assert json.loads(small("list", what, "--json").out) == rows


def test_a_list_of_nothing_says_so_by_its_status(small: Project) -> None:
    done = small("list", "jobs", "-k", "three")
    assert (done.status, done.out, done.err) == (4, "", "harness: the selection has no jobs\n")


def test_a_list_of_fixtures_names_those_without_a_golden_beside_the_pipe(small: Project) -> None:
    small.fixture("new", "print(3)", None)
    done = small("list", "fixtures")
    assert done.out.splitlines() == ["fixtures/one", "fixtures/two"]
    assert done.err == "harness: 1 fixture has no golden yet: fixtures/new; `harness bless` writes it\n"
    assert small("list", "fixtures", "-k", "one").err == ""


def test_without_a_command_the_commands_are_shown(project: Project) -> None:
    done = project()
    assert (done.status, done.out) == (2, "")
    assert done.err == project("--help").out


def test_a_diff_of_nothing_is_only_its_last_lines(small: Project) -> None:
    small("run")
    done = small("diff")
    assert done.status == 0
    assert [line.split(" ")[0] for line in done.out.splitlines()] == ["coverage:", "no"]


def test_what_a_plan_explains_fits_into_a_terminal(small: Project) -> None:
    explained = small("plan", "--explain").out
    assert "the same in every cell: " in explained
    assert max(map(len, explained.splitlines())) <= 80


def test_a_plan_counts_jobs_by_cell_and_reasons_of_what_is_skipped(small: Project) -> None:
    folder = small.fixture("three", "print(3)", "3\n")
    (folder / "fixture.yaml").write_text("requires-python: '>=4'\n")
    done = small("plan")
    assert "1 x needs Python >=4" in done.out
    assert done.last == "2 jobs: 3 fixtures in 1 cell"
    planned = json.loads(small("plan", "--json").out)
    assert planned["cells"] == [CELL]
    assert [job["skip"] for job in planned["jobs"]] == [None, "skipped(requires-python)", None]


def test_a_plan_explains_what_its_cells_cannot_tell_apart(small: Project) -> None:
    small.matrix("platforms: [linux-glibc-x86_64, linux-musl-x86_64]\npythons: ['3.12']\n")
    done = small("plan", "--explain")
    assert "separated by libc: glibc, musl" in done.out
    assert "arch=x86_64" in next(line for line in done.out.splitlines() if line.startswith("the same in every cell:"))
