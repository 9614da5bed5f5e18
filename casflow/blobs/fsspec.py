"""A blob store over any fsspec filesystem; the clouds' stores are small subclasses of it.

Owns what the object stores have in common: fresh answers, creation with one winner, transfers in
pieces, one filesystem per process. Invariant: no listing cache is ever asked; a lost answer never
makes a writer lose its own object or win somebody else's, because each creation leaves its own
mark on the object and, when in doubt, looks whose mark is there.
"""

from __future__ import annotations

import os
import time
from asyncio import run_coroutine_threadsafe
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO

from casflow.blobs.base import BlobStore, ObjectInfo, check_key
from casflow.blobs.concurrent import run_concurrently
from casflow.blobs.failures import ContendedError, RangeError, translate
from casflow.blobs.fork_safety import open_lock
from casflow.blobs.progress import moved, transfer
from casflow.blobs.ranges import SharedFile, read_chunk, split_range
from casflow.errors import (
    CasflowError,
    ConfigError,
    ConflictError,
    NotFoundError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from contextlib import AbstractContextManager

PIECE = 8 * 2**20  # bytes of one request of a big transfer
PARALLEL = 4  # requests of a big upload that are under way at once
MARK = "casflowwriter"  # name of the metadata that tells who created an object; proxies drop "_"
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds between tries when writers meet
_one_creates = Lock()


class FsspecBlobStore(BlobStore):
    """Bytes by key under one root of an fsspec filesystem.

    Args:
        filesystem: The filesystem, or a function (picklable, if the store shall be) that opens it.
        root: Path of the root in it: a folder, or a bucket with or without a prefix.
        url: Where the root is, for messages; must hold no credential.
    """

    def __init__(self, filesystem: Any | Callable[[], Any], root: str, url: str) -> None:
        self.url = url
        self._root = root.rstrip("/")
        self._open = filesystem if callable(filesystem) else _reopener(filesystem)
        self._process: int | None = None
        self._filesystem: Any = None

    @property
    def fs(self) -> Any:
        """The filesystem of this process; one opened before a fork is not used after it."""
        if self._process != os.getpid():
            with open_lock, self._border(self.url):
                if self._process != os.getpid():
                    self._filesystem = self._open()
                    self._process = os.getpid()
        return self._filesystem

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_process": None, "_filesystem": None}

    def get(self, key: str) -> bytes:
        """Return an object's bytes."""
        with self._border(self.location(key)):
            return self._read(self._path(key))

    def copy_to(self, key: str, target: BinaryIO, size: int | None = None) -> None:
        """Write an object's bytes to a file in constant memory, parts of a big one side by side."""
        if size is not None and size > PIECE:
            try:
                self._copy_parts(key, target, 0, size)
            except (UnavailableError, RangeError):
                info = self.find(key)
                if info is None or info.size >= size:
                    raise
                target.seek(0)  # it is cut short: who verifies the bytes shall see those there are
            else:
                return
        start, size = self._download_start(key, target)
        if start < size:
            self._copy_parts(key, target, start, size)

    def get_range(self, key: str, start: int, size: int) -> bytes:
        """Return some bytes of an object, in one request."""
        if not size:
            return b""
        try:
            with self._border(self.location(key)):
                data: bytes = self.fs.cat_file(self._path(key), start=start, end=start + size)
        except RangeError:  # it ends before
            return b""
        return data

    def find(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None when there is none."""
        try:
            with self._border(self.location(key)):
                return self._object_info(key, self._path(key))
        except NotFoundError:
            return None

    def create(self, key: str, data: bytes | Path) -> None:
        """Write an object that must not exist yet: whole or not at all, and one winner only."""
        path, mark = self._path(key), token_hex(16)
        for pause in (*_PAUSES, None):
            try:
                with self._border(self.location(key)), self._upload_of(data):
                    return self._write_new(path, data, mark)
            except (ConflictError, NotFoundError, UnavailableError) as error:
                if self._is_ours(path, mark, size_of(data)):
                    return None
                if isinstance(error, NotFoundError):
                    raise self._rootless() from error
                if pause is None or not isinstance(error, ContendedError):
                    raise
                time.sleep(pause)
        return None

    def put(self, key: str, data: bytes | Path) -> None:
        """Write an object, whole or not at all, over what may be there."""
        try:
            with self._border(self.location(key)), self._upload_of(data):
                self._overwrite(self._path(key), data)
        except NotFoundError as error:
            raise self._rootless() from error

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when there is none."""
        try:
            with self._border(self.location(key)):
                self.fs.rm_file(self._path(key))
        except NotFoundError:
            return

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with `prefix`, in the order of their keys."""
        try:
            with self._border(self.location(prefix)):
                yield from self._entries(prefix)
        except NotFoundError as error:
            raise self._rootless() from error

    # What a cloud's store replaces.

    def _read(self, path: str) -> bytes:
        data: bytes = self.fs.cat_file(path)
        return data

    def _object_info(self, key: str, path: str) -> ObjectInfo | None:
        info = self.fs.info(path)
        return None if info["type"] == "directory" else _object_info(key, info)

    def _write_new(self, path: str, data: bytes | Path, mark: str) -> None:
        """Create an object exclusively; `mark` is for filesystems whose answers can get lost."""
        del mark
        with _one_creates:  # in this process; a filesystem without a service has no more to offer
            self._send(path, data, mode="create")

    def _overwrite(self, path: str, data: bytes | Path) -> None:
        self._send(path, data)

    def _pieces(self, path: str, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from `start` to before `end` in order, in pieces of any size."""
        while start < end:
            piece: bytes = self.fs.cat_file(path, start=start, end=min(start + PIECE, end))
            if not piece:
                return
            yield piece
            start += len(piece)

    def _mark_of(self, path: str) -> tuple[str | None, int]:
        """Return the mark of whoever created an object, and its bytes."""
        del path
        return None, 0

    def _entries(self, prefix: str) -> Iterator[ObjectInfo]:
        folder = self._root + "/" + prefix.rpartition("/")[0]
        try:
            found = self.fs.find(folder.rstrip("/"), detail=True)
        except FileNotFoundError:
            return
        keys = {str(path).lstrip("/")[len(self._root.lstrip("/")) + 1 :]: path for path in found}
        for key in sorted(key for key in keys if key.startswith(prefix)):
            yield _object_info(key, found[keys[key]])

    # What they share.

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"

    def _upload_of(self, data: bytes | Path) -> AbstractContextManager[None]:
        return transfer(f"uploading to {self.url}", size_of(data))

    def _send(self, path: str, data: bytes | Path, **options: Any) -> None:
        if isinstance(data, Path):
            self.fs.put_file(str(data), path, **options)
        else:
            self.fs.pipe_file(path, data, **options)

    def _download_start(self, key: str, target: BinaryIO) -> tuple[int, int]:
        """Write an object's first piece; return its bytes, and those of the whole object."""
        first = self.get_range(key, 0, PIECE)
        size = len(first)
        if size == PIECE:
            if (info := self.find(key)) is None:
                raise NotFoundError("the object went away", where=self.location(key))
            size = info.size
        target.write(first)
        return len(first), size

    def _copy_parts(self, key: str, target: BinaryIO, start: int, size: int) -> None:
        """Write all that follows `start`, and comes before `size`."""
        file, parts = SharedFile(target), split_range(start, size)
        try:
            with transfer(f"downloading from {self.url}", size):
                moved(start)
                run_concurrently(*(partial(self._copy_part, key, *part, file) for part in parts))
        except NotFoundError as error:
            if start == 0 and not file.is_begun:
                raise
            what = "the object went away while it was read"
            raise UnavailableError(what, where=self.location(key)) from error

    def _copy_part(self, key: str, start: int, end: int, file: SharedFile) -> None:
        """Write a part to its place; when the answer breaks off, ask for the rest of it."""
        where = self.location(key)
        for pause in (*_PAUSES[-2:], None):
            broken = UnavailableError("the answer is cut short", where=where)
            try:
                with self._border(where):
                    for piece in self._pieces(self._path(key), start, end):
                        file.write(piece, start)
                        start += len(piece)
            except UnavailableError as error:
                broken = error
            if start == end:
                return
            if pause is None:
                raise broken
            time.sleep(pause)

    def _streamed(
        self,
        read: Callable[[int], Awaitable[bytes]],
        close: Callable[[], object] = lambda: None,
    ) -> Iterator[bytes]:
        """Yield the body of an answer while it comes; what follows is read meanwhile."""
        loop = self.fs.loop
        coming = run_coroutine_threadsafe(read_chunk(read), loop)
        try:
            while piece := coming.result():
                coming = run_coroutine_threadsafe(read_chunk(read), loop)
                yield piece
        finally:
            coming.cancel()
            loop.call_soon_threadsafe(close)

    def _is_ours(self, path: str, mark: str, size: int) -> bool:
        """Tell whether an object is what we created; ours is removed if its size is wrong."""
        try:
            with self._border(path):
                its_mark, its_size = self._mark_of(path)
                if its_mark == mark and its_size != size:
                    self.fs.rm_file(path)
                return (its_mark, its_size) == (mark, size)
        except CasflowError:
            return False

    def _rootless(self) -> ConfigError:
        hint = "create it or correct its name"
        return ConfigError("there is no such bucket or container", where=self.url, hint=hint)

    @contextmanager
    def _border(self, where: str) -> Iterator[None]:
        try:
            yield
        except (CasflowError, GeneratorExit):
            raise
        except Exception as error:
            raise translate(error, where=where) from error


def _reopener(filesystem: Any) -> Callable[[], Any]:
    fresh = {"use_listings_cache": False, "skip_instance_cache": True}
    options = {**filesystem.storage_options, **fresh}
    opened: Callable[..., Any] = type(filesystem)
    return partial(opened, *filesystem.storage_args, **options)


def _object_info(key: str, info: dict[str, Any]) -> ObjectInfo:
    names = ("LastModified", "last_modified", "mtime", "updated", "modified", "created")
    moment = next((info[name] for name in names if info.get(name)), 0.0)
    return ObjectInfo(key, int(info["size"]), seconds(moment))


def size_of(data: bytes | Path) -> int:
    """Return the bytes of what is to be written."""
    return data.stat().st_size if isinstance(data, Path) else len(data)


def seconds(moment: Any) -> float:
    """Return a moment as seconds since the epoch: a number, a `datetime`, or ISO 8601."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if isinstance(moment, datetime):
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.timestamp()
    return float(moment)
