"""Trees whose contents are at hand: what another program, such as git, has handed over.

Owns how files in memory become a tree. Invariant: each content is a pack of its own, so it is
checked and written as what comes out of a store is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from casflow.digests import digest_of
from casflow.trees.index import Index, Place
from casflow.trees.listing import Entry, Listing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class File(NamedTuple):
    """A file in memory: its content, and whether it may be executed."""

    data: bytes
    executable: bool = False


class MemoryTree:
    """A tree of files in memory.

    Args:
        files: The files, by path.

    Attributes:
        index: Its index.

    Raises:
        ConfigError: The files cannot stand together in one folder.
    """

    def __init__(self, files: Mapping[str, File]) -> None:
        entries = [
            Entry(
                path, executable=file.executable, size=len(file.data), digest=digest_of(file.data)
            )
            for path, file in files.items()
        ]
        self._contents = {entry.digest: files[entry.path].data for entry in entries if entry.size}
        sizes = {digest: len(data) for digest, data in self._contents.items()}
        places = {digest: Place(digest, 0, size) for digest, size in sizes.items()}
        self.index = Index(Listing(entries), sizes, places)

    def read(self, digests: Iterable[str]) -> Iterator[bytes]:
        """Yield contents."""
        return (self._contents[digest] for digest in digests)

    def save(self, digest: str, target: BinaryIO) -> None:
        """Write a content to a file."""
        target.write(self._contents[digest])
