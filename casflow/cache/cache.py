"""This machine's cache: verified bytes by digest, within a limit.

Owns the order in which the parts of a cache are asked, and what happens when one fails. Invariant:
bytes are returned only when they were found to have the digest that was asked for; the files
together stay within the limit; everything here may be deleted at any time, and may fail at any
time: then bytes are downloaded into memory. A folder that others could write is not used at all.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, cast

from casflow.cache import outages, partial
from casflow.cache.blobs import BlobFiles, remove
from casflow.cache.folders import Folders
from casflow.cache.partial import Target
from casflow.cache.usage import Usage
from casflow.config import make_folder
from casflow.digests import PREFIX, Buffer, hex_of, verify
from casflow.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from casflow.cache.index import Index
    from casflow.cache.partial import PartialFile

_TIMEOUT = 600.0  # seconds for which a download of another process is waited for
_FOLDERS = ("blobs", "tmp", "index", "locks", "trees")
_index_lock = Lock()  # another thread would take the database for there before it has its tables
_FOLDER = "tree-"  # before the names under which checked-out trees are counted
_TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# Made by casflow; safe to delete.\n"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the cache: its digest, bytes, and when it was used last (to the hour)."""

    digest: str
    size: int
    used: float
    pinned: bool = False
    is_folder: bool = False

    @property
    def name(self) -> str:
        """The name under which it is counted; a tree has the digest of its root document."""
        return (_FOLDER if self.is_folder else "") + hex_of(self.digest)


@dataclass(frozen=True, slots=True)
class Fetched:
    """Verified bytes, and what it took to have them.

    Attributes:
        data: The bytes, a copy that nobody else can change.
        hit: Whether this process found them without downloading.
        downloaded: Bytes that this process downloaded.
    """

    data: Buffer
    hit: bool
    downloaded: int = 0


