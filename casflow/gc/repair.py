"""Bringing back what a store has lost, from wherever its bytes still are.

Owns the repairs. Invariant: only bytes whose digest was verified are written; a blob is written
again under its own name only if no collector can have decided to delete that name while the
reference was not there; and what another writer may have written since is never written over.
"""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING

from casflow.blobs import layout
from casflow.blobs.content import DEADLINE, ContentStore
from casflow.digests import digest_of
from casflow.errors import IntegrityError, NotFoundError
from casflow.gc.roots import discard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from casflow.blobs.base import BlobStore
    from casflow.blobs.content import Commit
    from casflow.digests import Buffer
    from casflow.gc.digest_set import Entry
    from casflow.gc.scan import Found
    from casflow.reference import BlobName, Reference


class Repairer:
    """Repairs one store.

    Args:
        store: The store.
        sources: Functions that return bytes by digest, or None: caches and other stores.
    """

    def __init__(
        self, store: BlobStore, sources: Iterable[Callable[[str], Buffer | None]] = ()
    ) -> None:
        self._store = store
        self._sources = list(sources)
        self._content = ContentStore(store)

    def restore(self, found: Found, blob: BlobName) -> bool:
        """Write a blob again that a reference names and that is missing; tell whether it is there.

        A name that was condemned may be written again only for a reference that stood before a
        collector could delete it: then every collector has seen the reference.
        """
        data = self._find(blob.digest)
        if data is None or len(data) != blob.size:
            return False
        marker = self._store.find(layout.marker(blob.digest, blob.incarnation))
        if marker is not None and found.modified > marker.modified + DEADLINE:
            return False
        self._store.put(layout.blob(blob.digest, blob.incarnation), data)
        return True

    def rewrite(self, blob: Entry) -> bool:
        """Write right bytes over a damaged blob; tell whether they were anywhere."""
        data = self._find(blob.digest)
        if data is None:
            return False
        self._store.put(layout.blob(blob.digest, blob.incarnation), data)
        return True

    def rewrite_reference(self, key: str, copy: Reference) -> bool:
        """Write a registry's copy over a reference that cannot be read.

        Only keys that are written once may be written over: at a mutable name a registration
        may have put a newer reference since it was read.
        """
        if not layout.is_reference(key) and layout.lease_day(key) is None:
            return False
        try:
            self._content.copy(copy, key, supply=self._supply, replace=True)
        except IntegrityError:
            return False
        return True

    def renew(self, reference: Reference) -> Commit | None:
        """Create a new reference to what a registry's copy names, or None when it is nowhere."""
        try:
            return self._content.renew(reference, supply=self._supply)
        except IntegrityError:
            return None

    def give_up(self, key: str) -> bool:
        """Move a live reference whose bytes are nowhere to the trash; tell whether it was one."""
        if not layout.is_reference(key):
            return False
        discard(self._content, key)
        return True

    def _supply(self, blob: BlobName) -> bytes:
        data = self._find(blob.digest)
        if data is None:
            raise IntegrityError("the bytes are nowhere", where=blob.digest)
        return data

    def _find(self, digest: str) -> bytes | None:
        return next((data for data in self._candidates(digest) if digest_of(data) == digest), None)

    def _candidates(self, digest: str) -> Iterator[bytes]:
        """Yield whatever claims to have a digest."""
        for source in self._sources:
            if (data := source(digest)) is not None:
                yield bytes(data)
        for info in self._store.list(layout.blob_prefix(digest)):
            memory = BytesIO()
            with suppress(NotFoundError):
                self._store.copy_to(info.key, memory)
                yield memory.getvalue()
