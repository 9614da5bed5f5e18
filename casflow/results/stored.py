"""Results that stand in a store: which objects they are, and what becomes of old ones.

Owns the rule by which an object counts as a result: its name ends as those of default locations
do, or it stands in the folder that holds nothing else. Invariant: nothing else is ever removed,
and how old a result is, the store's clock says.
"""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple

from casflow.blobs import layout
from casflow.errors import UnavailableError
from casflow.results.location import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from casflow.blobs.base import BlobStore, ObjectInfo

_BATCH = 1000  # keys of one request


class Place(NamedTuple):
    """A store that holds results.

    Attributes:
        store: The store.
        alone: Whether everything in it is a result.
    """

    store: BlobStore
    alone: bool = False

    def results(self) -> Iterator[ObjectInfo]:
        """Yield the results, in the order of their keys.

        Raises:
            CasflowError: The listing could not be completed.
        """
        for info in self.store.list():
            if is_result(info.key) or (self.alone and not info.key.startswith(layout.OWN)):
                yield info

    def now(self) -> float:
        """Return the present by the store's clock, in seconds since the epoch."""
        probe = f"clock-{token_hex(8)}{SUFFIX}"
        self.store.put(probe, b"")
        try:
            found = self.store.find(probe)
        finally:
            self.store.delete(probe)
        if found is None:
            raise UnavailableError("what was written is not there", where=self.store.url)
        return found.modified

    def remove(self, keys: Iterable[str]) -> None:
        """Remove results."""
        rest = list(keys)
        while rest:
            self.store.delete_many(rest[:_BATCH])
            rest = rest[_BATCH:]


def is_result(key: str) -> bool:
    """Tell whether a key is that of a result by its name."""
    return key.endswith(SUFFIX) and not key.startswith(layout.OWN)
