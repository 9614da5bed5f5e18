"""Files that are being downloaded, or written.

Owns `<cache>/tmp/`. Invariant: a download is written to a file that is named by its digest and
locked by its writer, so others wait for it rather than download the same; a file whose writer died
is unlocked and is taken over. Where locks do nothing, each writes to a file of its own. No lock is
needed for correctness: a file leaves this folder only by a rename of verified bytes.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from casflow.cache.blobs import entries_in, remove
from casflow.cache.folders import remove_tree
from casflow.errors import IntegrityError

try:
    import fcntl
except ImportError:  # Windows: every process does its own work
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from casflow.digests import Buffer

_POLL_INTERVAL = 0.005  # seconds, doubled up to twenty times as long
_MAX_AGE = 3600.0  # seconds after which a file has no writer any more
_IN_THE_WAY = (errno.EISDIR, errno.ELOOP, errno.ENXIO)  # a folder, a link, a socket
_OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(slots=True)
class PartialFile:
    """A file that only its holder writes to.

    Attributes:
        path: Where it is.
        descriptor: It, open.
        is_published: Whether it has got its final name.
    """

    path: str
    descriptor: int
    is_published: bool = False

    def close(self) -> None:
        """Let go of it; unless it was published, it is removed."""
        if not self.is_published:
            remove(self.path)
        os.close(self.descriptor)


def wait_open(folder: str, name: str, timeout: float) -> PartialFile:
    """Return an empty file that nobody else writes to, waiting while somebody does.

    Args:
        folder: The folder of partial files.
        name: What will be written.
        timeout: Seconds to wait before writing to a file of its own.

    Raises:
        OSError: There can be no file.
    """
    deadline, interval = time.monotonic() + timeout, _POLL_INTERVAL
    while True:
        file = _try_open(folder, name)
        if file is not None:
            return file
        if time.monotonic() >= deadline:
            return open_private(folder)
        time.sleep(interval)
        interval = min(interval * 2, _POLL_INTERVAL * 20)


def _try_open(folder: str, name: str) -> PartialFile | None:
    """Return an empty file that nobody else writes to.

    Returns:
        None while another process or thread writes the file of this name.

    Raises:
        OSError: There can be no file.
    """
    path = f"{folder}/{name}"
    try:
        descriptor = os.open(path, _OPEN_FLAGS, 0o600)
    except OSError as error:
        if error.errno in _IN_THE_WAY:
            return open_private(folder)
        raise
    try:
        is_ours = _claim(descriptor, path)
    except OSError:
        os.close(descriptor)
        raise
    if is_ours:
        return PartialFile(path, descriptor)
    os.close(descriptor)
    return open_private(folder) if is_ours is None else None


def _claim(descriptor: int, path: str) -> bool | None:
    """Lock an open file; return whether it is ours now, or None where it cannot be locked."""
    if fcntl is None or not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    try:
        named = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - hot
    except FileNotFoundError:
        return False
    # Whoever had it locked before may have given it its final name.
    if not os.path.samestat(named, os.fstat(descriptor)):
        return False
    if named.st_size:  # its writer died
        os.ftruncate(descriptor, 0)
    return True


def open_private(folder: str) -> PartialFile:
    """Return a new file that no other process asks for.

    Raises:
        OSError: There can be none.
    """
    path = f"{folder}/{os.getpid()}-{secrets.token_hex(8)}"
    return PartialFile(path, os.open(path, _OPEN_FLAGS | os.O_EXCL, 0o600))


def remove_stale(folder: str) -> None:
    """Remove what writers that died left behind."""
    for entry in entries_in(folder):
        with suppress(OSError):
            if time.time() - entry.stat(follow_symlinks=False).st_mtime > _MAX_AGE:
                if entry.is_dir(follow_symlinks=False):
                    remove_tree(Path(entry.path))
                else:
                    remove(entry.path)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _names(path: str, found: os.stat_result) -> bool:
    try:
        named = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - hot
    except FileNotFoundError:
        return False
    return os.path.samestat(named, found)


class Target:
    """What a download is written to: bounded, and it keeps what the disk answered.

    Args:
        descriptor: An open file; None for memory.
        limit: Bytes that may be written.

    Attributes:
        size: Bytes so far.
        failure: The error of the file, of which the download is innocent.
    """

    def __init__(self, descriptor: int | None, limit: int) -> None:
        self._descriptor = descriptor
        self._memory = bytearray()
        self._limit = limit
        self._at = 0
        self._only: bytes | None = None  # all there is, where it was written in one piece
        self.size = 0
        self.failure: OSError | None = None

    def seek(self, position: int) -> int:
        """Go to where the next piece belongs."""
        self._at = position
        return position

    def tell(self) -> int:
        """Return where the next piece belongs."""
        return self._at

    def write(self, piece: Buffer) -> int:
        """Write the next piece.

        Raises:
            IntegrityError: There are more bytes than were registered.
        """
        view = memoryview(piece).cast("B")
        start, end = self._at, self._at + len(view)
        if end > self._limit:
            raise IntegrityError(f"there is more than the {self._limit} bytes that were registered")
        self._only = bytes(view) if not start and len(view) == self._limit else None
        if self._descriptor is None:
            self._memory[start:end] = view
        else:
            self._write(self._descriptor, view)
        self._at = end
        self.size = max(self.size, end)
        return len(view)

    def _write(self, descriptor: int, view: memoryview) -> None:
        at = self._at
        try:
            while view:
                written = os.pwrite(descriptor, view, at)
                at, view = at + written, view[written:]
        except OSError as error:
            self.failure = error
            raise

    def read_all(self) -> bytes:
        """Return all that was written."""
        if self._only is not None:
            return self._only
        if self._descriptor is None:
            return bytes(self._memory)
        try:
            with os.fdopen(self._descriptor, "rb", closefd=False) as file:
                file.seek(0)
                return file.read()
        except OSError as error:
            self.failure = error
            raise
