"""What a person sees first: what failed, why, and the line that repeats it."""

from __future__ import annotations

import re
from dataclasses import replace

from harness.divergence.classes import classify, rank_of
from harness.model.cell import Tier
from harness.model.report import FixtureReport, JobReport
from harness.model.verdict import Kind, Verdict
from harness.reports.terminal import render, render_failures, render_terminal, render_totals
from tests.reports.samples import (
    GLIBC,
    MUSL,
    NO_DOCKER,
    a_cell,
    a_green_report,
    a_report,
    an_observation,
    an_unusable_cell,
)

PLAIN = re.compile("\x1b\\[[0-9;]*m")


def shown(verbosity: int = 0) -> str:
    report, store = a_report()
    return render_terminal(report, store, width=80, color=False, verbosity=verbosity)


def test_a_green_run_is_short_and_ends_with_the_sentence() -> None:
    lines = render(*a_green_report()).splitlines()
    assert len(lines) < 10
    assert lines[-2:] == ["coverage: 1 of 1 planned job executed", "harness: all agree: 1 job in 1 cell"]


def test_a_failure_shows_its_classes_its_first_difference_and_how_to_repeat_it() -> None:
    block = shown().partition("floats/shortest-repr: diverged in 2 cells\n")[2].partition("\n\n")[0].splitlines()
    assert block[0].startswith("  expected: 4 cells (1206 bytes): linux-glibc-x86_64/cp312")
    assert "  first difference of class b: line 4, column 7 (byte 58)" in block
    assert "    expected: '3: 0.42857142857142855\\n'" in block
    assert "    -3: 0.42857142857142855" in block
    assert block[-1] == f"  harness run floats/shortest-repr --cell {MUSL}"


def test_lines_of_ordinary_data_fit_into_eighty_columns() -> None:
    ordinary = [line for line in shown().splitlines() if "\\x" not in line and "xxx" not in line]
    assert (
        max(len(line) for line in ordinary if not line.startswith("  harness run ") and "hostile/F" not in line) <= 80
    )


def test_unusable_cells_are_folded_by_reason() -> None:
    assert "  6 cells unavailable(no-docker): linux-musl-aarch64/cp310,\n" in shown()
    assert "    and 2 more\n      the Docker daemon does not answer" in shown()


def test_a_match_only_thanks_to_a_normalisation_is_said() -> None:
    assert "  1 job matches only thanks to crlf\n" in shown()


def test_a_failure_that_does_not_gate_is_marked_and_comes_last() -> None:
    text = shown(1)
    assert "text/only-advisory: diverged in 1 cell (does not gate)\n" in text
    assert text.index("text/only-advisory: diverged") > text.index("text/newlines: diverged")
    assert "first difference of class b: line 1, column 4 (byte 3), newline-only\n" in text


def test_what_is_not_shown_is_counted() -> None:
    assert "2 fixtures more (-v shows them): text/newlines, text/only-advisory\n" in shown()
    assert "fixtures more" not in shown(2)


def test_quiet_shows_one_line_for_each_failing_fixture() -> None:
    lines = shown(-1).splitlines()
    assert lines[1] == "floats/shortest-repr: diverged in 2 cells"
    assert "== " not in shown(-1)
    assert lines[-1] == "harness: no: 8 fixtures diverge, 9 of 14 cells verified"


def test_colour_changes_nothing_but_colour() -> None:
    report, store = a_report()
    colored = render_terminal(report, store, width=80, color=True, verbosity=1)
    assert PLAIN.search(colored)
    assert PLAIN.sub("", colored) == shown(1)


def test_hundreds_of_cells_show_those_with_something_to_say() -> None:
    report, store = a_green_report()
    many = tuple(a_cell(f"linux-musl-x86_64/cell{number}") for number in range(100))
    bad = JobReport(fixture="a", cell=many[77].cell.id, verdict=Verdict(kind=Kind.TIMEOUT, message="slow"))
    text = render(replace(report, cells=many, jobs=(bad,), exit_code=1), store)
    assert "linux-musl-x86_64/cell77" in text
    assert "linux-musl-x86_64/cell78" not in text
    assert "  and 76 cells more, none with a failure\n" in text


def test_many_failing_cells_classes_and_outputs_are_counted_not_listed() -> None:
    report, store = a_green_report()
    wanted = store.keep(b"wanted\n")
    jobs = []
    cells = tuple(a_cell(f"linux-musl-x86_64/cell{number}") for number in range(40))
    outputs = {cell.cell.id: store.keep(b"%d\n" % number) for number, cell in enumerate(cells)}
    for cell, said in outputs.items():
        seen = an_observation("f", cell, said, store.keep(b""))
        jobs.append(
            JobReport(
                fixture="f", cell=cell, verdict=Verdict(kind=Kind.DIVERGED), expected=wanted.digest, observation=seen
            )
        )
    found = classify("f", wanted.digest, outputs, rank_of(cells))
    assert found is not None
    text = render(replace(report, cells=cells, jobs=tuple(jobs), divergences=(found,), exit_code=1), store)
    for line in (
        "  expected: no cell",
        "  and 35 more classes",
        "  36 more outputs are not shown (-v shows them)",
        "  and 36 cells more",
        "  and 16 cells more, 16 with a failure",
    ):
        assert f"{line}\n" in text


def test_without_an_expectation_the_largest_class_is_the_reference() -> None:
    report, store = a_green_report()
    cells = (a_cell(GLIBC), a_cell(MUSL), a_cell("windows-amd64/cp312", Tier.THREE))
    outputs = {cell.cell.id: store.keep(b"1\n" if index < 2 else b"2\n") for index, cell in enumerate(cells)}
    found = classify("f", "", outputs, rank_of(cells))
    assert found is not None
    job = JobReport(
        fixture="f",
        cell="windows-amd64/cp312",
        verdict=Verdict(kind=Kind.DIVERGED),
        observation=an_observation("f", "windows-amd64/cp312", outputs["windows-amd64/cp312"], store.keep(b"")),
    )
    text = render(replace(report, cells=cells, jobs=(job,), divergences=(found,)), store)
    assert "class a: 2 cells (2 bytes)" in text
    assert "    class b:  '2\\n'\n" in text


def test_a_report_without_a_usable_cell_still_renders() -> None:
    report, store = a_green_report()
    nothing = replace(
        report,
        cells=(an_unusable_cell(MUSL, NO_DOCKER),),
        jobs=(JobReport(fixture="a", cell=MUSL, verdict=NO_DOCKER),),
        fixtures=(FixtureReport(fixture="a", result="drifted", message="3 cells agree with each other"),),
        exit_code=3,
        sentence="harness: incomplete",
    )
    text = render(nothing, store)
    assert "1 cell unavailable(no-docker): linux-musl-x86_64/cp312\n" in text
    assert "  a: drifted: 3 cells agree with each other\n" in text


def test_a_part_of_the_report_is_said_in_the_same_words() -> None:
    report, store = a_report()
    failures, totals = render_failures(report, store, width=80), render_totals(report, width=80)
    whole = shown()
    assert failures in whole
    assert all(line in whole.splitlines() for line in totals)
    assert totals[-1] == whole.splitlines()[-1]
    assert "\x1b" not in failures
