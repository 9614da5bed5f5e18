"""A blob store in a local folder.

Owns the files below one root. Invariant: an object appears under its key whole or not at all and
is on the disk when the call returns; `create` is a hard link, so exactly one of any number of
racing processes wins; what is half-written lies in `.casflow/tmp/` only and is never listed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, BinaryIO

from casflow.blobs.base import BlobStore, ObjectInfo, check_key
from casflow.config import make_folder
from casflow.errors import from_os, os_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPORARY = ".casflow/tmp"
_UNLISTED = f"{TEMPORARY}/"


class LocalBlobStore(BlobStore):
    """Bytes by key below a folder, which is made at the first write.

    Args:
        root: The folder.
    """

    parallel = 1  # one disk; threads would only take turns

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.url = str(self.root)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def get(self, key: str) -> bytes:
        """Return an object's bytes."""
        path = f"{self.root}/{check_key(key)}"
        with os_errors(path), FileIO(path) as file:
            return file.readall()

    def copy_to(self, key: str, target: BinaryIO, size: int | None = None) -> None:
        """Write an object's bytes to a file, in pieces."""
        del size  # it takes no request here
        path = self._path(key)
        with os_errors(path), path.open("rb") as file:
            shutil.copyfileobj(file, target, 1 << 20)

    def find(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None when there is none."""
        path = self._path(key)
        with os_errors(path):
            try:
                stat = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return _object_info(key, stat) if S_ISREG(stat.st_mode) else None

    def create(self, key: str, data: bytes | Path) -> None:
        """Write an object that must not exist yet."""
        path = self._path(key)
        with os_errors(path), self._written(path, data) as temporary:
            os.link(temporary, path)
            _sync_folder(path.parent)

    def put(self, key: str, data: bytes) -> None:
        """Write an object over what may be there."""
        path = self._path(key)
        with os_errors(path), self._written(path, data) as temporary:
            temporary.replace(path)
            _sync_folder(path.parent)

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when there is none."""
        path = self._path(key)
        with os_errors(path):
            path.unlink(missing_ok=True)

    def drop_leftovers(self, seconds: float) -> int:
        """Remove temporary files whose writer died."""
        dropped = 0
        for path in (self.root / TEMPORARY).glob("*"):
            with os_errors(path), suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > seconds:
                    path.unlink()
                    dropped += 1
        return dropped

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with `prefix`, in the order of their keys."""
        folder, slash, start = prefix.rpartition("/")
        if folder:
            check_key(folder)
        return self._walk(folder + slash, start)

    def _walk(self, base: str, start: str = "") -> Iterator[ObjectInfo]:
        """Yield what lies in a folder and below, where names in it begin with `start`."""
        folder = f"{self.root}/{base}"
        with os_errors(folder):
            try:
                names = _names(folder, start)
            except (FileNotFoundError, NotADirectoryError):
                return
        for name, entry in names:
            key = base + name
            if not name.endswith("/"):
                if (info := _info(entry, key)) is not None:
                    yield info
            elif key != _UNLISTED:
                yield from self._walk(key)

    @contextmanager
    def _written(self, path: Path, data: bytes | Path) -> Iterator[Path]:
        """Write bytes to a temporary file of the same file system and make room for the key."""
        folder = self.root / TEMPORARY
        make_folder(folder, private=False)
        make_folder(path.parent, private=False)
        temporary = folder / f"{os.getpid()}-{secrets.token_hex(8)}"
        try:
            with temporary.open("xb") as file:
                _fill(file, data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


def _fill(file: BinaryIO, data: bytes | Path) -> None:
    if isinstance(data, bytes):
        file.write(data)
        return
    with data.open("rb") as source:
        shutil.copyfileobj(source, file, 1 << 20)


def _names(folder: str, start: str) -> list[tuple[str, os.DirEntry[str]]]:
    """Return a folder's entries in the order of keys: `a-b` comes before what is below `a/`."""
    with os.scandir(folder) as entries:
        return sorted(
            (f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name, entry)
            for entry in entries
            if entry.name.startswith(start)
        )


def _info(entry: os.DirEntry[str], key: str) -> ObjectInfo | None:
    try:
        stat = entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # deleted while we were listing
        return None
    except OSError as error:
        raise from_os(error, entry.path) from error
    return _object_info(key, stat)


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
