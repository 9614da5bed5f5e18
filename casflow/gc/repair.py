"""Bringing back what a store has lost, from wherever its bytes still are.

Owns the two repairs. Invariant: only bytes whose digest was verified are written; a reference is
written anew under the writer's protocol, so that no collector can take what it then names.
"""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING

from casflow.blobs import layout
from casflow.blobs.content import ContentStore
from casflow.digests import digest_of
from casflow.errors import ConflictError, IntegrityError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from casflow.blobs.base import BlobStore
    from casflow.digests import Buffer
    from casflow.gc.digest_set import Entry
    from casflow.gc.scan import Found
    from casflow.reference import BlobName


class Repairer:
    """Repairs one store.

    Args:
        store: The store.
        caches: Functions that return bytes by digest, or None.
    """

    def __init__(
        self, store: BlobStore, caches: Iterable[Callable[[str], Buffer | None]] = ()
    ) -> None:
        self._store = store
        self._caches = list(caches)
        self._content = ContentStore(store)

    def restore(self, found: Found) -> bool:
        """Bring back what a reference names; tell whether its bytes were anywhere.

        The reference is written over with one that names the new incarnations.
        """
        try:
            self._content.copy(found.reference, found.key, supply=self._supply, replace=True)
        except IntegrityError:
            return False
        return True

    def rewrite(self, blob: Entry) -> bool:
        """Write right bytes over a damaged blob; tell whether they were anywhere.

        When they were not, the blob is condemned, so that the next registration of those bytes
        does not take it for stored.
        """
        data = self._find(blob.digest)
        if data is None:
            with suppress(ConflictError):
                self._store.create(layout.marker(blob.digest, blob.incarnation), b"")
            return False
        self._store.put(layout.blob(blob.digest, blob.incarnation), data)
        return True

    def _supply(self, blob: BlobName) -> bytes:
        data = self._find(blob.digest)
        if data is None:
            raise IntegrityError("the bytes are nowhere", where=blob.digest)
        return data

    def _find(self, digest: str) -> bytes | None:
        return next((data for data in self._copies(digest) if digest_of(data) == digest), None)

    def _copies(self, digest: str) -> Iterator[bytes]:
        """Yield whatever claims to have a digest."""
        for cache in self._caches:
            if (data := cache(digest)) is not None:
                yield bytes(data)
        for info in self._store.list(layout.blob_prefix(digest)):
            memory = BytesIO()
            with suppress(NotFoundError):
                self._store.copy_to(info.key, memory)
                yield memory.getvalue()
