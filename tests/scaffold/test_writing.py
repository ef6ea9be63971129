"""Files of a user's project: whole or not at all, and nobody's is overwritten."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from harness.errors import LocalTrouble
from harness.scaffold.writing import create_file, replace_file


def test_a_file_and_its_folders_are_made_with_the_modes_that_the_umask_gives(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        assert create_file(tmp_path / "a" / "b.txt", b"one\n")
    finally:
        os.umask(umask)
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"one\n"
    assert stat.S_IMODE((tmp_path / "a" / "b.txt").stat().st_mode) == 0o640


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        assert not create_file(tmp_path / name, b"ours")
    assert (tmp_path / "file").read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()


def test_a_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "golden"
    path.write_bytes(b"old")
    path.chmod(0o604)
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@pytest.mark.parametrize("write", [create_file, replace_file])
def test_a_folder_in_the_way_is_named_and_no_draft_is_left(write: object, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert callable(write)
    with pytest.raises(LocalTrouble) as caught:
        write(tmp_path / "file" / "below", b"data")
    (problem,) = caught.value.problems
    assert problem.id == "H0705"
    assert problem.place is not None
    assert problem.place.path.startswith(str(tmp_path / "file"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_golden_that_is_a_folder_stays_and_no_draft_is_left(tmp_path: Path) -> None:
    (tmp_path / "golden").mkdir()
    with pytest.raises(LocalTrouble):
        replace_file(tmp_path / "golden", b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["golden"]
