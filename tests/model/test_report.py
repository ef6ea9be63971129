"""A report knows its truth value, its totals and the one exit status of all that apply."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.report import WORDS, Coverage, FixtureReport, worst_exit
from harness.model.verdict import Kind, Verdict
from tests.reports.samples import GLIBC, NO_DOCKER, a_cell, a_green_report, a_report, an_unusable_cell

ORDER = (70, 130, 143, 5, 6, 2, 1, 3, 4)


def test_no_status_is_the_status_of_success() -> None:
    assert worst_exit(set()) == 0


@given(st.sets(st.sampled_from(ORDER), min_size=1))
def test_the_worst_exit_is_the_first_in_the_documented_order(codes: set[int]) -> None:
    assert worst_exit(codes) == min(codes, key=ORDER.index)
    assert worst_exit(codes | {0}) == worst_exit(codes)


def test_every_exit_status_has_its_words() -> None:
    assert set(WORDS) == {0, *ORDER}
    assert len(set(WORDS.values())) == len(WORDS)


def test_a_report_is_true_when_it_ends_well() -> None:
    report, _ = a_green_report()
    assert report
    assert not replace(report, exit_code=3)


def test_counts_name_every_kind_that_occurs_in_the_order_of_kinds_and_add_up() -> None:
    report, _ = a_report()
    counts = report.counts()
    assert list(counts) == [kind for kind in Kind if kind in counts]
    assert set(counts) == {job.verdict.kind for job in report.jobs}
    assert sum(counts.values()) == len(report.jobs)


def test_a_cell_with_a_verdict_or_without_facts_is_not_verified() -> None:
    cell = a_cell(GLIBC)
    assert cell.is_verified
    assert not an_unusable_cell(GLIBC, NO_DOCKER).is_verified
    assert not replace(cell, facts=None).is_verified
    assert not replace(cell, verdict=Verdict(kind=Kind.MISPLACED)).is_verified


@pytest.mark.parametrize(("result", "is_failure"), [("prepare-failed", True), ("drifted", False)])
def test_a_fixture_that_could_not_be_prepared_fails_and_drift_only_explains(result: str, is_failure: bool) -> None:
    assert FixtureReport(fixture="a", result=result, message="").is_failure is is_failure


def test_what_was_neither_run_nor_skipped_is_missing() -> None:
    assert Coverage(planned=10, executed=6, skipped=3, unverified=()).missing == 1
