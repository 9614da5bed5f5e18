"""Blobs by digest in plain files on this machine.

Owns the cache's folder. Invariant: what is returned is a private copy of a file's bytes that was
found to have the digest that it is named by; a file that has not is removed and counts as absent,
so damage heals; files appear by rename only, so no lock is needed for correctness; and the files
together stay within the limit. Everything here may be deleted at any time, and may fail at any
time: then bytes are downloaded into memory. A folder that others could write is not used at all,
and nothing is removed through a link.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, cast

from casflow.cache import outages
from casflow.cache.folders import Folders, remove_tree
from casflow.cache.locks import lock
from casflow.config import make_folder
from casflow.digests import PREFIX, Buffer, digest_of, digest_of_file, hex_of, verify
from casflow.errors import IntegrityError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from casflow.cache.index import Index

logger = logging.getLogger(__name__)

_ATIME_RESOLUTION = 3600.0  # seconds; a use is recorded no finer than this
_TEMPORARY_MAX_AGE = 3600.0  # seconds after which a temporary file has no writer any more
_CREATE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not wait
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ONE_READ = 1 << 30  # bytes that one call may be asked for
_NAME = re.compile("[0-9a-f]{64}")
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
        self._blobs = f"{self.root}/blobs"
        self._temporary = str(self.root / "tmp")
        self._open_index: tuple[int, Index] | None = None
        self._trusted: bool | None = None

    def path(self, digest: str) -> Path:
        """Return where the file of a digest is, or would be."""
        return Path(self._path(hex_of(digest)))

    def _path(self, name: str) -> str:
        return f"{self._blobs}/{name[:2]}/{name}"

    # ---- reading ---------------------------------------------------------------------------

    def find(self, digest: str, size: int | None = None) -> Buffer | None:
        """Return the bytes of a digest, verified, or None when they are not here.

        Args:
            digest: What is wanted.
            size: Its bytes, if they are known; a file of more is not read.
        """
        path = self._path(hex_of(digest))
        if not self._is_trusted():
            return None
        try:
            data = _read(path, size)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            outages.report(self.root, error)
            return None
        if data is not None and digest_of(data) == digest:
            return data
        logger.warning("damaged file in the cache is dropped: %s", path)
        _remove(Path(path))
        return None

    def _is_trusted(self) -> bool:
        """Tell whether nobody but this user and root could have written what is here."""
        if self._trusted is None:
            try:
                found = self.root.stat()
            except OSError:
                return True  # nothing is here yet, or nothing that could be read
            ours = not hasattr(os, "geteuid") or found.st_uid in (os.geteuid(), 0)
            links = [each for each in _FOLDERS if (self.root / each).is_symlink()]
            self._trusted = ours and not found.st_mode & 0o022 and not links
        if not self._trusted:
            outages.report(self.root, "others own it or can write to it, or a link is in it")
        return self._trusted

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
        if not self._prepare():
            return _download_uncached(digest, size, download)
        with lock(self.root / "locks", hex_of(digest)):
            data = self.find(digest, size)
            if data is not None:
                return Fetched(data, hit=True)
            return self._download(digest, size, download)

    # ---- writing ---------------------------------------------------------------------------

    def put(self, digest: str, data: Buffer) -> None:
        """Keep bytes that are at hand already."""
        self._download(digest, len(data), lambda target: target.write(data))

    def _download(self, digest: str, size: int, download: Callable[[BinaryIO], object]) -> Fetched:
        if not (self._prepare() and self._reserve(digest, size)):
            return _download_uncached(digest, size, download)
        path = f"{self._temporary}/{os.getpid()}-{secrets.token_hex(8)}"
        try:
            descriptor = os.open(path, _CREATE_FLAGS, 0o600)
        except OSError as error:
            outages.report(self.root, error)
            return _download_uncached(digest, size, download)
        with os.fdopen(descriptor, "w+b", buffering=0) as file:
            target = _Target(cast("BinaryIO", file), size)
            try:
                source = download(cast("BinaryIO", target))
                data = target.read_all()
                verify(data, digest, where=source)
                self._publish(path, hex_of(digest))
            except BaseException as error:
                _remove(Path(path))
                if target.failure is None or not isinstance(error, Exception):
                    raise
                outages.report(self.root, target.failure)
                return _download_uncached(digest, size, download)
        return Fetched(data, hit=False, downloaded=target.size)

    def _publish(self, path: str, name: str) -> None:
        """Give a complete file its name; where that fails, there is no file."""
        final = self._path(name)
        try:
            try:
                os.rename(path, final)  # noqa: PTH104 - hot
            except FileNotFoundError:
                Path(final).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.rename(path, final)  # noqa: PTH104
        except OSError as error:
            outages.report(self.root, error)
            _remove(Path(path))

    def _reserve(self, digest: str, size: int) -> bool:
        """Count a file that will come; return False if it is too big to keep, or uncountable."""
        if size > self.limit // 2:
            return False
        return self._count(hex_of(digest), size)

    def _count(self, name: str, size: int) -> bool:
        """Count what will come, and evict what is too much; return False if it cannot be."""
        if not self.index.is_known():
            self.index.rebuild(self._sizes())
        counted = self.index.reserve(name, size)
        if counted is not None and counted > self.limit:
            self.prune(self.limit * 9 // 10, keep=name)
        return counted is not None

    def _prepare(self) -> bool:
        """Make the folder; return False, and report it, when it cannot be written."""
        tag = self.root / "CACHEDIR.TAG"
        try:
            if not tag.exists():
                make_folder(self.root)
                tag.write_bytes(_TAG)
            if not self._is_trusted():
                return False
            temporary = self.root / "tmp"
            temporary.mkdir(mode=0o700, exist_ok=True)
            if temporary.is_symlink() or not os.access(temporary, os.W_OK):
                raise PermissionError(errno.EACCES, "not a folder that can be written", temporary)
        except OSError as error:
            outages.report(self.root, error)
            return False
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
        self._count(_FOLDER + hex_of(digest), size)

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
            try:
                sound = digest_of_file(path) == PREFIX + path.name
            except OSError:
                sound = False
            if not sound:
                self.remove(PREFIX + path.name)
                damaged.append(PREFIX + path.name)
        return damaged

    def clean(self) -> int:
        """Remove everything; return the bytes that were freed."""
        freed = 0
        for path, found in list(self._scan()):
            self.remove(PREFIX + path.name)
            freed += found.st_size
        for kept in self.folders.entries():
            if self.folders.remove(kept.name):
                self.index.forget(_FOLDER + kept.name)
                freed += kept.size
        return freed

    def _sizes(self) -> dict[str, int]:
        files = {path.name: stat.st_size for path, stat in self._scan()}
        return files | {_FOLDER + kept.name: kept.size for kept in self.folders.entries()}

    def _scan(self) -> Iterator[tuple[Path, os.stat_result]]:
        for folder in _entries_in(self._blobs):
            for entry in _entries_in(folder.path):
                if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    with suppress(OSError):  # evicted by another process
                        yield Path(entry.path), entry.stat(follow_symlinks=False)

    def _remove_stale_temporaries(self) -> None:
        """Remove temporary files whose writer died."""
        for entry in _entries_in(self._temporary):
            with suppress(OSError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > _TEMPORARY_MAX_AGE:
                    path = Path(entry.path)
                    remove_tree(path) if entry.is_dir(follow_symlinks=False) else _remove(path)

    # ---- aliases ---------------------------------------------------------------------------

    def find_alias(self, alias: str) -> str | None:
        """Return what was remembered under an alias, or None."""
        if not (self._is_trusted() and (self.root / "index").is_dir()):
            return None
        return self.index.find_alias(alias)

    def set_alias(self, alias: str, value: str) -> None:
        """Remember a fact such as "repository, path, commit -> digest"."""
        if self._prepare():
            self.index.set_alias(alias, value)


class _Target:
    """The file that a download is written to: bounded, and it keeps what the disk answered.

    Attributes:
        size: Bytes so far.
        failure: The error of the file, of which the download is innocent.
    """

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._at = 0
        self.size = 0
        self.failure: OSError | None = None

    def seek(self, position: int) -> int:
        """Go to where the next piece belongs."""
        self._at = position
        return position

    def write(self, piece: Buffer) -> int:
        """Write the next piece.

        Raises:
            IntegrityError: There are more bytes than were registered.
        """
        view = memoryview(piece)
        if self._at + len(view) > self._limit:
            raise IntegrityError(f"there is more than the {self._limit} bytes that were registered")
        try:
            self._file.seek(self._at)
            while view:
                written = self._file.write(view)
                self._at += written
                view = view[written:]
        except OSError as error:
            self.failure = error
            raise
        self.size = max(self.size, self._at)
        return len(piece)

    def read_all(self) -> bytes:
        """Return all that was written."""
        try:
            self._file.seek(0)
            return self._file.read()
        except OSError as error:
            self.failure = error
            raise


def _read(path: str, limit: int | None) -> bytes | None:
    """Return the bytes of a regular file; None when it is another thing, or larger."""
    descriptor = os.open(path, _READ_FLAGS)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or (limit is not None and found.st_size > limit):
            return None
        if time.time() - found.st_mtime > _ATIME_RESOLUTION:
            _touch(descriptor)
        return file.read(found.st_size) if found.st_size < _ONE_READ else file.readall()


def _entries_in(path: str) -> list[os.DirEntry[str]]:
    """Return what a folder holds; nothing when it is a link, or cannot be read."""
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            return []
        with os.scandir(path) as found:
            return list(found)
    except OSError:
        return []


def _touch(descriptor: int) -> None:
    try:
        os.utime(descriptor)
    except OSError:  # a read-only cache still serves
        logger.debug("cannot record a use of the cache")


def _remove(path: Path) -> None:
    try:
        folder = os.open(path.parent, _FOLDER_FLAGS)
    except OSError:
        return
    try:
        os.unlink(path.name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        logger.warning("cannot remove a file of the cache: %s", error)
    finally:
        os.close(folder)


def _download_uncached(digest: str, size: int, download: Callable[[BinaryIO], object]) -> Fetched:
    """Download into memory, for a cache that is too small, or cannot be used."""
    target = _Target(BytesIO(), size)
    source = download(cast("BinaryIO", target))
    data = target.read_all()
    verify(data, digest, where=source)
    return Fetched(data, hit=False, downloaded=target.size)


if hasattr(os, "register_at_fork"):
    # Another thread of the parent may have held it.
    os.register_at_fork(after_in_child=_index_lock._at_fork_reinit)  # type: ignore[attr-defined]  # noqa: SLF001
