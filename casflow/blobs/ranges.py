"""How a big object comes down: a few long parts side by side, each as a stream.

Owns the sizes, and the file that the parts share. Invariant: memory does not grow with the object,
and a piece is written to its own place whichever comes first.
"""

from __future__ import annotations

import math
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

from casflow.blobs.progress import moved

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_BODY = 4 * 2**20  # bytes of a body that are taken at a time
_PARTS = 3  # of a big download; a client may have a piece of each in memory three times
_MIN_PART = 64 * 2**20  # bytes of each, if there are several: every request costs the service, too


class SharedFile:
    """A file to which several threads write at once, each to a place of its own."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._turn = file, Lock()
        self.is_begun = False

    def write(self, piece: bytes, at: int) -> None:
        """Write a piece to its place, and tell of it."""
        with self._turn:
            self._file.seek(at)
            self._file.write(piece)
            self.is_begun = True
            moved(len(piece))


def split_range(start: int, end: int) -> list[tuple[int, int]]:
    """Return equal parts of a range, as many as are copied at once."""
    count = max(1, min(_PARTS, (end - start) // _MIN_PART))
    size = math.ceil((end - start) / count)
    return [(at, min(at + size, end)) for at in range(start, end, size)]


async def read_chunk(read: Callable[[int], Awaitable[bytes]]) -> bytes:
    """Return the next bytes of a body, enough to be worth a change of threads."""
    bits, missing = [], _BODY
    while missing > 0 and (bit := await read(missing)):
        bits.append(bit)
        missing -= len(bit)
    return b"".join(bits)
