"""What the pickler writes into.

Owns the pieces of a stream as they come. Invariant: a large payload is kept as it is handed over
and not copied, so that an array is in memory once until the blob is joined.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from casflow.serialize.graph import BULK_SIZE
from casflow.serialize.parse import Parser

if TYPE_CHECKING:
    from casflow.serialize.graph import Graph


class StreamBuffer:
    """What the pickler writes into: small pieces joined, large payloads kept as they are.

    The C pickler hands a payload of 64 KiB or more over by itself, right after its header; it is
    not copied here, so that an array is in memory once until the blob is joined.
    """

    def __init__(self) -> None:
        self.pieces: list[Any] = []
        self._bulk: set[int] = set()

    def write(self, piece: Any) -> int:
        """Take the next piece."""
        size = len(memoryview(piece).cast("B")) if not isinstance(piece, bytes) else len(piece)
        if size >= BULK_SIZE and self.pieces and _announces(self.pieces[-1], size):
            self._bulk.add(len(self.pieces))
        self.pieces.append(piece)
        return size

    def parse(self) -> Graph:
        """Return the graph of what was written."""
        payloads = deque(self.pieces[index] for index in sorted(self._bulk))
        return Parser(self.small(), payloads, follows=True).parse()

    def small(self) -> bytes:
        """Return the stream without its large payloads."""
        pieces = enumerate(self.pieces)
        return b"".join(piece for index, piece in pieces if index not in self._bulk)


def _announces(piece: Any, size: int) -> bool:
    tail = bytes(piece[-9:])
    long = tail[:1] in (b"\x8e", b"\x96", b"\x8d") and tail[1:] == size.to_bytes(8, "little")
    return long or (tail[-5:-4] in (b"B", b"X") and tail[-4:] == size.to_bytes(8, "little")[:4])
