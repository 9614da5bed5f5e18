"""Fetching: a tree's listing and contents out of a store, by way of the cache.

Owns the road back. Invariant: what a tree's reference does not name is not read; requests that need
not wait for one another do not, and a bounded number of packs is in memory at a time.
"""

from __future__ import annotations

import json
from functools import cached_property, partial
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from casflow.blobs.concurrent import run_concurrently
from casflow.errors import CasflowError, ConfigError, IntegrityError
from casflow.reference import TREE
from casflow.trees.checkout import Checkouts, folder_for_process, write_tree
from casflow.trees.contents import BIG, Contents
from casflow.trees.copies import PRIVATE_MODES, appearing, copy_tree
from casflow.trees.index import Index
from casflow.trees.listing import Root
from casflow.trees.scan import silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from casflow.blobs.content import ContentStore
    from casflow.cache import Cache
    from casflow.digests import Buffer
    from casflow.reference import BlobName, Reference
    from casflow.trees.scan import Progress

INDEX = "index"


def pack_role(position: int) -> str:
    """Return the role of a pack among a reference's attachments, by its position in the index."""
    return f"pack/{position}"


class TreeReader:
    """Reads one tree.

    Args:
        content: The store that it is in.
        cache: This machine's cache.
        reference: The reference to it.

    Raises:
        ConfigError: The reference is not to a tree.
    """

    def __init__(self, content: ContentStore, cache: Cache, reference: Reference) -> None:
        if reference.media_type != TREE:
            what = f"not a tree but {reference.media_type}"
            raise ConfigError(what, where=reference.flow, hint="read it with Store.get")
        self._where = content.store.url
        self._contents = Contents(content, cache)
        self._cache = cache
        self._checkouts = Checkouts(cache)
        self._reference = reference
        self._index: Index | None = None

    @property
    def downloaded(self) -> int:
        """Bytes that this process downloaded for the tree."""
        return self._contents.downloaded

    @property
    def index(self) -> Index:
        """The tree's index, read once.

        Raises:
            IntegrityError: It is not that of the tree, or names a pack that the reference does not.
        """
        # Not a cached property: in Python 3.11 one reader would wait for all others.
        if self._index is None:
            self._index = self._read_index()
        return self._index

    def _read_index(self) -> Index:
        reference, where = self._reference, self._where
        if INDEX not in reference.attachments:
            raise IntegrityError("a tree without an index", where=where)
        root, data = run_concurrently(
            partial(self._contents.get, reference.blob),
            partial(self._contents.get, reference.attachments[INDEX]),
        )
        index = Index.from_bytes(
            bytes(data), Root.from_bytes(bytes(root), where=where), where=where
        )
        for digest, size in index.packs.items():
            blob = self._packs.get(digest)
            if blob is None or blob.size != size:
                raise IntegrityError(f"the reference does not name the pack {digest}", where=where)
        return index

    @cached_property
    def _packs(self) -> dict[str, BlobName]:
        roles = sorted(self._reference.attachments, key=lambda role: (len(role), role))
        blobs = [self._reference.attachments[role] for role in roles if role != INDEX]
        return {blob.digest: blob for blob in blobs}

    def open(self, path: str) -> BinaryIO:
        """Return one file, open for reading, links followed; a big one does not stand in memory.

        Raises:
            NotFoundError: There is no such file.
        """
        entry = self.index.listing.follow(path)
        if not entry.size:
            return BytesIO()
        place = self.index.places[entry.digest]
        pack = self._packs[place.pack]
        if place.pack == entry.digest:
            return self._contents.open(pack)
        standing = self._checkouts.read_entry(self._reference.digest, entry)
        if standing is not None:
            return BytesIO(standing)
        return BytesIO(self._contents.get_part(pack, place, entry.digest))

    def checkout(self, *, full: bool = False, progress: Progress = silent) -> Path:
        """Return the shared folder of the tree, made when it does not stand.

        Raises:
            ConfigError: It is too big for the cache.
        """
        digest = self._reference.digest
        found = self._checkouts.find(digest, full=full)
        if found is not None:
            return found
        packs = self._source(progress)
        index, _ = run_concurrently(lambda: self.index, packs.begin)
        path = self._checkouts.obtain(digest, index, packs, full=full, progress=progress)
        self._remember_big(index)
        return path

    def folder_for_process(self) -> Path:
        """Return a folder that holds the tree as long as this process lives."""
        digest, index = self._reference.digest, self.index
        path = folder_for_process(self._cache, digest, index, self._source(silent))
        self._remember_big(index)
        return path

    def copy_to(self, target: Path, *, full: bool = False, progress: Progress = silent) -> None:
        """Make a private, writable copy of the tree.

        Raises:
            ConflictError: The target is a file, or a folder that is not empty.
        """
        with appearing(target) as temporary:
            if self._cache.has_room(self.index.listing.size):
                shared = self.checkout(full=full, progress=progress)
                copy_tree(shared, self.index.listing, temporary)
            else:
                source = self._source(progress)
                write_tree(self.index, source, temporary, PRIVATE_MODES, progress)

    def _source(self, progress: Progress) -> _StoredPacks:
        return _StoredPacks(self._contents, self._cache, self._packs, progress)

    def _remember_big(self, index: Index) -> None:
        """Let other trees find the contents that the cache keeps only as files of this one."""
        for entry in index.listing:
            if entry.size >= BIG:
                path = self._checkouts.path_of(self._reference.digest, entry)
                try:
                    self._cache.set_alias(_big(entry.digest), json.dumps(str(path)))
                except CasflowError:  # it is downloaded again
                    return


class _StoredPacks:
    """The packs of a tree in a store, several of which come down at a time."""

    def __init__(
        self,
        contents: Contents,
        cache: Cache,
        blobs: dict[str, BlobName],
        progress: Progress,
    ) -> None:
        self._contents = contents
        self._cache = cache
        self._blobs = blobs
        self._progress = progress
        self._begun: Iterator[Buffer] | None = None

    def begin(self) -> None:
        """Begin to download all that are not big; return when the first one is here."""
        coming = self._small(self._blobs)
        self._begun = chain(list(islice(coming, 1)), coming)

    def _small(self, digests: Iterable[str]) -> Iterator[Buffer]:
        blobs = (self._blobs[digest] for digest in digests)
        return self._contents.get_each(blob for blob in blobs if blob.size < BIG)

    def read(self, digests: Iterable[str]) -> Iterator[Buffer | None]:
        """Yield the bytes of packs; None for a big one."""
        wanted = [self._blobs[digest] for digest in digests]
        total, done = sum(blob.size for blob in wanted), 0
        begun = self._begun if list(self._blobs.values()) == wanted else None
        small, self._begun = begun or self._small(blob.digest for blob in wanted), None
        for blob in wanted:
            yield None if blob.size >= BIG else next(small)
            done += blob.size
            self._progress("download", done, total)

    def save(self, digest: str, target: BinaryIO) -> None:
        """Write a big one to a file."""
        known = self._cache.find_alias(_big(digest))
        path = None if known is None else Path(json.loads(known))
        self._contents.save(self._blobs[digest], target, known=path)


def _big(digest: str) -> str:
    return f"content {digest}"
