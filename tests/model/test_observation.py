"""Observations are facts with an identity."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.model.observation import Ending, Stream
from tests.reports.samples import an_observation

NOTHING = Stream(size=0, digest="0" * 64)
SEEN = an_observation("f", "c", NOTHING, NOTHING)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"fixture": "g"}, False),
        ({"cell": "d"}, False),
        ({"fixture_digest": "0" * 64}, False),
        ({"fingerprint": "0" * 64}, False),
        ({"attempt": -101}, False),
        ({"ending": Ending.TIMEOUT, "code": 9, "leaked": 1, "duration_ns": 5}, True),
    ],
)
def test_an_execution_is_identified_by_what_ran_where_and_when_not_by_what_it_did(
    change: dict[str, object], same: bool
) -> None:
    assert (replace(SEEN, **change).key == SEEN.key) is same  # type: ignore[arg-type]  # fields by name


def test_every_ending_is_written_as_a_word() -> None:
    assert all(ending.value == ending.name.lower().replace("_", "-") for ending in Ending)
