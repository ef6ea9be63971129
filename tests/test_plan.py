"""Every fixture in every selected cell is one job, skipped only for a declared reason, in whatever order it was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.model.cell import Cell, Facts, Tier
from harness.model.fixture import Condition, Fixture, Golden
from harness.model.platform import Platform, PythonTag
from harness.model.rule import Rule
from harness.model.verdict import Kind
from harness.plan import Plan, PlannedJob, Selection, axes_of, plan, select_cells, select_fixtures, shard_of

GENERAL = Golden(stdout=Path("expected.stdout"))


def a_cell(id: str, tier: Tier = Tier.ONE) -> Cell:
    platform, python = id.split("/")
    return Cell(platform=Platform.parse(platform), python=PythonTag.parse(python), tier=tier)


def a_fixture(id: str, *tags: str) -> Fixture:
    return Fixture(
        id=id,
        corpus="fixtures",
        program="main.py",
        files=(("main.py", Path(id) / "main.py"),),
        goldens=(GENERAL,),
        tags=tags,
    )


def facts(version: str, libc: str = "glibc") -> Facts:
    return Facts(os="linux", arch="x86_64", implementation="cpython", version=version, libc=libc)


GLIBC, OLD, MUSL, THREADED, WINDOWS, GOPY = CELLS = (
    a_cell("linux-glibc-x86_64/cp312"),
    a_cell("linux-glibc-x86_64/cp39", Tier.TWO),
    a_cell("linux-musl-x86_64/cp312"),
    a_cell("linux-glibc-x86_64/cp313t", Tier.THREE),
    a_cell("windows-amd64/cp312"),
    a_cell("linux-musl-x86_64/gopy", Tier.ADVISORY),
)
FIXTURES = (
    a_fixture("fixtures/json/dump", "json", "slow"),
    a_fixture("fixtures/json/load", "JSON"),
    a_fixture("fixtures/jsonlines"),
    a_fixture("fixtures/text", "slow"),
)
ALL = Selection()
ROOM = 32_766 - 260 - len('" main.py"')  # for the arguments of these on Windows


def ids(found: Sequence[Cell] | Sequence[Fixture]) -> list[str]:
    return [one.id for one in found]


def the_skip(fixture: Fixture, cell: Cell, measured: Facts | None = None) -> str:
    planned = plan([cell], [fixture], ALL, {cell.id: measured} if measured else {})
    (job,) = planned.jobs
    return f"{job.skip}: {job.skip.message}" if job.skip else ""


# Cells


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (ALL, CELLS),
        (Selection(cells=("linux-musl-x86_64/cp312",)), (MUSL,)),
        (Selection(cells=("*/cp312",)), (GLIBC, MUSL, WINDOWS)),
        (Selection(cells=("windows-*", "*/cp39")), (OLD, WINDOWS)),
        (Selection(platforms=("linux-musl-*",)), (MUSL, GOPY)),
        (Selection(pythons=("3.12",)), (GLIBC, MUSL, WINDOWS)),
        (Selection(pythons=("3.13",)), (THREADED,)),
        (Selection(pythons=("cp39", "gopy")), (OLD, GOPY)),
        (Selection(pythons=("cp31*",)), (GLIBC, MUSL, THREADED, WINDOWS)),
        (Selection(tiers=("1",)), (GLIBC, MUSL, WINDOWS)),
        (Selection(tiers=("3", "advisory")), (THREADED, GOPY)),
        (Selection(platforms=("linux-*",), pythons=("3.12",), tiers=("1",)), (GLIBC, MUSL)),
        (Selection(platforms=("windows-*",), pythons=("3.9",)), ()),
    ],
)
def test_cells_are_selected_by_patterns_in_the_order_of_the_matrix(
    selection: Selection, chosen: tuple[Cell, ...]
) -> None:
    assert select_cells(CELLS, selection) == chosen


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (
            Selection(cells=("linux-musl-x86_64/cp311",)),
            "--cell 'linux-musl-x86_64/cp311' matches no cell of the matrix; did you mean 'linux-musl-x86_64/cp312'?",
        ),
        (
            Selection(platforms=("macos-arm64",)),
            "--platform 'macos-arm64' matches no cell of the matrix; there are linux-glibc-x86_64, linux-musl-x86_64, ",
        ),
        (Selection(pythons=("cp321",)), "--python 'cp321' matches no cell of the matrix; did you mean 'cp312'?"),
        (Selection(tiers=("9",)), "--tier '9' matches no cell of the matrix; there are 1, 2, 3, advisory"),
        (Selection(cells=("*", "nowhere")), "--cell 'nowhere' matches no cell of the matrix"),
    ],
)
def test_a_pattern_that_matches_no_cell_is_an_error_that_names_the_nearest(selection: Selection, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        select_cells(CELLS, selection)
    (problem,) = caught.value.problems
    assert problem.id == "H0003"
    assert problem.message.startswith(message)


# Fixtures


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (ALL, FIXTURES),
        (Selection(paths=("fixtures",)), FIXTURES),
        (Selection(paths=(".",)), FIXTURES),
        (Selection(paths=("fixtures/json",)), FIXTURES[:2]),
        (Selection(paths=("fixtures/json/",)), FIXTURES[:2]),
        (Selection(paths=("fixtures/text", "fixtures/json/load")), (FIXTURES[1], FIXTURES[3])),
        (Selection(keywords="json"), FIXTURES[:3]),
        (Selection(keywords="Json and not LOAD"), (FIXTURES[0], FIXTURES[2])),
        (Selection(keywords="slow"), (FIXTURES[0], FIXTURES[3])),
        (Selection(keywords="(dump or text) and slow"), (FIXTURES[0], FIXTURES[3])),
        (Selection(keywords="nothing"), ()),
        (Selection(marks="json"), FIXTURES[:1]),
        (Selection(marks="not slow"), FIXTURES[1:3]),
        (Selection(paths=("fixtures/json",), keywords="load", marks="JSON"), FIXTURES[1:2]),
    ],
)
def test_fixtures_are_selected_by_paths_words_and_tags_in_their_order(
    selection: Selection, chosen: tuple[Fixture, ...]
) -> None:
    assert select_fixtures(FIXTURES, selection) == chosen


@pytest.mark.parametrize(
    ("selection", "id", "message"),
    [
        (
            Selection(paths=("fixtures/txt",)),
            "H0001",
            "'fixtures/txt' is no fixture and no folder with fixtures; did you mean 'fixtures/text'?",
        ),
        (Selection(paths=("fixtures/js",)), "H0001", "'fixtures/js' is no fixture and no folder with fixtures; "),
        (Selection(keywords="a and"), "H0004", "-k 'a and', character 6: expected a word, found the end"),
        (Selection(keywords="("), "H0004", "-k '(', character 2: expected a word, found the end"),
        (Selection(marks="a b"), "H0004", "-m 'a b', character 3: 'b' is too much here; "),
        (Selection(marks="not"), "H0004", "-m 'not', character 4: expected a tag, found the end"),
        (Selection(marks=" "), "H0004", "-m ' ', character 1: -m is empty"),
    ],
)
def test_what_cannot_be_selected_is_an_error_at_its_place(selection: Selection, id: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        select_fixtures(FIXTURES, selection)
    (problem,) = caught.value.problems
    assert problem.id == id
    assert problem.message.startswith(message)


NAMES = st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=20)


@given(NAMES, st.integers(1, 7))
def test_shards_partition_the_fixtures(names: list[str], count: int) -> None:
    fixtures = [a_fixture(name) for name in names]
    shards = [select_fixtures(fixtures, Selection(shard=(number, count))) for number in range(1, count + 1)]
    assert sorted(one.id for shard in shards for one in shard) == sorted(names)
    assert select_fixtures(fixtures, Selection(shard=(1, 1))) == tuple(fixtures)


@given(NAMES.flatmap(lambda names: st.tuples(st.just(names), st.permutations(names))), st.integers(1, 5))
def test_a_shard_does_not_depend_on_order_nor_on_the_other_fixtures(
    names: tuple[list[str], list[str]], count: int
) -> None:
    one, other = ([a_fixture(name) for name in order] for order in names)
    selection = Selection(shard=(1, count))
    assert set(ids(select_fixtures(one, selection))) == set(ids(select_fixtures(other, selection)))
    assert ids(select_fixtures(one, selection)) == [name for name in names[0] if shard_of(name, count) == 1]


def test_a_fixture_stays_in_its_shard_from_version_to_version() -> None:
    assert [shard_of(fixture.id, 4) for fixture in FIXTURES] == [1, 4, 1, 1]


# Crossing


SELECTIONS = st.builds(
    Selection,
    paths=st.sampled_from([(), ("fixtures",), ("fixtures/json",)]),
    keywords=st.sampled_from(["", "json", "not json", "zzz"]),
    marks=st.sampled_from(["", "slow"]),
    cells=st.sampled_from([(), ("*/cp312",)]),
    platforms=st.sampled_from([(), ("linux-*",)]),
    tiers=st.sampled_from([(), ("1",), ("2", "3")]),
    shard=st.none() | st.sampled_from([(1, 2), (2, 2)]),
    only_jobs=st.none() | st.frozensets(st.sampled_from([(f.id, c.id) for f in FIXTURES for c in CELLS])),
    first_jobs=st.frozensets(st.sampled_from([(f.id, c.id) for f in FIXTURES for c in CELLS]), max_size=3),
)


def a_plan(cells: Sequence[Cell], fixtures: Sequence[Fixture], selection: Selection) -> Plan:
    return plan(cells, fixtures, selection, {})


@given(SELECTIONS)
def test_jobs_and_what_was_deselected_add_up_to_fixtures_times_cells(selection: Selection) -> None:
    planned = a_plan(CELLS, FIXTURES, selection)
    keys = [job.key for job in planned.jobs]
    assert len(keys) + planned.deselected == len(CELLS) * len(FIXTURES)
    assert len(set(keys)) == len(keys)
    wanted = {(fixture.id, cell.id) for fixture in planned.fixtures for cell in planned.cells}
    assert set(keys) == (wanted if selection.only_jobs is None else wanted & selection.only_jobs)


@given(SELECTIONS, st.permutations(CELLS), st.permutations(FIXTURES))
def test_what_is_selected_does_not_depend_on_the_order_of_cells_and_fixtures(
    selection: Selection, cells: list[Cell], fixtures: list[Fixture]
) -> None:
    one, other = a_plan(CELLS, FIXTURES, selection), a_plan(cells, fixtures, selection)

    def keyed(planned: Plan) -> dict[tuple[str, str], PlannedJob]:
        return {job.key: job for job in planned.jobs}

    assert keyed(one) == keyed(other)
    assert one.deselected == other.deselected


def test_jobs_are_ordered_by_fixture_then_cell_with_the_first_ones_first() -> None:
    planned = a_plan(CELLS[:2], FIXTURES[:2], ALL)
    pairs = [(fixture.id, cell.id) for fixture in FIXTURES[:2] for cell in CELLS[:2]]
    assert [job.key for job in planned.jobs] == pairs
    planned = a_plan(CELLS[:2], FIXTURES[:2], Selection(first_jobs=frozenset({pairs[3], pairs[1]})))
    assert [job.key for job in planned.jobs] == [pairs[1], pairs[3], pairs[0], pairs[2]]


def test_only_the_jobs_asked_for_are_planned() -> None:
    key = (FIXTURES[0].id, MUSL.id)
    planned = a_plan(CELLS, FIXTURES, Selection(only_jobs=frozenset({key, ("gone", MUSL.id)})))
    assert [job.key for job in planned.jobs] == [key]
    assert planned.deselected == len(CELLS) * len(FIXTURES) - 1


def test_a_job_has_the_golden_of_its_cell() -> None:
    variant = Golden(stdout=Path("musl.stdout"), when=Rule.parse("libc=musl"))
    fixture = replace(FIXTURES[0], goldens=(variant, GENERAL))
    assert [job.golden for job in a_plan([GLIBC, MUSL], [fixture], ALL).jobs] == [GENERAL, variant]


def test_what_was_measured_overlays_what_is_claimed() -> None:
    assert axes_of(GOPY, None).get("patch") is None
    axes = axes_of(GOPY, facts("3.11.7", "musl"))
    assert (axes["patch"], axes["interpreter"]) == ("3.11.7", "gopy")
    variant = Golden(stdout=Path("old.stdout"), when=Rule.parse("patch<3.12.2"))
    fixture = replace(FIXTURES[0], goldens=(variant, GENERAL))
    measured = plan([GLIBC, MUSL], [fixture], ALL, {GLIBC.id: facts("3.12.1")})
    assert [job.golden for job in measured.jobs] == [variant, GENERAL]


# Reasons to skip


def test_conditions_skip_with_their_reason() -> None:
    fixture = replace(
        FIXTURES[0],
        only=(Condition(rule=Rule.parse("os=linux"), because="uses fork"),),
        skip=(Condition(rule=Rule.parse("libc=musl"), because="needs locales"),),
    )
    assert the_skip(fixture, GLIBC) == ""
    assert the_skip(fixture, MUSL) == "skipped(rule): skipped where libc=musl: needs locales"
    assert the_skip(fixture, WINDOWS) == "skipped(rule): only where os=linux: uses fork"


@pytest.mark.parametrize(
    ("specifier", "cell", "measured", "is_skipped"),
    [
        (">=3.10", GLIBC, "", False),
        (">=3.10", OLD, "", True),
        (">=3.12.3", GLIBC, "", False),  # the series stands for its latest release
        (">=3.12.3", GLIBC, "3.12.1", True),
        (">=3.12.3", GLIBC, "3.12.10", False),
        ("<3.12", GLIBC, "3.12.1", True),
        (">=3.10", GOPY, "", False),  # unknown
        (">=3.14", GOPY, "3.14.0rc1", False),  # as pip sees it: a preview of 3.14 has what 3.14 has
        (">=3.14", GOPY, "3.13.0+", True),
        (">=3.10", GOPY, "none of your business", False),
        (">=3.10", GOPY, "3." + "9" * 5000, False),
    ],
)
def test_requires_python_is_asked_of_the_release_that_was_measured(
    specifier: str, cell: Cell, measured: str, is_skipped: bool
) -> None:
    said = the_skip(replace(FIXTURES[0], requires_python=specifier), cell, facts(measured) if measured else None)
    assert said == (f"skipped(requires-python): needs Python {specifier}" if is_skipped else "")


@pytest.mark.parametrize(
    ("args", "cells"),
    [
        ((), ()),
        (("a",) * 8_192, (WINDOWS,)),
        (("x" * 32_766,), (WINDOWS,)),
        (("x" * (ROOM - 3),), ()),  # each in quotes and after a blank
        (("x" * (ROOM - 2),), (WINDOWS,)),
        (("x" * (ROOM - 100) + '"' * 97,), (WINDOWS,)),  # and a quote in it is two characters
        (("x" * (ROOM - 100) + "\\" * 97,), (WINDOWS,)),
        (("\\" * 49 + "x" * (ROOM - 100),), ()),
        (("x" * 131_071,), (WINDOWS,)),
        (("x" * 131_072,), (WINDOWS, GLIBC)),
        (("é" * 65_536,), (WINDOWS, GLIBC)),  # the limit counts bytes
        (("\udcff" * 131_071,), (WINDOWS,)),
        (("\U0001f40d" * (ROOM // 2),), (WINDOWS,)),  # there it counts units of UTF-16
        (("x" * 100_000,) * 20, (WINDOWS, GLIBC)),
        (("x" * 100_000,) * 19, (WINDOWS,)),
        (("abcde",) * 200_000, (WINDOWS, GLIBC)),  # each costs a pointer too
        (("a",) * 65_536, (WINDOWS,)),
    ],
)
def test_more_arguments_than_a_platform_takes_are_refused_before_dispatch(
    args: tuple[str, ...], cells: tuple[Cell, ...]
) -> None:
    fixture = replace(FIXTURES[0], args=args)
    for cell in (GLIBC, WINDOWS):
        said = the_skip(fixture, cell)
        assert said.startswith("skipped(arguments-too-long): ") is (cell in cells)
        assert said.endswith(f" are too many for {cell.platform.os}" if said else "")
    assert the_skip(fixture, a_cell("emscripten-wasm32/pyodide")) == ""


def test_the_environment_counts_where_it_shares_the_room_of_the_arguments() -> None:
    large = replace(FIXTURES[0], env=(("A", "x" * 131_070),))
    assert the_skip(large, GLIBC) == (
        "skipped(arguments-too-long): 131072 bytes of one argument or variable are too many for linux"
    )
    assert the_skip(large, WINDOWS) == the_skip(large, a_cell("macos-arm64/cp312")) == ""
    many = replace(FIXTURES[0], env=tuple((f"A{number}", "x" * 1_000) for number in range(1_024)))
    assert the_skip(many, GLIBC) == ""
    assert the_skip(replace(many, args=("a",) * 65_536), GLIBC) == ""
    assert the_skip(replace(many, args=("x" * 1_000,) * 1_000), GLIBC).startswith("skipped(arguments-too-long)")
    assert the_skip(many, a_cell("macos-arm64/cp312")) == (
        "skipped(arguments-too-long): 1038250 bytes of arguments and environment are too many for macos"
    )
    assert the_skip(FIXTURES[0], replace(GLIBC, env=large.env)).startswith("skipped(arguments-too-long)")
    assert the_skip(replace(FIXTURES[0], env=(("A", ""),)), replace(GLIBC, env=large.env)) == ""  # the fixture's wins


def test_a_job_that_may_run_has_no_verdict_yet_and_the_others_have_skipped() -> None:
    fixture = replace(FIXTURES[0], requires_python=">=3.12")
    verdicts = [job.skip for job in a_plan(CELLS, [fixture], ALL).jobs]
    assert [verdict and verdict.kind for verdict in verdicts] == [None, Kind.SKIPPED, None, None, None, None]
