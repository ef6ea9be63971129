"""Three seeded kills of the campaign; ``python -m tests.campaigns.kill`` has forty."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("deaths by signal and limits on file sizes are POSIX's", allow_module_level=True)

from tests.campaigns.kill import Campaign  # it names signals that Windows does not have


def test_a_run_that_was_killed_and_resumed_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, fixtures=24, seed=7)
    strikes = [campaign.strike(number, kind) for number, kind in enumerate(("page", "after", "blob"))]
    assert [strike.violations for strike in strikes] == [[], [], []]
    assert strikes[0].is_inside
