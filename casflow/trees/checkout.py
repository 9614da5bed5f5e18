"""Checkouts: a tree as a folder on this machine.

Owns how a folder is written from packs, trusted, healed and copied. Invariant: a path that is
returned leads to a folder that holds exactly what the tree's listing says, verified when it was
written and unchanged since by its record; a shared folder is held by a lock as long as this process
lives.
"""

from __future__ import annotations

import atexit
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from casflow.cache import outages
from casflow.cache.folders import Folders, remove_tree
from casflow.cache.locks import lock
from casflow.digests import digest_of, hex_of, verify
from casflow.errors import CasflowError, ConfigError, IntegrityError, os_errors
from casflow.trees.contents import BIG, read_part
from casflow.trees.copies import NEW, NEW_READABLE, copy_file
from casflow.trees.listing import FILE
from casflow.trees.record import (
    Record,
    boot_id,
    folders_of,
    is_intact,
    is_unchanged,
    named_tree,
    read_record,
    write_record,
)
from casflow.trees.scan import silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from casflow.cache import Cache
    from casflow.digests import Buffer
    from casflow.trees.index import Index
    from casflow.trees.listing import Entry, Listing
    from casflow.trees.scan import Progress


logger = logging.getLogger(__name__)

SHARED_MODES = {False: 0o444, True: 0o555}


class Packs(Protocol):
    """Where the contents of a tree come from."""

    def read(self, digests: Iterable[str]) -> Iterator[Buffer | None]:
        """Yield the verified bytes of packs in order; None for one content that is to be saved."""

    def save(self, digest: str, target: BinaryIO) -> None:
        """Write the verified bytes of such a content to an empty file that can be read, too."""


