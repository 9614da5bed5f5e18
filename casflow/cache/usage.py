"""How many bytes the cache holds.

Owns `<cache>/size`, a file whose length is the count, in units of 512 bytes. Invariant: whoever
adds something appends as many units, which needs no lock, since a write at the end of a file is
atomic; what is removed stays counted until the files are counted again. So the count is too high
rather than too low, and only a count beyond the limit is worth a look at the files.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_UNIT = 512  # bytes; a file of 10 kB costs 20 bytes here
_ONE_WRITE = 1 << 20  # bytes
_FLAGS = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Usage:
    """The count of one cache.

    Args:
        root: Folder of the cache.
    """

    def __init__(self, root: Path) -> None:
        self._path = f"{root}/size"

    def add(self, size: int) -> int | None:
        """Count bytes that will come; return what is counted now.

        Returns:
            None when there is no count yet; `set` makes one.

        Raises:
            OSError: It cannot be counted.
        """
        try:
            descriptor = os.open(self._path, _FLAGS | os.O_APPEND)
        except FileNotFoundError:
            return None
        try:
            units = -(-size // _UNIT)
            while units > 0:
                units -= os.write(descriptor, bytes(min(units, _ONE_WRITE)))
            return os.fstat(descriptor).st_size * _UNIT
        finally:
            os.close(descriptor)

    def set(self, size: int) -> None:
        """Record what was counted.

        Raises:
            OSError: It cannot be recorded.
        """
        descriptor = os.open(self._path, _FLAGS | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, -(-size // _UNIT))
        finally:
            os.close(descriptor)

    def total(self) -> int:
        """Return what is counted; 0 when nothing is."""
        try:
            return os.lstat(self._path).st_size * _UNIT
        except OSError:
            return 0
