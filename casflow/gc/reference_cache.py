"""What references said when they were last read, kept in this machine's cache.

Owns the pages in which it is kept, one chain of them for each listing of a store. Invariant: what
is told of a reference was read from an object of the same key, size, time and version, which had
been unchanged for a while when its listing began; so it is what another reading would give. A page
that is damaged or gone is as good as none: what is not remembered is read.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from casflow.digests import digest_of
from casflow.errors import CasflowError
from casflow.gc.digest_set import packed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casflow.blobs.base import ObjectInfo
    from casflow.cache import Cache
    from casflow.reference import Reference

SETTLED = 10.0  # seconds by the store's clock; some stores tell whole ones only
_PAGE = 500  # references
_ERRORS = (CasflowError, OSError, sqlite3.Error)  # of the cache: then references are read


class Root(NamedTuple):
    """A reference as far as the collector has to know it.

    Attributes:
        key: Where it stands.
        modified: Seconds since the epoch by the store's clock.
        flow: Name of the flow.
        project: Its project; empty in references of older versions.
        labels: Labels of the registration.
        blobs: Packed names and sizes of all blobs that it names, the flow's own first.
    """

    key: str
    modified: float
    flow: str
    project: str
    labels: tuple[str, ...]
    blobs: tuple[tuple[bytes, int], ...]

    @classmethod
    def of(cls, key: str, modified: float, reference: Reference) -> Root:
        """Return what a reference at a key comes to."""
        blobs = reference.blobs()
        names = tuple((packed(each.digest, each.incarnation), each.size) for each in blobs)
        return cls(key, modified, reference.flow, reference.project, reference.labels, names)


class ReferenceCache:
    """What the references of one listing said; read and written in the order of their keys.

    Args:
        cache: Where it is kept.
        name: Which listing of which store it is.
        settled: Only what changed last before this moment of the store's clock is kept.
    """

    def __init__(self, cache: Cache, name: str, settled: float) -> None:
        self._cache = cache
        self._alias = f"references in format 2: {name}"
        self._settled = settled
        self._entries = self._cached_rows()
        self._next = next(self._entries, None)
        self._page: list[list[Any]] = []
        self._pages: list[str] = []

    def find(self, info: ObjectInfo) -> Root | None:
        """Return what is known of an object that was listed, or None."""
        while self._next is not None and self._next[0] < info.key:
            self._next = next(self._entries, None)
        if self._next is None or self._next[:4] != list(info):
            return None
        flow, project, labels, *blobs = self._next[4:]
        names = tuple((bytes.fromhex(name), size) for name, size in blobs)
        return Root(info.key, info.modified, flow, project, tuple(labels), names)

    def record(self, info: ObjectInfo, root: Root) -> None:
        """Say what was found at an object, whether it was known or read."""
        if info.modified < self._settled and info.version:
            blobs = ((name.hex(), size) for name, size in root.blobs)
            self._page.append([*info, root.flow, root.project, root.labels, *blobs])
            if len(self._page) == _PAGE:
                self._end_page()

    def save(self) -> None:
        """Write the recorded pages in place of the former ones."""
        if self._page:
            self._end_page()
        with suppress(*_ERRORS):
            if self._pages:
                self._cache.set_alias(self._alias, self._put(self._pages))

    def _end_page(self) -> None:
        with suppress(*_ERRORS):
            self._pages.append(self._put(self._page))
        self._page = []

    def _put(self, form: list[Any]) -> str:
        data = json.dumps(form).encode()
        digest = digest_of(data)
        self._cache.put(digest, data)
        return digest

    def _get(self, digest: str) -> Any:
        data = self._cache.find(digest)
        return [] if data is None else json.loads(bytes(data))

    def _cached_rows(self) -> Iterator[list[Any]]:
        with suppress(*_ERRORS):
            first = self._cache.find_alias(self._alias)
            for digest in self._get(first) if first else ():
                yield from self._get(digest)
