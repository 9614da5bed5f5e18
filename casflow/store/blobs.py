"""Blobs: bytes of any kind in a store, by digest, and by name when they have one.

Owns how bytes that are no tree go in and out. Invariant: what is stored has the digest that it is
stored under, also when the file that it came from is written to meanwhile; an unnamed blob is named
by a lease at most, and goes with it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from casflow.blobs.draft import Draft
from casflow.errors import UnavailableError, os_errors
from casflow.store.leases import last_day
from casflow.store.records import Blob
from casflow.trees.contents import BIG, Contents
from casflow.trees.selected import DATA, VERSION, Selected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from casflow.blobs.content import ContentStore
    from casflow.blobs.draft import Source
    from casflow.cache import Cache
    from casflow.reference import BlobName
    from casflow.store.leases import Leases
    from casflow.trees.versions import Versions


class Blobs:
    """The blobs of one store.

    Args:
        content: The store.
        cache: This machine's cache.
        versions: The versions of names in the store.
        leases: What this machine holds there.
    """

    def __init__(
        self, content: ContentStore, cache: Cache, versions: Versions, leases: Leases
    ) -> None:
        self._content = content
        self._cache = cache
        self._versions = versions
        self._leases = leases

    def put(self, source: Source, name: str | None, keep: str | None) -> Blob:
        """Store bytes; see `casflow.Store.put`."""
        until = last_day(keep)
        with self._unchanging(source) as stable:
            draft = Draft("unnamed" if name is None else name, stable, DATA)
            blob = draft.names[""]
            if name is None:
                self._put_unnamed(draft, until)
                return Blob(blob.digest, blob.size)
            newest = self._put_named(draft, blob)
        if until is not None:
            self._leases.hold(newest.reference, until)
        return Blob(blob.digest, blob.size, name, newest.number)

    @contextmanager
    def _unchanging(self, source: Source) -> Iterator[Source]:
        """Give bytes that nobody writes to between their digest and their upload.

        Raises:
            UnavailableError: The file changed while it was read.
        """
        if isinstance(source, bytes):
            yield source
            return
        with self._cache.temporary_folder() as folder:
            copy = folder / "blob"
            with os_errors(source), source.open("rb") as file:
                before = _state(file)
                with copy.open("xb") as target:
                    shutil.copyfileobj(file, target, 1 << 20)
                if _state(file) != before:
                    hint = "put it again when nobody writes to it"
                    what = "a file changed while it was read"
                    raise UnavailableError(what, where=source, hint=hint)
            yield copy

    def _put_named(self, draft: Draft, blob: BlobName) -> Selected:
        newest = self._versions.newest(draft.flow)
        if newest is not None:
            there = newest.reference
            same = (there.digest, there.media_type) == (blob.digest, DATA)
            if same and self._content.is_whole(there):
                return newest
        number = self._versions.claim_number(draft.flow, 0 if newest is None else newest.number)
        done = self._content.commit(replace(draft, extra={VERSION: number}))
        return Selected(done.key, done.reference)

    def _put_unnamed(self, draft: Draft, until: date | None) -> None:
        stored = self._content.ensure(draft.data)
        if until is not None:
            self._leases.hold(draft.reference(datetime.now(UTC), {"": stored}), until)

    def open(self, digest: str) -> BinaryIO:
        """Return verified bytes as a file; see `casflow.Store.open`."""
        found = self._cache.find(digest, BIG)
        if found is not None:
            return BytesIO(found)
        return Contents(self._content, self._cache).open(self._content.find_blob(digest))


def _state(file: BinaryIO) -> tuple[int, int, int]:
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def source_of(data: bytes | str | os.PathLike[str]) -> Source:
    """Return bytes as they are, and a path as one."""
    return data if isinstance(data, bytes) else Path(data)
