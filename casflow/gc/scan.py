"""One look at a store: what is condemned, what is there, and what is named.

Owns the reading side of the collector, of `verify` and of `stats`. Invariant: an object that stands
in the store for the whole of a listing is in it, or the listing raises; a reference that cannot be
read is noted as such, and never taken for absent.
"""

from __future__ import annotations

import string
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from casflow.blobs import layout
from casflow.blobs.base import ObjectInfo
from casflow.blobs.format import check_format, read_format
from casflow.errors import IntegrityError, NotFoundError, UnavailableError
from casflow.gc.digest_set import SHARDS, DigestSet, packed, unpacked
from casflow.gc.foreign import is_foreign
from casflow.gc.parallel import chunked, ordered_map
from casflow.gc.reference_cache import ReferenceCache, Root
from casflow.reference import LARGEST, Reference
from casflow.results.stored import is_result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from casflow.blobs.base import BlobStore
    from casflow.cache import Cache
    from casflow.reference import BlobName

_FIRST_CHARACTERS = sorted("-" + string.digits + string.ascii_lowercase)  # of a slug
_BATCH = 64  # references that one thread reads in a row


class Found(NamedTuple):
    """A reference that stands in a store.

    Attributes:
        key: Where.
        modified: Seconds since the epoch by the store's clock.
        reference: What it says.
    """

    key: str
    modified: float
    reference: Reference


def name_of(blob: BlobName) -> bytes:
    """Return the packed name of a blob that a reference names."""
    return packed(blob.digest, blob.incarnation)


def key_of(reference: Reference) -> str:
    """Return the key that a reference was made for, wherever this copy of it stands.

    Raises:
        IntegrityError: It does not say when it was made.
    """
    try:
        made = datetime.fromisoformat(reference.created)
    except ValueError as error:
        raise IntegrityError("a reference without a time", where=reference.flow) from error
    return layout.reference(reference.flow, made)


