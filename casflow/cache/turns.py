"""Taking turns among the processes of a machine.

Owns the lock files of the cache. Invariant: a turn only saves work. Where file locks do nothing
(some network file systems) or somebody holds one too long, callers go on without, and stay right.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

try:
    import fcntl
except ImportError:  # Windows: every process does its own work
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATIENCE = 600.0  # seconds
_NAP = 0.005  # seconds, doubled up to twenty times as long


@contextmanager
def turn(folder: Path, name: str, *, patience: float = _PATIENCE) -> Iterator[None]:
    """Wait until no other process holds the turn of that name, then hold it.

    Args:
        folder: Where the lock files are; made when absent.
        name: What the turn is for.
        patience: Seconds to wait before going on without.
    """
    held = _take(folder, name, patience)
    try:
        yield
    finally:
        if held is not None:
            _give_back(folder / name, held)


def _take(folder: Path, name: str, patience: float) -> int | None:
    if fcntl is None:
        return None
    deadline, nap = time.monotonic() + patience, _NAP
    while time.monotonic() < deadline:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            held = _try(folder / name)
        except OSError:
            return None
        if held is not None:
            return held
        time.sleep(nap)
        nap = min(nap * 2, _NAP * 20)
    return None


def _try(path: Path) -> int | None:
    """Lock a file once; None when another holds it or has just removed it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _give_back(path: Path, descriptor: int) -> None:
    # Removed while still held: whoever opened the old file sees that it is no longer the named one.
    path.unlink(missing_ok=True)
    os.close(descriptor)
