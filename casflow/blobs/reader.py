"""What can be read in a content store: references, and blobs under any of their incarnations.

Owns the way from a flow to its references, and from a blob's name to its bytes. Invariant: it
writes nothing; a blob is looked for under all incarnations of its digest before it counts as lost,
since each has the same bytes.
"""

from __future__ import annotations

from functools import partial
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from casflow.blobs import layout
from casflow.blobs.concurrent import run_concurrently
from casflow.blobs.draft import Commit
from casflow.digests import digest_of, verify
from casflow.errors import IntegrityError, NotFoundError
from casflow.reference import LARGEST, BlobName, Reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from casflow.blobs.base import BlobStore, ObjectInfo
    from casflow.digests import Buffer

PAGE = 1000  # objects that services list in one answer


class _Memory(BytesIO):
    """Memory for so many bytes and no more.

    Args:
        limit: How many.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def write(self, piece: Buffer, /) -> int:  # type: ignore[override]  # what is written here
        """Write the next piece.

        Raises:
            IntegrityError: There are more bytes than were registered.
        """
        if self.tell() + memoryview(piece).nbytes > self._limit:
            raise IntegrityError(f"there is more than the {self._limit} bytes that were registered")
        return super().write(piece)


class ContentReader:
    """The references in one blob store, and the blobs that they name.

    Args:
        store: Where the objects are.
    """

    def __init__(self, store: BlobStore) -> None:
        self.store = store

    def get_reference(self, key: str) -> Reference:
        """Return the reference at a key.

        Raises:
            NotFoundError: There is none.
            IntegrityError: It cannot be read.
        """
        data = self.store.get_range(key, 0, LARGEST + 1)  # of a longer one, so much that it shows
        return Reference.from_bytes(data, where=self.store.location(key))

    def reference_keys(self, flow: str) -> list[str]:
        """Return the keys in a flow's folder, oldest first by the store's clock.

        Flows of one slug share a folder.
        """
        infos = self.store.list(layout.folder(flow))
        known = [info for info in infos if layout.is_reference(info.key)]
        return [info.key for info in sorted(known, key=lambda info: (info.modified, info.key))]

    def find_latest(self, flow: str, project: str | None = None) -> Commit | None:
        """Return a flow's newest reference that can be read, or None when it has none.

        Args:
            flow: Name of the flow.
            project: Only references of this project.
        """
        for key in reversed(self.reference_keys(flow)):
            try:
                reference = self.get_reference(key)
            except (NotFoundError, IntegrityError):  # taken since, damaged, or foreign
                continue
            if reference.flow == flow and project in (None, reference.project):
                return Commit(key, reference)
        return None

    def has(self, blob: BlobName) -> bool:
        """Tell whether a blob stands in the store with the right size, in any incarnation."""
        if self._is_readable(blob):
            return True
        infos = self.store.list(layout.blob_prefix(blob.digest))
        return any(info.size == blob.size for info in infos)

    def find_blob(self, digest: str) -> BlobName:
        """Return the name of an incarnation of a blob.

        Raises:
            NotFoundError: There is none.
        """
        for info in self.store.list(layout.blob_prefix(digest)):
            if (named := layout.parse_blob(info.key)) is not None:
                return BlobName(*named, info.size)
        raise NotFoundError("no such blob", where=f"{digest} in {self.store.url}")

    def list_small(self) -> dict[str, ObjectInfo] | None:
        """Return all objects by key, by one request; None when one answer does not hold them."""
        infos = list(islice(self.store.list(), PAGE))
        return {info.key: info for info in infos} if len(infos) < PAGE else None

    def is_whole(
        self, reference: Reference, objects: Mapping[str, ObjectInfo] | None = None
    ) -> bool:
        """Tell whether all blobs of a reference stand in the right size, and none is condemned.

        Args:
            reference: The reference.
            objects: All objects of the store by key, as just listed; asked for when left out.
        """
        names = {(each.digest, each.incarnation): each.size for each in reference.blobs()}
        sizes = {layout.blob(*name): size for name, size in names.items()}
        markers = [layout.marker(*name) for name in names]
        if objects is None:
            looks = [partial(self.store.find, key) for key in (*sizes, *markers)]
            found = run_concurrently(*looks)
            objects = {info.key: info for info in found if info is not None}
        standing = all(key in objects and objects[key].size == sizes[key] for key in sizes)
        return standing and not any(marker in objects for marker in markers)

    def _head_pair(
        self, digest: str, incarnation: int
    ) -> tuple[ObjectInfo | None, ObjectInfo | None]:
        marker, present = run_concurrently(
            lambda: self.store.find(layout.marker(digest, incarnation)),
            lambda: self.store.find(layout.blob(digest, incarnation)),
        )
        return marker, present

    def _is_readable(self, blob: BlobName) -> bool:
        present = self.store.find(layout.blob(blob.digest, blob.incarnation))
        return present is not None and present.size == blob.size

    def copy_to(self, blob: BlobName, target: BinaryIO) -> str:
        """Write a blob's bytes, not verified yet, to a file; return where they came from.

        Raises:
            IntegrityError: No incarnation of the blob is left.
        """
        key = layout.blob(blob.digest, blob.incarnation)
        try:
            self.store.copy_to(key, target, blob.size)
        except NotFoundError:  # before the first byte, by the store's contract
            key = self._other(blob)
            self.store.copy_to(key, target)
        return self.store.location(key)

    def _read(self, blob: BlobName) -> bytes:
        """Return a blob's verified bytes, from whichever incarnation has them."""
        memory = _Memory(blob.size)
        try:
            where = self.copy_to(blob, memory)
            verify(memory.getbuffer(), blob.digest, where=where)
        except IntegrityError:
            for key in self.other_incarnations(blob):
                data = self.store.get_range(key, 0, blob.size + 1)
                if digest_of(data) == blob.digest:
                    return data
            raise
        return memory.getvalue()

    def get_range(self, blob: BlobName, start: int, size: int) -> tuple[bytes, str]:
        """Return some of a blob's bytes, not verified, and where they came from.

        Raises:
            IntegrityError: No incarnation of the blob is left.
        """
        key = layout.blob(blob.digest, blob.incarnation)
        try:
            data = self.store.get_range(key, start, size)
        except NotFoundError:
            key = self._other(blob)
            data = self.store.get_range(key, start, size)
        return data, self.store.location(key)

    def _other(self, blob: BlobName) -> str:
        """Return the key of another incarnation of a blob."""
        for key in self.other_incarnations(blob):
            return key
        where = self.store.location(layout.blob(blob.digest, blob.incarnation))
        hint = "run `casflow verify` on the store"
        raise IntegrityError(
            "a blob is missing", where=where, expected=blob.digest, actual="nothing", hint=hint
        )

    def other_incarnations(self, blob: BlobName) -> Iterator[str]:
        """Yield the keys of a digest's blobs but the named one; each has the same bytes."""
        named = layout.blob(blob.digest, blob.incarnation)
        for info in self.store.list(layout.blob_prefix(blob.digest)):
            if info.key != named:
                yield info.key
