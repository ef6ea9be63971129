"""What tests that start agents share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig import eventually, folders_in, processes_of


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the agents of a test have their folders. When it ends, nothing of them may be left: no process, no file."""
    folder = tmp_path / "ground"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert eventually(lambda: not processes_of(folder)), processes_of(folder)
    assert eventually(lambda: not folders_in(folder)), folders_in(folder)
