"""`casflow.Store`: trees and blobs in a folder, a bucket or a container.

Owns the public surface, against which every integration is written. Invariant: bytes come through
the cache, and errors are casflow's; the store holds no state but its connection, the cache, and
what can be read again, so it can be pickled, used from several threads, and made anew at any time.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from casflow.digests import parse
from casflow.errors import ConfigError
from casflow.gc import Collector, Policy, Report, Stats, Verification
from casflow.gc import stats as count_store
from casflow.gc import verify as verify_store
from casflow.reference import check_name
from casflow.store.blobs import Blobs, source_of
from casflow.store.named_versions import NamedVersions, signing_key
from casflow.store.origins import remember_origin
from casflow.store.promotion import promote
from casflow.store.records import Blob, Version, version_of
from casflow.store.resolver import digest_in, name_in
from casflow.trees.checkout import Checkouts
from casflow.trees.copies import appearing, copy_tree
from casflow.trees.fetch import TreeReader
from casflow.trees.push import Pusher
from casflow.trees.scan import silent

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from casflow.cache import Cache
    from casflow.store.resolver import AnyRef
    from casflow.trees.listing import Listing
    from casflow.trees.scan import Progress

_KEPT_READERS = 4  # each holds a listing


class Store(NamedVersions):
    """Trees and blobs by name and digest.

    Args:
        url: A folder's path, `s3://bucket`, `gs://bucket`, `az://container` (each with a prefix
            after it or without), or `memory://name`; the setting `store` when left out, else the
            folder that flows are kept in.
        cache: This machine's cache; that of the settings when left out.
        options: Reach the client: for S3, arguments of boto3's client such as `endpoint_url`; for
            Google Cloud Storage `project`; for Azure `connection_string` or
            `connection_string_secret`.

    Raises:
        ConfigError: The URL or an option is not known.
        MissingExtraError: The extra of that kind of store is not installed.
    """

    def __init__(
        self,
        url: str | os.PathLike[str] | None = None,
        *,
        cache: Cache | None = None,
        **options: Any,
    ) -> None:
        super().__init__(url, cache=cache, **options)
        self._readers: dict[tuple[str | None, str | None], TreeReader] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_readers": {}}

    # ---- trees -----------------------------------------------------------------------------

    def push(
        self,
        folder: str | os.PathLike[str],
        name: str,
        labels: Iterable[str] = (),
        *,
        progress: Progress = silent,
        dry_run: bool = False,
        sign: bool | str = False,
    ) -> Version:
        """Store a folder as the next version of a name, unless the newest one is the same.

        Args:
            folder: The folder; `.gitignore`, `.casflowignore` and built-in rules leave out files.
            name: The name.
            labels: Labels of the version; other labels make a new version.
            progress: Is told the stage (`hash`, `pack`, `upload`), how much is done, and how much
                there is: files while hashing, else bytes.
            dry_run: Write nothing; the version that is returned is what a push would make.
            sign: Sign the version, also one that was there already: with the user's key, or the
                key that is named.

        Returns:
            The version; `is_new` and `uploaded` say what it took.

        Raises:
            ConfigError: The folder holds what no tree can hold, or the name cannot be one.
            AccessError: A file looks like a secret, or cannot be read, or the store refuses.
            UnavailableError: A file changed while it was read, or the store failed.
        """
        pushed = Pusher(self._content, self.cache).push(
            Path(folder),
            _new_name(name),
            labels,
            progress=progress,
            dry_run=dry_run,
            key=signing_key(sign),
        )
        if pushed.selected is None:
            now, shown = datetime.now(UTC), tuple(sorted(set(labels)))
            digest = pushed.listing.digest
            listing = pushed.listing
            version = Version(
                name,
                pushed.number,
                digest,
                now,
                labels=shown,
                files=len(listing),
                bytes=listing.size,
            )
        else:
            version = version_of(pushed.selected)
        return replace(version, is_new=pushed.is_new, uploaded=pushed.uploaded)

    def checkout(
        self,
        ref: AnyRef,
        to: str | os.PathLike[str] | None = None,
        *,
        verify: str = "stat",
        progress: Progress = silent,
    ) -> Path:
        """Return a folder that holds a tree.

        Without `to` it is the shared, read-only folder in this machine's cache, which stays as
        long as this process lives; where it stands already and the ref has a whole digest, no
        request is made. With `to` it is a private, writable copy, which appears whole or not at
        all. Either way the digest is leased for the day, so that gc keeps it.

        Args:
            ref: What to check out, such as `etl@prod`.
            to: A new or empty folder.
            verify: `stat` to trust files whose inode, size and times are as when they were
                hashed; `full` to hash all files, unless that was done since the machine's boot.
            progress: Is told `download` or `write`, the bytes so far, and how many there are.

        Raises:
            NotFoundError: There is no such version.
            ConfigError: It is no tree, or too big for the cache.
            ConflictError: `to` is a file, or a folder that is not empty.
            IntegrityError: The tree in the store is damaged; nothing was written outside.
        """
        if verify not in ("stat", "full"):
            raise ConfigError(f"verify is {verify!r}", hint="choose stat or full")
        full = verify == "full"
        digest = digest_in(ref)
        if digest is not None and self._resolver.has_passed(ref, digest):
            standing = Checkouts(self.cache).find(digest, full=full)
            if standing is not None:
                self._leases.renew(digest, lambda: self._resolver.select(ref))
                return standing if to is None else self._copied(standing, digest, Path(to), ref)
        selected = self._resolver.select(ref)
        reader = TreeReader(self._content, self.cache, selected.reference)
        if to is None:
            path = reader.checkout(full=full, progress=progress)
        else:
            path = Path(to)
            reader.copy_to(path, full=full, progress=progress)
            reference = selected.reference
            self._remember_origin(path, reference.flow, reference.digest, selected.number)
        self._leases.renew(selected.reference.digest, lambda: selected)
        return path

    def _copied(self, standing: Path, digest: str, to: Path, ref: AnyRef) -> Path:
        """Return a private copy of a tree that stands here."""
        with appearing(to) as temporary:
            copy_tree(standing, self.listing(ref), temporary)
        self._remember_origin(to, name_in(ref), digest)
        return to

    def _remember_origin(self, path: Path, name: str | None, digest: str, number: int = 0) -> None:
        remember_origin(
            self.cache, path, store=self._given, name=name, version=number, digest=digest
        )

    def listing(self, ref: AnyRef) -> Listing:
        """Return the entries of a tree.

        Raises:
            NotFoundError: There is no such version.
            ConfigError: It is no tree.
            IntegrityError: It is damaged.
        """
        digest = digest_in(ref)
        if digest is not None and self._resolver.has_passed(ref, digest):
            known = Checkouts(self.cache).listing(digest)
            if known is not None:
                return known
        return self._reader(ref).index.listing

    def read_file(self, ref: AnyRef, path: str) -> bytes:
        """Return the content of one file of a tree, verified; no more of the tree is downloaded.

        Links are followed.

        Raises:
            NotFoundError: There is no such version or file.
            ConfigError: It is no tree.
            IntegrityError: It is damaged.
        """
        with self.open_file(ref, path) as file:
            return file.read()

    def open_file(self, ref: AnyRef, path: str) -> BinaryIO:
        """Return one file of a tree, open for reading; a big one does not stand in memory.

        Raises:
            CasflowError: As `read_file` does.
        """
        digest = digest_in(ref)
        if digest is not None and self._resolver.has_passed(ref, digest):
            standing = Checkouts(self.cache).read(digest, path)
            if standing is not None:
                return BytesIO(standing)
        return self._reader(ref).open(path)

    def _reader(self, ref: AnyRef) -> TreeReader:
        """Return what reads a tree; that of a whole digest is kept for the next question."""
        asked = name_in(ref), digest_in(ref)
        reader = self._readers.get(asked)
        if reader is None or not self._resolver.has_passed(ref, str(asked[1])):
            reader = TreeReader(self._content, self.cache, self._resolver.select(ref).reference)
            if asked[1] is not None:
                if len(self._readers) >= _KEPT_READERS:
                    self._readers.clear()
                self._readers[asked] = reader
        return reader

    # ---- blobs -----------------------------------------------------------------------------

    def put(
        self,
        data: bytes | str | os.PathLike[str],
        name: str | None = None,
        *,
        keep: str | None = None,
    ) -> Blob:
        """Store bytes.

        With a name they are the next version of it, unless the newest one is the same, and live as
        long as that version does. Without one, and without `keep`, nothing names them: gc takes
        them after its grace (a day) unless something names them by then.

        Args:
            data: The bytes, or the path of the file that holds them.
            name: The name.
            keep: How long gc shall keep them at least, such as `7d`; at most 30 days.

        Raises:
            ConfigError: The name or the time cannot be understood.
            UnavailableError: The file changed while it was read, or the store failed.
        """
        given = None if name is None else _new_name(name)
        return self._blobs.put(source_of(data), given, keep)

    @property
    def _blobs(self) -> Blobs:
        return Blobs(self._content, self.cache, self._versions, self._leases)

    def get(self, digest: str) -> bytes:
        """Return the bytes of a digest, verified, from the cache or the store.

        Raises:
            NotFoundError: They are in neither.
            IntegrityError: They are damaged.
        """
        with self.open(digest) as file:
            return file.read()

    def open(self, digest: str) -> BinaryIO:
        """Return the bytes of a digest as a file, verified; a big one does not stand in memory.

        Raises:
            CasflowError: As `get` does.
        """
        return self._blobs.open(parse(digest.replace("-", ":", 1)))

    # ---- whole stores ----------------------------------------------------------------------

    def copy(self, ref: AnyRef, other: Store | str, *, dry_run: bool = False) -> Version:
        """Copy a version to another store: a promotion.

        Only blobs that are missing there are sent. The version gets a number of its own there;
        when the newest version of the name there has the same content and labels, that one is
        returned.

        Args:
            ref: What to copy.
            other: Where to.
            dry_run: Write nothing; the version that is returned is what a copy would make.

        Raises:
            NotFoundError: There is no such version.
            IntegrityError: A blob of it is missing or damaged.
        """
        target = Store(other, cache=self._cache) if isinstance(other, str) else other
        return promote(
            self._resolver.select(ref).reference,
            self._content,
            self.cache,
            target._content,  # noqa: SLF001 - one of us
            dry_run=dry_run,
        )

    def verify(self, share: float = 0.0) -> Verification:
        """Check that everything is there that references name.

        Args:
            share: How much of the blobs is read back and hashed, from 0 to 1.
        """
        return verify_store(self._content.store, share=share)

    def gc(self, policy: Policy | str | None = None, *, dry_run: bool = False) -> Report:
        """Collect what nothing names: condemn, wait, delete.

        Args:
            policy: What retention keeps of each name, such as `last=5 within=30d`; all, when left
                out.
            dry_run: Only say what would be done.
        """
        chosen = Policy.parse(policy) if isinstance(policy, str) else policy
        collector = Collector(self._content.store, policy=chosen, cache=self.cache)
        return collector.preview() if dry_run else collector.run()

    def stats(self) -> Stats:
        """Count what is stored, and what is stored once."""
        return count_store(self._content.store)


def _new_name(name: str) -> str:
    """Return a name that a ref can give without being read as something else.

    Raises:
        ConfigError: It cannot be one.
    """
    if "@" in check_name(name):
        hint = "what follows an @ is read as a version, a tag or a digest"
        raise ConfigError("a name with an @", where=name, hint=hint)
    return name
