"""Settings that hold for every test: a closed environment, and property tests that judge no durations.

``pytester`` is enabled here because pytest accepts plugins only from the root.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

pytest_plugins = ("pytester",)

# A shared machine has slow moments; under CI the same examples every time, so that a red run can be repeated.
settings.register_profile("harness", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("harness")

KEPT = frozenset({"HARNESS_LAB"})


@pytest.fixture(scope="session", autouse=True)
def closed_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        for name in os.environ:
            if name.startswith("HARNESS_") and name not in KEPT:
                patch.delenv(name)
        for name in ("CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "FORCE_COLOR", "NO_COLOR"):
            patch.delenv(name, raising=False)
        yield