class Cache:
    """Verified bytes by digest, within a limit.

    Args:
        root: Folder of the cache, made at the first write.
        limit: Bytes that its files may take together.
    """

    def __init__(self, root: Path, limit: int) -> None:
        self.root = Path(root)
        self.limit = limit
        self.usage = Usage(self.root)
        self._files = BlobFiles(self.root)
        self._temporary = str(self.root / "tmp")
        self._open_index: tuple[int, Index] | None = None
        self._trusted: bool | None = None
        self._is_prepared = False

    def path(self, digest: str) -> Path:
        """Return where the file of a digest is, or would be."""
        return Path(self._files.path(hex_of(digest)))

    # ---- reading ---------------------------------------------------------------------------

    def find(self, digest: str, size: int | None = None) -> Buffer | None:
        """Return the bytes of a digest, verified, or None when they are not here.

        Args:
            digest: What is wanted.
            size: Its bytes, if they are known; a file of more is not read.
        """
        return self._files.find(digest, size) if self._is_trusted() else None

    def fetch(self, digest: str, size: int, download: Callable[[BinaryIO], object]) -> Fetched:
        """Return the bytes of a digest, from here or from where they are downloaded.

        Of many processes that ask for one digest at once, one downloads and the others wait.

        Args:
            digest: What is wanted.
            size: Its bytes, as far as they are known; room is made for them.
            download: Writes the bytes to a file; may return where they came from, for messages.

        Raises:
            IntegrityError: What was downloaded has another digest. Nothing is kept of it.
        """
        data = self.find(digest, size)
        if data is not None:
            return Fetched(data, hit=True)
        file = self._open_partial(hex_of(digest), size, _TIMEOUT)
        try:
            # Whoever wrote it until now may have been done between the question and this line.
            if file is not None and self._files.is_there(hex_of(digest)):
                data = self.find(digest, size)
            if data is not None:
                return Fetched(data, hit=True)
            return self._download(digest, size, download, file)
        finally:
            if file is not None:
                file.close()

    # ---- writing ---------------------------------------------------------------------------

    def put(self, digest: str, data: Buffer) -> None:
        """Keep bytes that are at hand already."""
        file = self._open_partial(hex_of(digest), len(data), timeout=0.0)
        try:
            self._download(digest, len(data), lambda target: target.write(data), file)
        finally:
            if file is not None:
                file.close()

    def _open_partial(self, name: str, size: int, timeout: float) -> PartialFile | None:
        """Return the file that a digest is written to, or None where it is not kept.

        Args:
            name: Name of the digest.
            size: Its bytes.
            timeout: Seconds for which another writer of the same is waited for.
        """
        if size > self.limit // 2 or not (self._is_prepared or self._prepare()):
            return None
        try:
            try:
                return partial.wait_open(self._temporary, name, timeout)
            except FileNotFoundError:  # somebody removed the cache
                return partial.open_private(self._temporary) if self._prepare() else None
        except OSError as error:
            outages.report(self.root, error)
            return None

    def _download(
        self,
        digest: str,
        size: int,
        download: Callable[[BinaryIO], object],
        file: PartialFile | None,
    ) -> Fetched:
        """Download into a file, or into memory where there is none or it fails."""
        name = hex_of(digest)
        if file is not None and not self._reserve(name, size):
            file = None
        target = Target(None if file is None else file.descriptor, size)
        try:
            source = download(cast("BinaryIO", target))
            data = target.read_all()
        except Exception:
            if target.failure is None:
                raise
            outages.report(self.root, target.failure)
            return self._download(digest, size, download, None)
        verify(data, digest, where=source)
        if file is not None:
            try:
                self._files.publish(file.path, name)
            except OSError as error:
                outages.report(self.root, error)
            else:
                file.is_published = True
        return Fetched(data, hit=False, downloaded=target.size)

    def _reserve(self, name: str, size: int) -> bool:
        """Count what will come, and evict what is too much; return False if it cannot be."""
        try:
            counted = self.usage.add(size)
            if counted is None or counted > self.limit:
                self._make_room(name, size)
        except OSError as error:
            outages.report(self.root, error)
            return False
        return True

    def _make_room(self, name: str, size: int) -> None:
        """Count the files, and evict some of them if with what will come they are too much."""
        total = self.size() + size
        if total > self.limit:
            removed = self.prune(self.limit * 9 // 10 - size, keep=name)
            total -= sum(each.size for each in removed)
        self.usage.set(total)

    # ---- whether it can be used ------------------------------------------------------------

    def is_ours(self) -> bool:
        """Tell whether there is a cache, and nobody else could have written it."""
        return os.path.isdir(self.root) and self._is_trusted()  # noqa: PTH112 - no error

    def _is_trusted(self) -> bool:
        """Tell whether nobody but this user and root could have written what is here."""
        if self._trusted is None:
            try:
                found = self.root.stat()
            except OSError:
                return True  # nothing is here yet, or nothing that could be read
            ours = not hasattr(os, "geteuid") or found.st_uid in (os.geteuid(), 0)
            self._trusted = ours and not found.st_mode & 0o022 and not self._has_links()
        if not self._trusted:
            outages.report(self.root, "others own it or can write to it, or a link is in it")
        return self._trusted

    def _has_links(self) -> bool:
        return any(os.path.islink(self.root / each) for each in _FOLDERS)  # noqa: PTH114 - no error

    def _prepare(self) -> bool:
        """Make the folder; return False, and report it, when it cannot be written."""
        try:
            make_folder(self.root)
            if not self._is_trusted():  # before anything is written
                return False
            _write_tag(self.root / "CACHEDIR.TAG")
            temporary = self.root / "tmp"
            temporary.mkdir(mode=0o700, exist_ok=True)
            if temporary.is_symlink() or not os.access(temporary, os.W_OK):
                raise PermissionError(errno.EACCES, "not a folder that can be written", temporary)
        except OSError as error:
            outages.report(self.root, error)
            return False
        self._is_prepared = True
        return True

    # ---- upkeep ----------------------------------------------------------------------------

    @property
    def index(self) -> Index:
        """The index, opened when first asked for, and again in a forked child or when removed."""
        with _index_lock:
            opened = self._open_index
            if opened is None or opened[0] != os.getpid() or opened[1].is_gone():
                from casflow.cache.index import Index

                opened = self._open_index = (os.getpid(), Index(self.root / "index"))
        return opened[1]

    @property
    def folders(self) -> Folders:
        """The trees that are checked out beside the blobs; they count in the limit."""
        return Folders(self.root)

    def work_folder(self, name: str) -> Path | None:
        """Return a folder of the cache for intermediate files; None where there can be none."""
        folder = self.root / name
        if not self._prepare():
            return None
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            outages.report(self.root, error)
            return None
        return None if folder.is_symlink() else folder

    def temporary_folder(self) -> AbstractContextManager[Path]:
        """Give a new folder below the cache's, removed in the end.

        Raises:
            UnavailableError: The cache cannot be written.
        """
        if not self._prepare():
            raise UnavailableError("the cache cannot be written", where=self.root)
        return self.folders.temporary()

    def has_room(self, size: int) -> bool:
        """Tell whether something of a size may be kept at all; others make room for it."""
        return size <= self.limit // 2 and self._prepare()

    def reserve_folder(self, digest: str, size: int) -> None:
        """Make room for a tree that will come."""
        self._reserve(_FOLDER + hex_of(digest), size)

    def entries(self) -> list[Entry]:
        """Return what is kept, least recently used first."""
        if not self.is_ours():
            return []
        pinned = self.index.pinned() if self._has_index() else frozenset()
        files = [
            Entry(PREFIX + name, stat.st_size, stat.st_mtime, name in pinned)
            for name, stat in self._files.scan()
        ]
        folders = [
            Entry(PREFIX + kept.name, kept.size, kept.used, kept.name in pinned, is_folder=True)
            for kept in self.folders.entries()
        ]
        return sorted(files + folders, key=lambda each: each.used)

    def size(self) -> int:
        """Return the bytes of all files together."""
        if not self.is_ours():
            return 0
        files = sum(stat.st_size for _, stat in self._files.scan())
        return files + sum(kept.size for kept in self.folders.entries())

    def prune(self, limit: int, *, keep: str = "") -> list[Entry]:
        """Remove what was used least recently until the rest fits; return what was removed.

        Args:
            limit: Bytes that may stay.
            keep: Name of a file that is about to be written.
        """
        if not self.is_ours():
            return []
        partial.remove_stale(self._temporary)
        entries = self.entries()
        total = sum(each.size for each in entries)
        removed = []
        for entry in entries:
            if total <= limit:
                break
            if entry.pinned or entry.name == keep:
                continue
            if entry.is_folder:
                if not self.folders.remove(hex_of(entry.digest)):
                    continue  # a process uses it
            else:
                self.remove(entry.digest)
            total -= entry.size
            removed.append(entry)
        return removed

    def remove(self, digest: str) -> None:
        """Remove one file, if it is here."""
        if self.is_ours():
            remove(self._files.path(hex_of(digest)))

    def pin(self, digest: str, *, on: bool = True) -> None:
        """Keep a file from eviction, or no longer."""
        if self._prepare():
            self.index.pin(hex_of(digest), on=on)

    def verify(self) -> list[str]:
        """Read every file; remove those whose bytes are not what they are named by.

        Returns:
            The digests of what was removed.
        """
        return self._files.verify() if self.is_ours() else []

    def clean(self) -> int:
        """Remove everything; return the bytes that were freed."""
        freed = 0
        if not self.is_ours():
            return freed
        for name, found in list(self._files.scan()):
            self.remove(PREFIX + name)
            freed += found.st_size
        for kept in self.folders.entries():
            if self.folders.remove(kept.name):
                freed += kept.size
        return freed

    # ---- aliases ---------------------------------------------------------------------------

    def find_alias(self, alias: str) -> str | None:
        """Return what was remembered under an alias, or None."""
        if not (self._is_trusted() and self._has_index()):
            return None
        return self.index.find_alias(alias)

    def set_alias(self, alias: str, value: str) -> None:
        """Remember a fact such as "repository, path, commit -> digest"."""
        if self._prepare():
            self.index.set_alias(alias, value)

    def _has_index(self) -> bool:
        return (self.root / "index").is_dir()


def _write_tag(path: Path) -> None:
    """Mark the folder as a cache, so that backups leave it out; what is there already stays."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with suppress(FileExistsError):
        descriptor = os.open(path, flags, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_TAG)


if hasattr(os, "register_at_fork"):
    # Another thread of the parent may have held it.
    os.register_at_fork(after_in_child=_index_lock._at_fork_reinit)  # type: ignore[attr-defined]  # noqa: SLF001
