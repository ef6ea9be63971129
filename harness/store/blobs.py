"""Blobs: bytes under their own sha256, in files that are there whole or not at all.

What is read is what was written, or a miss: every read is verified, and what does not fit its name is set
aside in ``quarantine/``. No link is followed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from pathlib import Path

from harness.store.disk import private_folder, write_whole

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class Blobs:
    """The blobs of one store, ``<folder>/blobs/ab/cdef...``. All methods raise OSError when the disk fails.

    The writer passes ``writable``; a reader changes nothing, and leaves bad blobs where they are.
    """

    def __init__(self, folder: Path, *, writable: bool) -> None:
        self._writable = writable
        self._root = folder / "blobs"
        self._quarantine = folder / "quarantine"
        self._incoming = folder / "incoming"
        if writable:
            for each in (self._root, self._quarantine, self._incoming):
                private_folder(each)
            for leftover in self._incoming.iterdir():  # of a writer that was killed; there is one writer, and it is us
                leftover.unlink()

    def put(self, data: bytes) -> str:
        """Store bytes durably and return their digest. What is there already, and sound, is not written again."""
        if not self._writable:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self._root))
        digest = hashlib.sha256(data).hexdigest()
        if self.get(digest) is None:
            path = self._path(digest)
            private_folder(path.parent)
            write_whole(path, (data,), scratch=self._incoming)
        return digest

    def get(self, digest: str) -> bytes | None:
        """The bytes of a digest, verified; None when they are not there, not sound, or no digest is given."""
        if not _DIGEST.match(digest):
            return None
        path = self._path(digest)
        for part in (self._root, path.parent, path):
            if part.is_symlink():
                self._set_aside(part)
                return None
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(data).hexdigest() != digest:
            self._set_aside(path)
            return None
        return data

    def has(self, digest: str) -> bool:
        """Whether ``get`` would answer; verified just the same."""
        return self.get(digest) is not None

    def _path(self, digest: str) -> Path:
        return self._root / digest[:2] / digest[2:]

    def _set_aside(self, bad: Path) -> None:
        if self._writable:
            bad.replace(self._quarantine / "-".join(bad.relative_to(self._root.parent).parts))