class Checkouts:
    """The trees that are checked out in one cache.

    Args:
        cache: The cache.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self.folders = Folders(cache.root)

    def find(self, digest: str, *, full: bool = False) -> Path | None:
        """Return the folder of a tree if it stands and is unchanged, and hold it.

        A folder that was changed is removed; one without a record, or after a boot, is read in
        full when `full` is asked for, or its record does not tell.

        Args:
            digest: Digest of the tree.
            full: Read and hash all files, unless that was done since the machine's last boot.
        """
        name = hex_of(digest)
        # The record, too, would be what others wrote.
        if not self._cache.is_ours() or not self.folders.hold(name):
            return None
        record = read_record(self.folders, name)
        if record is None:
            return self._heal(name)
        fresh = not full or record.boot == boot_id() != ""
        if fresh and is_unchanged(self.folders, name, record):
            self._touch(name)
            return self.folders.path(name)
        return self._verified(name, record)

    def listing(self, digest: str) -> Listing | None:
        """Return the listing of a tree that is checked out, or None."""
        record = read_record(self.folders, hex_of(digest)) if self._cache.is_ours() else None
        return None if record is None else _listing_of(record, hex_of(digest))

    def _verified(self, name: str, record: Record) -> Path | None:
        listing = _listing_of(record, name)
        path = self.folders.path(name)
        if listing is not None and is_intact(path, listing):
            write_record(self.folders, name, listing)
            return path
        return self._heal(name)

    def _heal(self, name: str) -> Path | None:
        """Remove a folder that cannot be trusted, so that it is made anew."""
        path = self.folders.path(name)
        logger.warning(
            "a checked-out tree was changed or is not complete; it is made anew: %s", path
        )
        self.folders.release(name)
        if not self.folders.remove(name):
            hint = "end the processes that use it, or run `casflow cache clean`"
            raise IntegrityError("a checked-out tree was changed", where=path, hint=hint)
        return None

    def _touch(self, name: str) -> None:
        try:
            os.utime(self.folders.record(name))
        except OSError:  # a read-only cache still serves
            logger.debug("cannot record a use of the cache")

    def obtain(
        self,
        digest: str,
        index: Index,
        packs: Packs,
        *,
        full: bool = False,
        progress: Progress = silent,
    ) -> Path:
        """Return the folder of a tree, made when it does not stand, and hold it.

        Of many processes that ask for one tree at once, one makes it and the others wait.

        Args:
            digest: Digest of the tree.
            index: Its listing and packs.
            packs: Gives the bytes of packs.
            full: As of `find`.
            progress: Is told `write`, the bytes written so far, and how many there are.

        Raises:
            ConfigError: It is too big for the cache.
            IntegrityError: A content is not in its place.
        """
        if not self._cache.has_room(index.listing.size):
            what = f"a tree of {index.listing.size} bytes is too big for the cache"
            hint = "raise cache_limit to over twice as much, or name a folder to check it out to"
            raise ConfigError(what, where=self._cache.root, hint=hint)
        with lock(self._cache.root / "locks", f"tree-{hex_of(digest)}"):
            found = self.find(digest, full=full)
            return found or self._make(digest, index, packs, progress)

    def _make(self, digest: str, index: Index, packs: Packs, progress: Progress) -> Path:
        name = hex_of(digest)
        with self.folders.temporary() as temporary:
            write_tree(index, packs, temporary, SHARED_MODES, progress)
            seal(temporary, index.listing)
            # Not before its packs are there: a count of what is there would forget what is to come.
            self._cache.reserve_folder(digest, index.listing.size)
            self.folders.publish(temporary, name)
        if not self.folders.hold(name):
            raise IntegrityError("a checked-out tree went away", where=self.folders.path(name))
        write_record(self.folders, name, index.listing)
        return self.folders.path(name)

    def read(self, digest: str, path: str) -> bytes | None:
        """Return the verified content of a file of a tree; None if it does not stand or is big.

        Raises:
            NotFoundError: The tree has no such file.
        """
        listing = self.listing(digest)
        return None if listing is None else self.read_entry(digest, listing.follow(path))

    def read_entry(self, digest: str, entry: Entry) -> bytes | None:
        """Return the same of an entry of a tree."""
        if entry.size >= BIG:
            return None
        data = read_part(self.path_of(digest, entry), 0, entry.size)
        return data if data is not None and digest_of(data) == entry.digest else None

    def path_of(self, digest: str, entry: Entry) -> Path:
        """Return where a file of a tree is if the tree stands; whoever reads it verifies it."""
        return self.folders.path(hex_of(digest)) / entry.path


def folder_for_process(cache: Cache, digest: str, index: Index, packs: Packs) -> Path:
    """Return a folder that holds a tree as long as this process lives.

    It is the shared one, all of whose files were hashed since the machine's boot; where the cache
    has no room for it, or fails, one that goes away with this process.

    Raises:
        IntegrityError: A content is not in its place.
    """
    if cache.has_room(index.listing.size):
        try:
            return Checkouts(cache).obtain(digest, index, packs, full=True)
        except (CasflowError, OSError) as error:
            place = error.filename if isinstance(error, OSError) else error.where
            if not str(place).startswith(str(cache.root)):
                raise
            outages.report(cache.root, error)
    folder = Path(tempfile.mkdtemp(prefix="casflow-tree-")).resolve()
    atexit.register(_remove_own, folder, os.getpid())
    write_tree(index, packs, folder, SHARED_MODES)
    return folder


def _remove_own(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child leaves it to its parent
        remove_tree(folder)


def _listing_of(record: Record, name: str) -> Listing | None:
    try:
        listing = record.entries()
    except ValueError:
        return None
    return listing if named_tree(listing, name) else None


def seal(folder: Path, listing: Listing) -> None:
    """Take the right to write from all folders of a tree."""
    for path in reversed(folders_of(listing)):
        os.chmod(f"{folder}/{path}", 0o555)  # noqa: PTH101, S103


def write_tree(
    index: Index,
    packs: Packs,
    target: Path,
    modes: dict[bool, int],
    progress: Progress = silent,
) -> None:
    """Write the files of a tree below an empty folder, each content verified on its way.

    Args:
        index: The listing and where contents lie.
        packs: Gives the bytes of packs.
        target: The folder.
        modes: The mode of files that are not executable, and of those that are.
        progress: Is told `write`, the bytes written so far, and how many there are.

    Raises:
        IntegrityError: A content is not in its place.
    """
    listing = index.listing
    with os_errors(target):
        for path in folders_of(listing)[1:] if len(listing) else []:
            os.mkdir(f"{target}/{path}")  # noqa: PTH102
        by_pack: dict[str, list[Entry]] = {pack: [] for pack in index.packs}
        for entry in listing:
            if not entry.size and entry.kind == FILE:
                _write(f"{target}/{entry.path}", memoryview(b""), modes[entry.executable])
            elif entry.kind == FILE:
                by_pack[index.places[entry.digest].pack].append(entry)
        by_pack = {pack: entries for pack, entries in by_pack.items() if entries}
        done = 0
        for (pack, entries), data in zip(by_pack.items(), packs.read(by_pack), strict=True):
            if data is None:
                _write_big(packs, pack, entries, target, modes)
            else:
                _write_all(index, entries, memoryview(data), target, modes)
            done += sum(entry.size for entry in entries)
            progress("write", done, listing.size)
        for entry in listing:
            if entry.kind != FILE:
                os.symlink(entry.target, f"{target}/{entry.path}")  # noqa: PTH211


def _write_all(
    index: Index, entries: list[Entry], data: memoryview, target: Path, modes: dict[bool, int]
) -> None:
    """Write the files whose contents lie in one pack."""
    checked: set[str] = set()
    for entry in entries:
        _, offset, length = index.places[entry.digest]
        content = data[offset : offset + length]
        if entry.digest not in checked:
            verify(content, entry.digest, where=entry.path)
            checked.add(entry.digest)
        _write(f"{target}/{entry.path}", content, modes[entry.executable])


def _write_big(
    packs: Packs, digest: str, entries: list[Entry], target: Path, modes: dict[bool, int]
) -> None:
    """Write a content that does not go through memory, and copies of it where it is used again."""
    first, *others = entries
    path = f"{target}/{first.path}"
    with os.fdopen(os.open(path, NEW_READABLE, modes[first.executable]), "w+b") as file:
        packs.save(digest, file)
    for entry in others:
        copy_file(path, f"{target}/{entry.path}", entry.size, modes[entry.executable])


def _write(path: str, content: memoryview, mode: int) -> None:
    descriptor = os.open(path, NEW, mode)
    try:
        while content:
            content = content[os.write(descriptor, content) :]
    finally:
        os.close(descriptor)
