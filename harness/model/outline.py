"""Outlines: what is kept of an output too large to be held: its head and tail, a digest of each chunk, a window.

Two outlines, or an outline and whole bytes, tell in which chunk they first differ. The agent writes the encoded form;
what is read from a cell is held to its own digests.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import sha256

CHUNK = 64 * 1024
_HEADER = struct.Struct("!QQ")
_DIGEST = 32

Window = tuple[int, int]
"""Where a window starts, at a multiple of CHUNK, and how many bytes it has, a multiple of CHUNK."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """Parts of an output of ``size`` bytes.

    ``head`` and ``tail`` are its first and last 64 KiB. ``chunks`` are the sha256 of every 64 KiB, one after another;
    the last chunk may be shorter. ``window`` are whole chunks from ``window_start`` on, or nothing, from 0 on.
    """

    size: int
    head: bytes
    tail: bytes
    chunks: bytes
    window_start: int = 0
    window: bytes = b""

    @classmethod
    def of(cls, data: bytes, window: Window | None = None) -> Outline:
        """The outline of whole bytes."""
        start, end = clipped(len(data), window)
        return cls(
            size=len(data),
            head=data[:CHUNK],
            tail=data[-CHUNK:],
            chunks=b"".join(chunk_digest(data, index) for index in range(_count(len(data)))),
            window_start=start,
            window=data[start:end],
        )

    @classmethod
    def decode(cls, data: bytes) -> Outline:
        """Read the encoded form, all of it; raise ValueError for anything that does not hold together."""
        if len(data) < _HEADER.size:
            raise ValueError("the outline has no header")
        size, start = _HEADER.unpack_from(data)
        kept, digests = min(size, CHUNK), _DIGEST * _count(size)
        tail = _HEADER.size + kept
        chunks = tail + kept
        window = chunks + digests
        if len(data) < window:
            raise ValueError("the outline is cut off")
        outline = cls(
            size=size,
            head=data[_HEADER.size : tail],
            tail=data[tail:chunks],
            chunks=data[chunks:window],
            window_start=start,
            window=data[window:],
        )
        outline._verify()
        return outline

    def encode(self) -> bytes:
        """The bytes that ``decode`` reads; equal outlines give equal bytes."""
        return b"".join((_HEADER.pack(self.size, self.window_start), self.head, self.tail, self.chunks, self.window))

    def first_difference(self, other: Outline | bytes) -> int | None:
        """The index of the first chunk that differs, or that only one of the two has; None when none does."""
        theirs = _count(len(other) if isinstance(other, bytes) else other.size)
        ours = _count(self.size)
        for index in range(min(ours, theirs)):
            if self._chunk(index) != (chunk_digest(other, index) if isinstance(other, bytes) else other._chunk(index)):
                return index
        return None if ours == theirs else min(ours, theirs)

    def around(self, index: int) -> tuple[int, bytes] | None:
        """The longest known bytes that have all of a chunk, and where they start; None when they were not kept.

        A chunk after the last one has no bytes: known is then what ends where the output does.
        """
        first, last = index * CHUNK, min((index + 1) * CHUNK, self.size)
        known = [
            (start, data)
            for start, data in ((self.window_start, self.window), (0, self.head), self._placed_tail)
            if start <= first and last <= start + len(data)
        ]
        return max(known, key=lambda piece: len(piece[1]), default=None)

    @property
    def _placed_tail(self) -> tuple[int, bytes]:
        return self.size - len(self.tail), self.tail

    def _chunk(self, index: int) -> bytes:
        return self.chunks[index * _DIGEST : (index + 1) * _DIGEST]

    def _verify(self) -> None:
        start, end = self.window_start, self.window_start + len(self.window)
        is_aligned = start % CHUNK == 0 and (end % CHUNK == 0 or end == self.size)
        if not is_aligned or end > self.size or (start and not self.window):
            raise ValueError("the outline's window is out of place")
        last = (_count(self.size) - 1) * CHUNK
        if self.size and self._chunk(_count(self.size) - 1) != sha256(self.tail[last - self.size :]).digest():
            raise ValueError("the outline's tail is not that of its last chunk")
        for at, data in ((0, self.head), (start, self.window)):
            for index in range(_count(len(data))):
                if chunk_digest(data, index) != self._chunk(at // CHUNK + index):
                    raise ValueError("the outline has bytes that are not those of their chunk")
            after, tail = self._placed_tail
            shared = max(at, after)
            if data[shared - at :] != tail[shared - after :][: len(data[shared - at :])]:
                raise ValueError("the outline's tail is not that of its other bytes")


def clipped(size: int, window: Window | None) -> tuple[int, int]:
    """From where to where an output of that size has bytes of a window; from 0 to 0 when it has none."""
    start, length = window or (0, 0)
    return (start, min(start + length, size)) if start < size else (0, 0)


def encoded_length(size: int, window: Window | None) -> int:
    """How long the encoded outline of an output of that size is."""
    start, end = clipped(size, window)
    return _HEADER.size + 2 * min(size, CHUNK) + _DIGEST * _count(size) + end - start


def chunk_digest(data: bytes, index: int) -> bytes:
    """The sha256 of one chunk of whole bytes."""
    return sha256(data[index * CHUNK : (index + 1) * CHUNK]).digest()


def _count(size: int) -> int:
    return -(-size // CHUNK)
