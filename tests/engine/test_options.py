"""What a run was asked for comes back from the store as it was."""

from __future__ import annotations

import pytest

from harness.engine.options import Options, options_from_json, options_to_json
from harness.plan import Selection

EVERYTHING = Options(
    selection=Selection(
        paths=("fixtures/a",),
        keywords="a or b",
        marks="slow",
        cells=("*/cp312",),
        platforms=("linux-*",),
        pythons=("3.12",),
        tiers=("1", "2"),
        shard=(2, 3),
        only_jobs=frozenset({("b", "y"), ("a", "x")}),
        first_jobs=frozenset({("a", "x")}),
    ),
    require="tier-1",
    repeat=3,
    timeout=2.5,
    max_failures=4,
    arguments=("run", "--repeat", "3"),
)


@pytest.mark.parametrize(
    "options",
    [Options(), EVERYTHING, Options(selection=Selection(only_jobs=frozenset()))],
    ids=["none", "all", "empty"],
)
def test_options_survive_the_store(options: Options) -> None:
    assert options_from_json(options_to_json(options)) == options
