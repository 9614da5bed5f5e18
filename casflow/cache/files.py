"""Blobs by digest in plain files on this machine.

Owns the cache's folder. Invariant: a file is returned only after its bytes were found to have the
digest that it is named by; a file that has not is removed and counts as absent, so damage heals;
files appear by rename only, so no lock is needed for correctness; and the files together stay
within the limit. Everything here may be deleted at any time.
"""

from __future__ import annotations

import logging
import mmap
import os
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, cast

from casflow.cache.folders import Folders, remove_tree
from casflow.cache.locks import lock
from casflow.config import make_folder
from casflow.digests import PREFIX, Buffer, Verifying, digest_of, digest_of_file, hex_of
from casflow.errors import UnavailableError, os_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from casflow.cache.index import Index

logger = logging.getLogger(__name__)

_MMAP_THRESHOLD = (
    1 << 18
)  # bytes from which a file is mapped: memory for a copy costs more than hashing it
_ATIME_RESOLUTION = 3600.0  # seconds; a use is recorded no finer than this
_TEMPORARY_MAX_AGE = 3600.0  # seconds after which a temporary file has no writer any more
_CREATE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
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
        data: The bytes; a read-only view of the file when they are many.
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
        self._blobs = f"{self.root}/blobs"
        self._open_index: tuple[int, Index] | None = None

    def path(self, digest: str) -> Path:
        """Return where the file of a digest is, or would be."""
        return Path(self._path(hex_of(digest)))

    def _path(self, name: str) -> str:
        return f"{self._blobs}/{name[:2]}/{name}"

    # ---- reading ---------------------------------------------------------------------------

    def find(self, digest: str) -> Buffer | None:
        """Return the bytes of a digest, verified, or None when they are not here."""
        path = self._path(hex_of(digest))
        try:
            data = _read(path)
        except OSError:
            return None
        if digest_of(data) == digest:
            return data
        logger.warning("damaged file in the cache is dropped: %s", path)
        _remove(Path(path))
        return None

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
        data = self.find(digest)
        if data is not None:
            return Fetched(data, hit=True)
        self._prepare()
        with lock(self.root / "locks", hex_of(digest)):
            data = self.find(digest)
            if data is not None:
                return Fetched(data, hit=True)
            return self._download(digest, size, download)

    # ---- writing ---------------------------------------------------------------------------

    def put(self, digest: str, data: Buffer) -> None:
        """Keep bytes that are at hand already."""
        self._download(digest, len(data), lambda target: target.write(data))

    def _download(self, digest: str, size: int, download: Callable[[BinaryIO], object]) -> Fetched:
        if not (self._prepare() and self._reserve(digest, size)):
            return _download_uncached(digest, download)
        with self._temporary() as (path, file):
            target = Verifying(file)
            source = download(cast("BinaryIO", target))
            target.check(digest, where=source)
            file.close()
            self._publish(path, hex_of(digest))
        data = self.find(digest)
        if data is None:  # evicted or damaged between two lines; most unlikely twice
            return _download_uncached(digest, download)
        return Fetched(data, hit=False, downloaded=target.size)

    def _reserve(self, digest: str, size: int) -> bool:
        """Count a file that will come; return False if it is too big to keep."""
        if size > self.limit // 2:
            return False
        if not self.index.is_known():
            self.index.rebuild(self._sizes())
        if self.index.reserve(hex_of(digest), size) > self.limit:
            self.prune(self.limit * 9 // 10, keep=hex_of(digest))
        return True

    def _prepare(self) -> bool:
        """Make the folder; return False, and say so, when it cannot be written."""
        tag = self.root / "CACHEDIR.TAG"
        try:
            if not tag.exists():
                make_folder(self.root)
                (self.root / "tmp").mkdir(mode=0o700, exist_ok=True)
                tag.write_bytes(_TAG)
        except OSError as error:
            logger.warning("the cache cannot be written: %s", error)
            return False
        return os.access(self.root, os.W_OK)

    @contextmanager
    def _temporary(self) -> Iterator[tuple[Path, BinaryIO]]:
        folder = self.root / "tmp"
        path = folder / f"{os.getpid()}-{secrets.token_hex(8)}"
        with os_errors(path):
            folder.mkdir(mode=0o700, exist_ok=True)
            try:
                with os.fdopen(os.open(path, _CREATE_FLAGS, 0o600), "w+b") as file:
                    yield path, file
            finally:
                path.unlink(missing_ok=True)

    def _publish(self, path: Path, name: str) -> None:
        final = Path(self._path(name))
        final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.replace(final)

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
        if not self.index.is_known():
            self.index.rebuild(self._sizes())
        if self.index.reserve(_FOLDER + hex_of(digest), size) > self.limit:
            self.prune(self.limit * 9 // 10, keep=_FOLDER + hex_of(digest))

    def entries(self) -> list[Entry]:
        """Return what is kept, least recently used first."""
        if not self.root.is_dir():
            return []
        pinned = self.index.pinned()
        files = [
            Entry(PREFIX + path.name, stat.st_size, stat.st_mtime, path.name in pinned)
            for path, stat in self._scan()
        ]
        folders = [
            Entry(PREFIX + kept.name, kept.size, kept.used, kept.name in pinned, is_folder=True)
            for kept in self.folders.entries()
        ]
        return sorted(files + folders, key=lambda each: each.used)

    def size(self) -> int:
        """Return the bytes of all files together."""
        return sum(self._sizes().values())

    def prune(self, limit: int, *, keep: str = "") -> list[Entry]:
        """Remove what was used least recently until the rest fits; return what was removed.

        Args:
            limit: Bytes that may stay.
            keep: Name of a file that is about to be written and counts already.
        """
        self._remove_stale_temporaries()
        entries = self.entries()
        total = self.index.rebuild({each.name: each.size for each in entries})
        removed = []
        for entry in entries:
            if total <= limit:
                break
            if entry.pinned or entry.name == keep:
                continue
            if entry.is_folder:
                if not self.folders.remove(hex_of(entry.digest)):
                    continue  # a process uses it
                self.index.forget(entry.name)
            else:
                self.remove(entry.digest)
            total -= entry.size
            removed.append(entry)
        return removed

    def remove(self, digest: str) -> None:
        """Remove one file, if it is here."""
        _remove(self.path(digest))
        self.index.forget(hex_of(digest))

    def pin(self, digest: str, *, on: bool = True) -> None:
        """Keep a file from eviction, or no longer."""
        self.index.pin(hex_of(digest), on=on)

    def verify(self) -> list[str]:
        """Read every file; remove those whose bytes are not what they are named by.

        Returns:
            The digests of what was removed.
        """
        damaged = []
        for path, _ in list(self._scan()):
            if digest_of_file(path) != PREFIX + path.name:
                self.remove(PREFIX + path.name)
                damaged.append(PREFIX + path.name)
        return damaged

    def clean(self) -> int:
        """Remove everything; return the bytes that were freed."""
        freed = 0
        for path, stat in list(self._scan()):
            self.remove(PREFIX + path.name)
            freed += stat.st_size
        for kept in self.folders.entries():
            if self.folders.remove(kept.name):
                self.index.forget(_FOLDER + kept.name)
                freed += kept.size
        return freed

    def _sizes(self) -> dict[str, int]:
        files = {path.name: stat.st_size for path, stat in self._scan()}
        return files | {_FOLDER + kept.name: kept.size for kept in self.folders.entries()}

    def _scan(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in Path(self._blobs).glob("??/*"):
            try:
                yield path, path.stat()
            except FileNotFoundError:  # evicted by another process
                continue

    def _remove_stale_temporaries(self) -> None:
        """Remove temporary files whose writer died."""
        for path in (self.root / "tmp").glob("*"):
            try:
                if time.time() - path.stat().st_mtime > _TEMPORARY_MAX_AGE:
                    remove_tree(path) if path.is_dir() else _remove(path)
            except FileNotFoundError:
                continue

    # ---- aliases ---------------------------------------------------------------------------

    def find_alias(self, alias: str) -> str | None:
        """Return what was remembered under an alias, or None."""
        return self.index.find_alias(alias) if (self.root / "index").is_dir() else None

    def set_alias(self, alias: str, value: str) -> None:
        """Remember a fact such as "repository, path, commit -> digest"."""
        if self._prepare():
            self.index.set_alias(alias, value)


def _read(path: str) -> Buffer:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        stat = os.fstat(descriptor)
        if time.time() - stat.st_mtime > _ATIME_RESOLUTION:
            _touch(descriptor)
        if stat.st_size < _MMAP_THRESHOLD:
            return os.read(descriptor, stat.st_size)
        return memoryview(mmap.mmap(descriptor, stat.st_size, prot=mmap.PROT_READ))
    finally:
        os.close(descriptor)


def _touch(descriptor: int) -> None:
    try:
        os.utime(descriptor)
    except OSError:  # a read-only cache still serves
        logger.debug("cannot record a use of the cache")


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("cannot remove a file of the cache: %s", error)


def _download_uncached(digest: str, download: Callable[[BinaryIO], object]) -> Fetched:
    """Download into memory, for a cache that is too small, full or not writable."""
    from io import BytesIO

    memory = BytesIO()
    target = Verifying(memory)
    source = download(cast("BinaryIO", target))
    target.check(digest, where=source)
    return Fetched(memory.getbuffer(), hit=False, downloaded=target.size)


if hasattr(os, "register_at_fork"):
    # Another thread of the parent may have held it.
    os.register_at_fork(after_in_child=_index_lock._at_fork_reinit)  # type: ignore[attr-defined]  # noqa: SLF001
