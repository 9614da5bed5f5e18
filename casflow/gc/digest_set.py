"""A compact table of blobs, so that a million of them fit in some forty megabytes.

Owns the packed form of a blob's name: 32 bytes of digest and 4 of incarnation. Invariant: entries
lie in 256 shards by the first byte of the digest, so two tables are compared shard by shard and
only one shard is ever unpacked.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from casflow.digests import PREFIX
from casflow.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARDS = 256
_MOST = 2**32
_ENTRY = Struct(">36sQ")


class Entry(NamedTuple):
    """One blob of a table, and the number that stands with it: its bytes, or a time in us."""

    digest: str
    incarnation: int
    number: int


def packed(digest: str, incarnation: int) -> bytes:
    """Return the packed name of a blob with a well-formed digest.

    Raises:
        IntegrityError: No incarnation that casflow made has such a number.
    """
    if incarnation >= _MOST:
        raise IntegrityError("an impossible incarnation", where=f"{digest}-{incarnation}")
    return bytes.fromhex(digest[len(PREFIX) :]) + incarnation.to_bytes(4, "big")


def unpacked(name: bytes, number: int = 0) -> Entry:
    """Return what a packed name says."""
    return Entry(PREFIX + name[:32].hex(), int.from_bytes(name[32:], "big"), number)


class DigestSet:
    """Blobs with a number each; of a blob that was added twice, the last number counts."""

    def __init__(self) -> None:
        self._shards = [bytearray() for _ in range(SHARDS)]

    def add(self, name: bytes, number: int) -> None:
        """Add a blob by its packed name."""
        self._shards[name[0]] += _ENTRY.pack(name, number)

    def merge(self, other: DigestSet) -> None:
        """Add all of another table."""
        for mine, theirs in zip(self._shards, other._shards, strict=True):
            mine.extend(theirs)

    def shard(self, index: int) -> dict[bytes, int]:
        """Return the numbers of one shard by packed name."""
        return dict(_ENTRY.iter_unpack(self._shards[index]))

    def __len__(self) -> int:
        return sum(map(len, self._shards)) // _ENTRY.size

    def __iter__(self) -> Iterator[Entry]:
        for shard in self._shards:
            for name, number in _ENTRY.iter_unpack(shard):
                yield unpacked(name, number)

    def total(self) -> int:
        """Return the sum of all numbers."""
        return sum(number for shard in self._shards for _, number in _ENTRY.iter_unpack(shard))
