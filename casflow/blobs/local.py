"""A blob store in a local folder.

Owns the files below one root. Invariant: an object appears under its key whole or not at all and
is on the disk, with every folder that leads to it, when the call returns; `create` is a hard link,
so exactly one of any number of racing processes wins; what is half-written lies in `.casflow/tmp/`
only and is never listed. Below the root no link is followed: each folder is opened within its
parent, and what is no regular file (a link, a FIFO, a device) is neither listed, read nor removed.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from stat import S_IMODE, S_ISREG
from typing import TYPE_CHECKING, BinaryIO

from casflow.blobs.base import BlobStore, ObjectInfo, check_key
from casflow.config import make_folder
from casflow.errors import ConfigError, from_os, os_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TEMPORARY = ".casflow/tmp"
_UNLISTED = f"{TEMPORARY}/"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not block
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

logger = logging.getLogger(__name__)


class LocalBlobStore(BlobStore):
    """Bytes by key below a folder, which is made at the first write.

    Args:
        root: The folder.
    """

    parallel = 1  # one disk; threads would only wait for each other
    creates_once = True  # the kernel sees to it

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.url = str(self.root)
        self._durable: set[str] = set()  # folders whose names this process has put on the disk

    def get(self, key: str) -> bytes:
        """Return an object's bytes."""
        with os_errors(self._path(key)), self._opened(key) as file:
            return file.readall()

    def copy_to(self, key: str, target: BinaryIO, size: int | None = None) -> None:
        """Write an object's bytes to a file, in pieces."""
        del size  # it takes no request here
        with os_errors(self._path(key)), self._opened(key) as file:
            shutil.copyfileobj(file, target, 1 << 20)

    def get_range(self, key: str, start: int, size: int) -> bytes:
        """Return some bytes of an object."""
        with os_errors(self._path(key)), self._opened(key) as file:
            file.seek(start)
            return file.read(size)

    def find(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None when there is none."""
        with os_errors(self._path(key)):
            try:
                with self._parent(key) as (folder, name):
                    stat = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                return None
        return _object_info(key, stat) if S_ISREG(stat.st_mode) else None

    def create(self, key: str, data: bytes | Path) -> None:
        """Write an object that must not exist yet."""
        with os_errors(self._path(key)), self._written(key, data) as (temporary, folder, name):
            os.link(
                temporary[1],
                name,
                src_dir_fd=temporary[0],
                dst_dir_fd=folder,
                follow_symlinks=False,
            )
            os.fsync(folder)

    def create_empty(self, keys: Sequence[str]) -> None:
        """Create empty objects, as many as are missing of them; each folder is synced once."""
        for some in _by_folder(keys):
            with os_errors(self._path(some[0])), self._making(some[0]) as (folder, _):
                for key in some:
                    with suppress(FileExistsError):
                        os.close(os.open(key.rpartition("/")[2], _NEW, 0o666, dir_fd=folder))
                os.fsync(folder)

    def put(self, key: str, data: bytes | Path) -> None:
        """Write an object over what may be there."""
        with os_errors(self._path(key)), self._written(key, data) as (temporary, folder, name):
            os.replace(temporary[1], name, src_dir_fd=temporary[0], dst_dir_fd=folder)
            os.fsync(folder)

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when there is none."""
        with (
            os_errors(self._path(key)),
            suppress(FileNotFoundError, NotADirectoryError),
            self._parent(key) as (folder, name),
        ):
            os.unlink(name, dir_fd=folder)

    def delete_many(self, keys: Sequence[str]) -> None:
        """Remove objects; each folder is opened once."""
        for some in _by_folder(keys):
            with (
                os_errors(self._path(some[0])),
                suppress(FileNotFoundError, NotADirectoryError),
                self._parent(some[0]) as (folder, _),
            ):
                for key in some:
                    with suppress(FileNotFoundError):
                        os.unlink(key.rpartition("/")[2], dir_fd=folder)

    def drop_leftovers(self, seconds: float) -> int:
        """Remove temporary files whose writer died."""
        dropped = 0
        with (
            os_errors(self._path(TEMPORARY)),
            suppress(FileNotFoundError, NotADirectoryError),
            self._parent(f"{TEMPORARY}/x") as (folder, _),
        ):
            for name in os.listdir(folder):  # noqa: PTH208 - below a descriptor
                with suppress(FileNotFoundError):
                    stat = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    if S_ISREG(stat.st_mode) and time.time() - stat.st_mtime > seconds:
                        os.unlink(name, dir_fd=folder)
                        dropped += 1
        return dropped

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with `prefix`, in the order of their keys."""
        folder, slash, start = prefix.rpartition("/")
        if folder:
            check_key(folder)
        return self._listed(folder + slash, start)

    def _listed(self, base: str, start: str) -> Iterator[ObjectInfo]:
        with os_errors(f"{self.root}/{base}"):
            try:
                folder = self._open_folder(base.split("/")[:-1])
            except (FileNotFoundError, NotADirectoryError):
                return
        try:
            yield from self._walk(folder, base, start)
        finally:
            os.close(folder)

    def _walk(self, folder: int, base: str, start: str = "") -> Iterator[ObjectInfo]:
        """Yield what lies in an open folder and below, where names in it begin with `start`."""
        with os_errors(f"{self.root}/{base}"):
            names = _names(folder, start)
        for name, entry in names:
            key = base + name
            if not name.endswith("/"):
                if (info := self._info(entry, key)) is not None:
                    yield info
            elif key != _UNLISTED:
                with os_errors(f"{self.root}/{key}"):
                    try:
                        below = os.open(name[:-1], _FOLDER, dir_fd=folder)
                    except (FileNotFoundError, NotADirectoryError):  # gone, or changed, since
                        continue
                try:
                    yield from self._walk(below, key)
                finally:
                    os.close(below)

    def _info(self, entry: os.DirEntry[str], key: str) -> ObjectInfo | None:
        try:
            stat = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # deleted while we were listing
            return None
        except OSError as error:
            raise from_os(error, self._path(key)) from error
        if not S_ISREG(stat.st_mode):
            logger.warning("%s is no regular file: it is left alone", self._path(key))
            return None
        return _object_info(key, stat)

    # ---- below the root --------------------------------------------------------------------

    def _path(self, key: str) -> str:
        return f"{self.root}/{check_key(key)}"

    @contextmanager
    def _parent(self, key: str) -> Iterator[tuple[int, str]]:
        """Open the folder that a key lies in; give its descriptor, and the key's name in it."""
        *parts, name = check_key(key).split("/")
        folder = self._open_folder(parts)
        try:
            yield folder, name
        finally:
            os.close(folder)

    def _open_folder(self, parts: Sequence[str], *, make: bool = False) -> int:
        """Open a folder below the root, part by part, without following a link."""
        if make:
            self._make_root()
        folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            path = ""
            for part in parts:
                path += f"{part}/"
                if make and path not in self._durable:
                    with suppress(FileExistsError):
                        mode = S_IMODE(os.fstat(folder).st_mode) & 0o777  # private in private
                        os.mkdir(part, mode, dir_fd=folder)
                below = os.open(part, _FOLDER, dir_fd=folder)
                if make and path not in self._durable:
                    os.fsync(folder)  # also what another process made and has not synced yet
                    self._durable.add(path)
                os.close(folder)
                folder = below
        except BaseException:
            os.close(folder)
            raise
        return folder

    def _make_root(self) -> None:
        if "" in self._durable and self.root.is_dir():
            return
        self._durable.clear()  # it was removed, perhaps with all that was in it
        missing = [each for each in (self.root, *self.root.parents) if not each.exists()]
        make_folder(self.root, private=False)
        for each in missing:
            _sync_folder(each.parent)
        self._durable.add("")

    @contextmanager
    def _opened(self, key: str) -> Iterator[FileIO]:
        with self._parent(key) as (folder, name):
            descriptor = os.open(name, _READ, dir_fd=folder)
        with FileIO(descriptor) as file:
            if not S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError("no regular file", where=self._path(key))
            yield file

    @contextmanager
    def _written(self, key: str, data: bytes | Path) -> Iterator[tuple[tuple[int, str], int, str]]:
        """Write bytes to a temporary file of the same file system and make room for the key.

        Gives folder and name of the temporary file, and folder and name that the key stands for.
        """
        temporary = f"{os.getpid()}-{secrets.token_hex(8)}"
        with (
            self._making(f"{TEMPORARY}/{temporary}") as (beside, _),
            self._making(key) as (folder, name),
        ):
            try:
                descriptor = os.open(temporary, _NEW, 0o666, dir_fd=beside)
                with os.fdopen(descriptor, "wb") as file:
                    _fill(file, data)
                    file.flush()
                    os.fsync(file.fileno())
                yield (beside, temporary), folder, name
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=beside)

    @contextmanager
    def _making(self, key: str) -> Iterator[tuple[int, str]]:
        """Open the folder of a key, made if need be; a folder that was removed is made again."""
        try:
            folder = self._open_folder(key.split("/")[:-1], make=True)
        except FileNotFoundError:
            self._durable.clear()
            folder = self._open_folder(key.split("/")[:-1], make=True)
        try:
            yield folder, key.rpartition("/")[2]
        finally:
            os.close(folder)


def _by_folder(keys: Sequence[str]) -> list[list[str]]:
    """Return keys by the folders that they lie in."""
    found: dict[str, list[str]] = {}
    for key in keys:
        found.setdefault(check_key(key).rpartition("/")[0], []).append(key)
    return list(found.values())


def _fill(file: BinaryIO, data: bytes | Path) -> None:
    if isinstance(data, bytes):
        file.write(data)
        return
    with data.open("rb") as source:
        shutil.copyfileobj(source, file, 1 << 20)


def _names(folder: int, start: str) -> list[tuple[str, os.DirEntry[str]]]:
    """Return a folder's entries in the order of keys: `a-b` comes before what is below `a/`."""
    with os.scandir(folder) as entries:
        return sorted(
            (f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name, entry)
            for entry in entries
            if entry.name.startswith(start)
        )


def _object_info(key: str, stat: os.stat_result) -> ObjectInfo:
    # A file gets its content before its name, by a link that changes the later of the two times.
    changed = stat.st_ctime
    modified = max(stat.st_mtime, changed)
    return ObjectInfo(key, stat.st_size, modified, stat.st_ino << 64 | stat.st_ctime_ns)


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut, where the system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