class Scan:
    """The readings of one store.

    Args:
        store: The store.
        threads: Requests under way at once; what the store says when left out.
        cache: Where what references say is remembered, if anywhere.
        copies: References by key, as registries know them; they stand in for those in the store
            that cannot be read.

    Attributes:
        settled: Of references that changed last before this moment it is remembered what they say.
        unreadable: Why references cannot be read, by their keys.
        unknown: Those of them of which no copy says what they name.
        foreign: Keys of other programs' objects that look like keys of references.
        results: Values of tasks that were met among the live references, and their bytes.
    """

    def __init__(
        self,
        store: BlobStore,
        threads: int | None = None,
        cache: Cache | None = None,
        copies: Mapping[str, Reference] | None = None,
    ) -> None:
        self.store = store
        self.settled = 0.0
        self.unreadable: dict[str, str] = {}
        self.unknown: set[str] = set()
        self.foreign: set[str] = set()
        self.results = (0, 0)
        self._cache = cache
        self._copies = copies or {}
        self.threads = store.parallel if threads is None else threads

    def check_format(self) -> bool:
        """Tell whether this is a store of casflow at all.

        Raises:
            IntegrityError: It is one of another format, or one that has lost its format.
        """
        try:
            found = read_format(self.store)
        except NotFoundError:
            if any(True for _ in self.store.list(layout.BLOBS)):
                hint = "run `casflow verify --repair` on it if this is a store or a copy of one"
                where = self.store.location(layout.FORMAT)
                raise IntegrityError("blobs, but no format", where=where, hint=hint) from None
            return False
        check_format(found, where=self.store.location(layout.FORMAT))
        return True

    def markers(self) -> DigestSet:
        """Return all markers, with the microsecond since the epoch at which each was set."""
        table = DigestSet()
        for info in self.store.list(layout.CONDEMNED):
            if (name := layout.parse_marker(info.key)) is not None:
                table.add(packed(*name), int(info.modified * 1e6))
        return table

    def blobs(self, notice: Callable[[ObjectInfo], None] | None = None) -> DigestSet:
        """Return all blobs with their sizes; shards are listed side by side.

        Args:
            notice: Is told of each as it is listed, in no order.
        """
        prefixes = [f"{layout.BLOBS}{digit}" for digit in "0123456789abcdef"]
        table = DigestSet()
        for part in ordered_map(partial(self._blobs_below, notice), prefixes, self.threads):
            table.merge(part)
        return table

    def _blobs_below(self, notice: Callable[[ObjectInfo], None] | None, prefix: str) -> DigestSet:
        table = DigestSet()
        for info in self.store.list(prefix):
            if (name := layout.parse_blob(info.key)) is not None:
                table.add(packed(*name), info.size)
                if notice is not None:
                    notice(info)
        return table

    def signatures(self) -> Iterator[tuple[str, str, int]]:
        """Yield the key of each signature, with digest and incarnation of the blob it speaks of."""
        for info in self.store.list(layout.SIGNATURES):
            if (name := layout.parse_signature(info.key)) is not None:
                yield info.key, *name

    # ---- references ------------------------------------------------------------------------

    def live(self) -> Iterator[Found]:
        """Yield the references at `<slug>/<timestamp>`, flow by flow and oldest first."""
        return self._read(self._live())

    def _live(self) -> Iterator[ObjectInfo]:
        self.results = (0, 0)
        for first in _FIRST_CHARACTERS:
            for info in self.store.list(first):
                if layout.is_reference(info.key):
                    yield info
                elif is_result(info.key):
                    self.results = (self.results[0] + 1, self.results[1] + info.size)

    def live_roots(self) -> Iterator[Root]:
        """Yield the same as `live`, as far as they are roots."""
        return self._roots("live", self._live())

    def trash_roots(self, until: float) -> Iterator[Root | ObjectInfo]:
        """Yield the same as `trash`, as far as they are roots.

        Args:
            until: What went to the trash before this moment is only listed, not read.
        """
        old: list[ObjectInfo] = []

        def newer() -> Iterator[ObjectInfo]:
            for info in self.store.list(layout.TRASH):
                if info.modified > until:
                    yield info
                else:
                    old.append(info)

        yield from self._roots("trash", newer())
        yield from old

    def named(self) -> Iterator[Found]:
        """Yield the references that mutable keys hold now."""
        infos = self.store.list(layout.NAMES)
        return self._read(infos, len(layout.NAMES))

    def pins(self) -> Iterator[Found]:
        """Yield the pins."""
        return self._read(self.store.list(layout.PINS))

    def lease_keys(self) -> list[str]:
        """Return the keys of all leases; the day of each is in its key."""
        return [info.key for info in self.store.list(layout.LEASES)]

    def leases(self, keys: Iterable[str]) -> Iterator[Found]:
        """Yield the leases at some keys."""
        return self._read(ObjectInfo(key, 0, 0.0) for key in keys)

    def tags(self) -> Iterator[Found]:
        """Yield the last move of each tag; earlier ones are history and keep nothing."""
        return self._read(self._last_moves())

    def _last_moves(self) -> Iterator[ObjectInfo]:
        moves = groupby(self.store.list(layout.TAGS), key=lambda info: info.key.rpartition("/")[0])
        return (max(each, key=lambda info: info.key) for _, each in moves)

    def trash(self) -> Iterator[Found]:
        """Yield the references that retention took and nobody purged yet."""
        return self._read(self.store.list(layout.TRASH))

    def references(self) -> Iterator[Found]:
        """Yield all of them, live ones first and the trash last: they move in this direction."""
        yield from self.live()
        yield from self.named()
        yield from self.tags()
        yield from self.pins()
        yield from self.leases(self.lease_keys())
        yield from self.trash()

    def _roots(self, name: str, infos: Iterator[ObjectInfo]) -> Iterator[Root]:
        """Yield what listed references name, remembered where that is certain, else read."""
        if self._cache is None:
            return (Root.of(*found) for found in self._read(infos))
        known = ReferenceCache(self._cache, f"{name} of {self.store.url}", self.settled)
        return self._remembered(known, infos)

    def _remembered(self, known: ReferenceCache, infos: Iterator[ObjectInfo]) -> Iterator[Root]:
        asked = ((info, known.find(info)) for info in infos)
        for some in ordered_map(self._rooted, chunked(asked, _BATCH), self.threads):
            for info, root in some:
                known.record(info, root)
                yield root
        if self.settled:
            known.save()

    def _rooted(self, asked: list[tuple[ObjectInfo, Root | None]]) -> list[tuple[ObjectInfo, Root]]:
        """Return what objects are roots of, in their order; those that are gone are left out."""
        unknown = [info for info, root in asked if root is None]
        read = {found.key: Root.of(*found) for found in self._read_some(0, unknown)}
        pairs = ((info, root or read.get(info.key)) for info, root in asked)
        return [(info, root) for info, root in pairs if root is not None]

    def _read(self, infos: Iterator[ObjectInfo], skipped: int = 0) -> Iterator[Found]:
        read = partial(self._read_some, skipped)
        for some in ordered_map(read, chunked(infos, _BATCH), self.threads):
            yield from some

    def _read_some(self, skipped: int, infos: list[ObjectInfo]) -> list[Found]:
        found = []
        for info in infos:
            key = info.key[skipped:]
            try:
                data = self._read_bounded(key, info.size)
            except NotFoundError as error:  # deleted since, or a name that was never used
                if self.store.find(key) is not None:
                    where = self.store.location(key)
                    raise UnavailableError("what is there was not found", where=where) from error
                continue
            if (reference := self._parse(key, data)) is not None:
                found.append(Found(key, info.modified, reference))
        return found

    def _read_bounded(self, key: str, size: int) -> bytes:
        """Return an object's bytes; of one too long for a reference, so many as show it."""
        if size > LARGEST:
            return self.store.get_range(key, 0, LARGEST + 1)
        return self.store.get(key)

    def _parse(self, key: str, data: bytes) -> Reference | None:
        """Return what an object says, or a registry's copy of it; note what cannot be read."""
        copy = self._copies.get(key.removeprefix(layout.TRASH))
        try:
            reference = Reference.from_bytes(data, where=self.store.location(key))
        except IntegrityError as error:
            if copy is None and layout.is_reference(key) and is_foreign(data):
                self.foreign.add(key)
                return None
            self.unreadable[key] = error.what
            if copy is None:
                self.unknown.add(key)
            return copy
        if copy is not None and not _same_bytes(reference, copy):
            self.unreadable[key] = "it is not what the registry knows of it"
            return copy
        return reference

    # ---- what does not fit together --------------------------------------------------------

    def missing(self, blobs: DigestSet, roots: DigestSet) -> Iterator[tuple[Found, BlobName]]:
        """Yield each reference that names a blob which is not there, or has another size.

        Args:
            blobs: The blobs, with their sizes, listed first.
            roots: What references name, with the sizes that they give.
        """
        lacking: dict[bytes, int] = {}
        for index in range(SHARDS):
            there = blobs.shard(index)
            wanted = roots.shard(index).items()
            lacking.update((name, size) for name, size in wanted if there.get(name) != size)
        # A blob may be newer than its listing.
        lost = {name for name, size in lacking.items() if not self._is_present(name, size)}
        if lost:
            yield from self._naming(lost)

    def _is_present(self, name: bytes, size: int) -> bool:
        blob = unpacked(name)
        info = self.store.find(layout.blob(blob.digest, blob.incarnation))
        return info is not None and info.size == size

    def _naming(self, lost: set[bytes]) -> Iterator[tuple[Found, BlobName]]:
        """Yield the references to some blobs, except what was deleted since it was listed."""
        for found in self.references():
            for blob in found.reference.blobs():
                name = name_of(blob)
                if name not in lost or self._is_present(name, blob.size):
                    continue
                if self.store.find(found.key) is not None:
                    yield found, blob


def _same_bytes(one: Reference, other: Reference) -> bool:
    """Tell whether two references agree, but for incarnations, which a repair may have changed."""
    sizes = ([(each.digest, each.size) for each in some.blobs()] for some in (one, other))
    return one.same_content(other) and next(sizes) == next(sizes)
