"""Small files that a user keeps or names: settings, secrets, keys, rules.

Invariant: what is read is a regular file and not longer than it may be, so that neither a pipe
nor a device in its place makes anything wait or fills the memory.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, BinaryIO

from casflow.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

MOST = 16 << 20  # bytes
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)  # else opening a pipe waits for its writer


def open_file(path: str | Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        OSError: It cannot be opened, or is a folder.
        ConfigError: It is something else, or too long.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | _NONBLOCK))  # noqa: SIM115
    found = os.fstat(file.fileno())
    if stat.S_ISREG(found.st_mode) and found.st_size <= MOST:
        return file
    file.close()
    what = "too long" if stat.S_ISREG(found.st_mode) else "neither a file nor a link to one"
    raise ConfigError(what, where=path, hint=f"put a file of at most {MOST >> 20} MiB there")


def read_whole(path: str | Path) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        OSError: It cannot be read, or is a folder.
        ConfigError: It is something else, or too long.
    """
    with open_file(path) as file:
        return file.read(MOST)
