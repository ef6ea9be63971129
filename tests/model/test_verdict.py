"""The list of verdicts is closed, its order is its precedence, and each kind is a pass, a failure or neither."""

from __future__ import annotations

import pytest

from harness.model.verdict import PRECEDENCE, Kind, Verdict

PASSES = {Kind.AGREE, Kind.ACCEPTED, Kind.REFUSED}
INCOMPLETE = {Kind.UNAVAILABLE, Kind.MISPLACED, Kind.LOST}


def test_the_list_and_its_order_are_the_documented_ones() -> None:
    assert [kind.value for kind in Kind] == [
        "unavailable",
        "skipped",
        "misplaced",
        "lost",
        "resource-limit",
        "timeout",
        "output-limit",
        "signal",
        "exit-status",
        "leaked",
        "flaky",
        "not-refused",
        "refused",
        "changed",
        "diverged",
        "fixed",
        "accepted",
        "agree",
    ]
    assert sorted(Kind, key=PRECEDENCE.__getitem__) == list(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_is_a_pass_or_a_failure_or_infrastructure_or_skipped(kind: Kind) -> None:
    assert kind.is_pass is (kind in PASSES)
    assert kind.is_incomplete is (kind in INCOMPLETE)
    assert [kind.is_pass, kind.is_incomplete, kind.is_failure, kind is Kind.SKIPPED].count(True) == 1


def test_a_verdict_is_written_with_its_reason() -> None:
    assert str(Verdict(kind=Kind.AGREE)) == "agree"
    assert str(Verdict(kind=Kind.LOST, reason="agent", message="agent: killed")) == "lost(agent)"
