"""References under their keys, and what each says of a version.

Owns how many references are read side by side, and the keys that a version adds to its reference.
Invariant: what a store says is not trusted: a number or a count that cannot be one is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from casflow.blobs import layout
from casflow.blobs.concurrent import run_concurrently
from casflow.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from casflow.blobs.content import ContentStore
    from casflow.reference import Reference

DATA = "application/octet-stream"
VERSION = "version"  # key of the number in a reference
FILES, BYTES = "files", "bytes"  # the same, of how much a tree holds; for people, never relied on
MAX_VERSION = 10**9


@dataclass(frozen=True, slots=True)
class Selected:
    """A reference that a ref led to, and the key where it stands."""

    key: str
    reference: Reference

    @property
    def number(self) -> int:
        """Number of the version; 0 for a reference that has none."""
        return number_of(self.reference)


def number_of(reference: Reference) -> int:
    """Return the number of a version; 0 for a reference that has none."""
    number = reference.extra.get(VERSION)
    return number if type(number) is int and 0 < number < MAX_VERSION else 0


def count_of(reference: Reference, what: str) -> int | None:
    """Return how many files or bytes the tree of a reference holds; None where it does not say."""
    count = reference.extra.get(what)
    return count if type(count) is int and count >= 0 else None


def counter_of(key: str) -> int:
    """Return the number of the move of a tag that stands at a key; 0 for another key."""
    parsed = layout.parse_tag_move(key)
    return 0 if parsed is None else parsed[1]


def read_selected(content: ContentStore, keys: Sequence[str]) -> Iterator[Selected]:
    """Yield the references at some keys, in their order, without those that are gone.

    Raises:
        IntegrityError: One cannot be read.
    """
    for some in chunks(keys, max(content.store.parallel, 4)):
        calls = [partial(_find, content, key) for key in some]
        yield from (each for each in run_concurrently(*calls) if each is not None)


def _find(content: ContentStore, key: str) -> Selected | None:
    try:
        return Selected(key, content.get_reference(key))
    except NotFoundError:  # retention took it meanwhile
        return None


def chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield some items, at most so many at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
