"""What tests share: places for agents, and for other users."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig import eventually, folders_in, processes_of
from tests.wine import Wine, missing


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that any user may enter and work in; pytest makes its own for its user alone."""
    for folder in tmp_path.parents:
        if folder.name.startswith(("pytest-of-", "pytest-", "popen-")):
            folder.chmod(0o755)
    tmp_path.chmod(0o777)
    return tmp_path


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the agents of a test have their folders. When it ends, nothing of them may be left: no process, no file."""
    folder = tmp_path / "ground"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert eventually(lambda: not processes_of(folder)), processes_of(folder)
    assert eventually(lambda: not folders_in(folder)), folders_in(folder)


@pytest.fixture(scope="session")
def wine_container() -> Iterator[Wine]:
    if reason := missing():
        pytest.skip(reason)
    container = Wine.start()
    yield container
    container.stop()


@pytest.fixture
def wine(wine_container: Wine) -> Iterator[Wine]:
    """A Windows to run agents on. When a test ends, nothing of them may be left there: no process, no file."""
    yield wine_container
    assert eventually(lambda: not wine_container.processes()), wine_container.processes()
    assert eventually(lambda: not wine_container.folders()), wine_container.folders()
