"""Advisory file locks between the processes of a machine.

Owns the lock files of a folder. Invariant: a lock only saves work. Where file locks do nothing
(some network file systems) or one is held too long, callers go on without it, and stay correct.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from casflow.config import make_folder

try:
    import fcntl
except ImportError:  # Windows: every process does its own work
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TIMEOUT = 600.0  # seconds
_POLL_INTERVAL = 0.005  # seconds, doubled up to twenty times as long


@contextmanager
def lock(folder: Path, name: str, *, timeout: float = _TIMEOUT) -> Iterator[None]:
    """Hold an exclusive lock; wait while another process or thread holds it.

    Args:
        folder: Where the lock files are; made when absent.
        name: Name of the lock file.
        timeout: Seconds to wait before going on without.
    """
    held = _acquire(folder, name, timeout)
    try:
        yield
    finally:
        if held is not None:
            _release(folder / name, held)


def _acquire(folder: Path, name: str, timeout: float) -> int | None:
    if fcntl is None:
        return None
    deadline, interval = time.monotonic() + timeout, _POLL_INTERVAL
    while time.monotonic() < deadline:
        try:
            make_folder(folder)
            held = _try_lock(folder / name)
        except OSError:
            return None
        if held is not None:
            return held
        time.sleep(interval)
        interval = min(interval * 2, _POLL_INTERVAL * 20)
    return None


def _try_lock(path: Path) -> int | None:
    """Lock a file once; None when another holds it or has just removed it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, 0o600)
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


def _release(path: Path, descriptor: int) -> None:
    # Removed while still held: whoever opened the old file sees that it is no longer the named one.
    with suppress(OSError):
        path.unlink(missing_ok=True)
    os.close(descriptor)
