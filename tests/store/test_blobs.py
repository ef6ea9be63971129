"""A blob is what its digest says, or it is not there."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store.blobs import Blobs

DATA = bytes(range(256))
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path, writable=True)


def where(folder: Path) -> Path:
    return folder / "blobs" / DIGEST[:2] / DIGEST[2:]


def test_bytes_come_back_under_their_digest(blobs: Blobs, tmp_path: Path) -> None:
    assert blobs.get(DIGEST) is None
    assert not blobs.has(DIGEST)
    assert blobs.put(DATA) == blobs.put(DATA) == DIGEST
    assert blobs.get(DIGEST) == DATA
    assert blobs.has(DIGEST)
    assert where(tmp_path).read_bytes() == DATA
    if os.name == "posix":
        assert stat.S_IMODE(where(tmp_path).stat().st_mode) == 0o600


def flip(path: Path) -> None:
    path.write_bytes(DATA[:-1] + b"\x00")


def shorten(path: Path) -> None:
    path.write_bytes(DATA[:-1])


def link(path: Path) -> None:
    path.rename(path.parents[2] / "elsewhere")
    path.symlink_to(path.parents[2] / "elsewhere")


def link_folder(path: Path) -> None:
    path.parent.rename(path.parents[2] / "elsewhere")
    path.parent.symlink_to(path.parents[2] / "elsewhere")


@pytest.mark.parametrize("spoil", [flip, shorten, link, link_folder])
def test_what_does_not_fit_its_name_is_set_aside_and_a_miss_until_it_is_put_again(
    blobs: Blobs, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    blobs.put(DATA)
    spoil(where(tmp_path))
    reader = Blobs(tmp_path, writable=False)
    assert reader.get(DIGEST) is None
    assert list((tmp_path / "quarantine").iterdir()) == []  # a reader changes nothing
    assert blobs.get(DIGEST) is None
    assert len(list((tmp_path / "quarantine").iterdir())) == 1
    assert blobs.put(DATA) == DIGEST
    assert reader.get(DIGEST) == DATA


@pytest.mark.parametrize("bad", ["", "../../etc/passwd", DIGEST.upper(), DIGEST[:-1], DIGEST + "\n", DIGEST + "0"])
def test_what_is_no_digest_is_a_miss_and_no_path(blobs: Blobs, bad: str) -> None:
    assert blobs.get(bad) is None


def test_what_a_killed_writer_left_is_swept_by_the_next(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "incoming" / ".harness-abc.tmp").write_bytes(b"half")
    Blobs(tmp_path, writable=True)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_blob_that_cannot_be_written_leaves_nothing_behind(blobs: Blobs, tmp_path: Path) -> None:
    where(tmp_path).mkdir(parents=True)  # a folder where the file should be: it can neither be read nor replaced
    with pytest.raises(OSError, match="directory"):
        blobs.put(DATA)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_reader_cannot_put(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Read-only"):
        Blobs(tmp_path, writable=False).put(DATA)
