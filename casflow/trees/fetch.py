"""Fetching: a tree's listing and contents out of a store, by way of the cache.

Owns the road back. Invariant: the cache is asked by digest before the store; what is downloaded is
verified before it is read; requests that need not wait for one another do not.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, BinaryIO

from casflow.blobs.concurrent import run_concurrently
from casflow.digests import verify
from casflow.errors import ConfigError, IntegrityError
from casflow.reference import TREE
from casflow.trees.checkout import PRIVATE_MODES, Checkouts, appearing, copy_tree, write_tree
from casflow.trees.index import Index
from casflow.trees.listing import Root
from casflow.trees.scan import silent

if TYPE_CHECKING:
    from pathlib import Path

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
        self._content = content
        self._cache = cache
        self._checkouts = Checkouts(cache)
        self._reference = reference
        self._downloaded: dict[str, Buffer] = {}
        self.downloaded = 0  # bytes that this process downloaded

    @cached_property
    def index(self) -> Index:
        """The tree's index.

        Raises:
            IntegrityError: It is not that of the tree, or names a pack that the reference does not.
        """
        reference, where = self._reference, self._content.store.url
        if INDEX not in reference.attachments:
            raise IntegrityError("a tree without an index", where=where)
        root, data = run_concurrently(
            partial(self._fetch, reference.blob), partial(self._fetch, reference.attachments[INDEX])
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
        attached = self._reference.attachments.items()
        return {blob.digest: blob for role, blob in attached if role != INDEX}

    def _fetch(self, blob: BlobName) -> Buffer:
        def download(target: BinaryIO) -> str:
            return self._content.copy_to(blob, target)

        fetched = self._cache.fetch(blob.digest, blob.size, download)
        self.downloaded += fetched.downloaded
        return fetched.data

    def read_pack(self, digest: str) -> Buffer:
        """Return the verified bytes of a pack."""
        data = self._downloaded.pop(digest, None)
        return self._fetch(self._packs[digest]) if data is None else data

    def read(self, path: str) -> bytes:
        """Return the content of one file.

        Raises:
            NotFoundError: There is no such file.
            ConfigError: It is a link.
        """
        entry = self.index.listing.get(path)
        if entry.target:
            raise ConfigError(f"a link to {entry.target}", where=path)
        if not entry.size:
            return b""
        place = self.index.places[entry.digest]
        data = memoryview(self.read_pack(place.pack))
        content = data[place.offset : place.offset + place.length]
        verify(content, entry.digest, where=path)
        return bytes(content)

    def checkout(self, *, full: bool = False, progress: Progress = silent) -> Path:
        """Return the shared folder of the tree, made when it does not stand.

        Of many processes that ask for one tree at once, one makes it and the others wait.
        """
        digest = self._reference.digest
        found = self._checkouts.find(digest, full=full)
        if found is not None:
            return found
        index = self.index
        if not self._cache.has_room(index.listing.size):
            what = f"a tree of {index.listing.size} bytes is too big for the cache"
            hint = "raise cache_limit to over twice as much, or name a folder to check it out to"
            raise ConfigError(what, where=self._cache.root, hint=hint)
        with self._checkouts.lock(digest):
            found = self._checkouts.find(digest, full=full)
            if found is not None:
                return found
            self._download(index, progress)
            return self._checkouts.make(digest, index, self.read_pack, progress)

    def copy_to(self, target: Path, *, full: bool = False, progress: Progress = silent) -> None:
        """Make a private, writable copy of the tree.

        Raises:
            ConflictError: The target is a file, or a folder that is not empty.
        """
        with appearing(target) as temporary:
            if self._cache.has_room(self.index.listing.size):
                source = self.checkout(full=full, progress=progress)
                copy_tree(source, self.index.listing, temporary)
            else:
                write_tree(self.index, self.read_pack, temporary, PRIVATE_MODES, progress)

    def _download(self, index: Index, progress: Progress) -> None:
        """Bring the packs into the cache, several at a time."""
        digests = list(index.packs)
        total, done = sum(index.packs.values()), 0
        at_once = max(self._content.store.parallel, 1)
        for start in range(0, len(digests), at_once):
            some = digests[start : start + at_once]
            calls = [partial(self._fetch, self._packs[digest]) for digest in some]
            if calls:
                self._downloaded |= dict(zip(some, run_concurrently(*calls), strict=True))
            done += sum(index.packs[digest] for digest in some)
            progress("download", done, total)
