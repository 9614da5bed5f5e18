"""Contents: the bytes of one store by digest, by way of this machine's cache.

Owns the road from a blob to memory or to a file. Invariant: the cache is asked before the store,
what is handed out was verified, and what is big never stands in memory whole: it goes straight to
its file, and the cache keeps it only as part of the tree that it was read for.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, cast

from casflow.blobs.concurrent import ordered_map
from casflow.digests import Verifying, digest_of
from casflow.errors import CasflowError, IntegrityError, os_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from casflow.blobs.content import ContentStore
    from casflow.cache import Cache
    from casflow.digests import Buffer
    from casflow.reference import BlobName
    from casflow.trees.index import Place

BIG = 32 * 2**20  # bytes from which a blob is not read into memory
_WHOLE = 2**20  # bytes up to which a pack comes whole, for its other contents' sake
_AT_ONCE = 4  # downloads; each may have 16 MiB in memory, and two more may wait
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_READ |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Contents:
    """Blobs of a store, and contents in its packs.

    Args:
        content: The store.
        cache: This machine's cache.

    Attributes:
        downloaded: Bytes that were downloaded for this object.
    """

    def __init__(self, content: ContentStore, cache: Cache) -> None:
        self._content = content
        self._cache = cache
        self.downloaded = 0

    def get(self, blob: BlobName) -> Buffer:
        """Return the bytes of a blob.

        Raises:
            IntegrityError: They are missing or damaged.
        """

        def download(target: BinaryIO) -> str:
            return self._content.copy_to(blob, target)

        fetched = self._cache.fetch(blob.digest, blob.size, download)
        self.downloaded += fetched.downloaded
        return fetched.data

    def get_each(self, blobs: Iterable[BlobName]) -> Iterator[Buffer]:
        """Yield the bytes of blobs in their order, some of them coming down at the same time."""
        return ordered_map(self.get, blobs, min(self._content.store.parallel, _AT_ONCE))

    def get_part(self, pack: BlobName, place: Place, digest: str) -> bytes:
        """Return one content of a pack; of a big pack that is not here, no more is asked for.

        Raises:
            IntegrityError: It is missing or damaged.
        """
        if pack.size <= _WHOLE:
            data = memoryview(self.get(pack))[place.offset : place.offset + place.length]
            if digest_of(data) != digest:
                raise IntegrityError("a content is not in its place", where=digest)
            return bytes(data)
        here = read_part(self._cache.path(pack.digest), place.offset, place.length)
        if here is not None and digest_of(here) == digest:
            return here

        def download(target: BinaryIO) -> str:
            data, where = self._content.get_range(pack, place.offset, place.length)
            target.write(data)
            return where

        fetched = self._cache.fetch(digest, place.length, download)
        self.downloaded += fetched.downloaded
        return bytes(fetched.data)

    def save(self, blob: BlobName, target: BinaryIO, *, known: Path | None = None) -> None:
        """Write a blob to an empty file that can be read, too; it is good when this returns.

        Args:
            blob: The blob.
            target: The file.
            known: A file that may hold the same bytes.

        Raises:
            IntegrityError: They are missing or damaged.
        """
        for path in (known, self._cache.path(blob.digest)):
            if path is not None and _copied(path, blob, target):
                return
        verifying = Verifying(target)
        where = self._content.copy_to(blob, cast("BinaryIO", verifying))
        verifying.check(blob.digest, where=where)
        self.downloaded += verifying.size

    def open(self, blob: BlobName) -> BinaryIO:
        """Return a blob as a file: in memory, or a file that goes away when it is closed.

        Raises:
            IntegrityError: They are missing or damaged.
        """
        if blob.size < BIG:
            return BytesIO(self.get(blob))
        folder = self._cache.work_folder("tmp")
        with os_errors(folder or tempfile.gettempdir()):
            file = cast("BinaryIO", tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 - the caller closes it
        try:
            self.save(blob, file)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file


def read_part(path: Path, offset: int, length: int) -> bytes | None:
    """Return some bytes of a file of this machine, not verified; None where there is none."""
    with suppress(OSError):
        descriptor = os.open(path, _READ)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            file.seek(offset)
            return file.read(length)
    return None


def _copied(path: Path, blob: BlobName, target: BinaryIO) -> bool:
    """Copy a file of this machine; return False, with the target empty again, if it is another."""
    verifying = Verifying(target)
    with suppress(OSError, CasflowError):
        descriptor = os.open(path, _READ)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            if os.fstat(descriptor).st_size == blob.size:
                while piece := file.read(1 << 20):
                    verifying.write(piece)
                verifying.check(blob.digest, where=path)
                return True
    target.seek(0)
    target.truncate()
    return False
