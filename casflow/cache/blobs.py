"""The blob files of the cache: one plain file for each digest.

Owns `<cache>/blobs/`. Invariant: what is returned is a private copy of a regular file's bytes that
was found to have the digest that it is named by; a file that has not is removed and counts as
absent, so damage heals; and nothing is opened or removed through a link.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from casflow.cache import outages
from casflow.digests import PREFIX, Buffer, digest_of, digest_of_file, hex_of

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("casflow.cache")

_ATIME_RESOLUTION = 3600.0  # seconds; a use is recorded no finer than this
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not wait
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ONE_READ = 1 << 30  # bytes that one call may be asked for
_NAME = re.compile("[0-9a-f]{64}")


class BlobFiles:
    """The blob files of one cache.

    Args:
        root: Folder of the cache.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blobs = f"{root}/blobs"

    def path(self, name: str) -> str:
        """Return where a file is, or would be."""
        return f"{self._blobs}/{name[:2]}/{name}"

    def is_there(self, name: str) -> bool:
        """Tell whether there is anything under a name."""
        return os.path.lexists(self.path(name))

    def find(self, digest: str, size: int | None = None) -> Buffer | None:
        """Return the bytes of a digest, verified, or None when they are not here.

        Args:
            digest: What is wanted.
            size: Its bytes, if they are known; a file of more is not read.
        """
        path = self.path(hex_of(digest))
        try:
            data = _read(path, size)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            outages.report(self._root, error)
            return None
        if data is not None and digest_of(data) == digest:
            return data
        logger.warning("damaged file in the cache is dropped: %s", path)
        remove(path)
        return None

    def publish(self, path: str, name: str) -> None:
        """Give a complete file its name.

        Raises:
            OSError: It could not be given it.
        """
        final = self.path(name)
        try:
            os.rename(path, final)  # noqa: PTH104 - hot
        except FileNotFoundError:
            Path(final).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.rename(path, final)  # noqa: PTH104

    def scan(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the name of each file, and what the file system says of it."""
        for folder in entries_in(self._blobs):
            for entry in entries_in(folder.path):
                if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    with suppress(OSError):  # evicted by another process
                        yield entry.name, entry.stat(follow_symlinks=False)

    def verify(self) -> list[str]:
        """Read every file; remove those whose bytes are not what they are named by.

        Returns:
            The digests of what was removed.
        """
        damaged = []
        for name, _ in list(self.scan()):
            path = self.path(name)
            try:
                sound = digest_of_file(Path(path)) == PREFIX + name
            except FileNotFoundError:  # evicted by another process
                continue
            except OSError:
                sound = False
            if not sound:
                remove(path)
                damaged.append(PREFIX + name)
        return damaged


def _read(path: str, limit: int | None) -> bytes | None:
    """Return the bytes of a regular file; None when it is another thing, or larger."""
    descriptor = os.open(path, _READ_FLAGS)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or (limit is not None and found.st_size > limit):
            return None
        if time.time() - found.st_mtime > _ATIME_RESOLUTION:
            _touch(descriptor)
        data = os.read(descriptor, min(found.st_size, _ONE_READ))
        if len(data) == found.st_size:  # all but files of a gigabyte
            return data
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return data + file.read(found.st_size - len(data))
    finally:
        os.close(descriptor)


def _touch(descriptor: int) -> None:
    try:
        os.utime(descriptor)
    except OSError:  # a read-only cache still serves
        logger.debug("cannot record a use of the cache")


def entries_in(path: str) -> list[os.DirEntry[str]]:
    """Return what a folder holds; nothing when it is a link, or cannot be read."""
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            return []
        with os.scandir(path) as found:
            return list(found)
    except OSError:
        return []


def remove(path: str) -> None:
    """Remove a file, if it is there and its folder is no link."""
    folder_path, _, name = path.rpartition("/")
    try:
        folder = os.open(folder_path, _FOLDER_FLAGS)
    except OSError:
        return
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        logger.warning("cannot remove a file of the cache: %s", error)
    finally:
        os.close(folder)
