"""Folders by digest on this machine: trees that are checked out, beside the blobs of the cache.

Owns `<cache>/trees/`. Invariant: a folder appears under its name whole, by one rename; none is
removed while a process holds it; what a killed process leaves lies in `<cache>/tmp` and is swept.
What is in a folder, and whether it is still as it was written, is for `casflow.trees` to say; it
keeps a record beside each folder, whose first line gives the folder's bytes.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from casflow.errors import os_errors

try:
    import fcntl
except ImportError:  # Windows: it does not remove folders that are in use
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME = re.compile("[0-9a-f]{64}")
RECORD = ".record"
_LONGEST_LINE = 10_000  # bytes of the first line of a record
_held: dict[str, int] = {}  # descriptors of the folders that this process uses, by path


class Kept(NamedTuple):
    """A folder of the cache: its name, its bytes, and when it was used last."""

    name: str
    size: int
    used: float


class Folders:
    """The folders of one cache.

    Args:
        root: Folder of the cache.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders = root / "trees"

    def path(self, name: str) -> Path:
        """Return where a folder is, or would be."""
        return self._folders / name

    def record(self, name: str) -> Path:
        """Return where the record of a folder is, or would be."""
        return self._folders / (name + RECORD)

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """Give a new folder on the cache's file system; what is left of it is removed."""
        path = self._root / "tmp" / f"{os.getpid()}-{secrets.token_hex(8)}"
        with os_errors(path):
            path.mkdir(mode=0o700, parents=True)
        try:
            yield path
        finally:
            remove_tree(path)

    def publish(self, folder: Path, name: str) -> bool:
        """Give a folder its name; return False when another process was first."""
        final = self.path(name)
        with os_errors(final):
            self._folders.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A folder that is moved must be writable: its entry for the parent changes.
            folder.chmod(0o755)
            try:
                folder.rename(final)
            except OSError:
                if not final.is_dir():
                    raise
                return False
            final.chmod(0o555)
        return True

    def hold(self, name: str) -> bool:
        """Keep a folder from removal until this process ends; return False when it is not there."""
        path = str(self.path(name))
        held = _held.get(path)
        if held is not None and _is_same(held, path):
            return True
        while True:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
            except OSError:
                return False
            if fcntl is not None:
                with suppress(OSError):  # a file system without locks
                    fcntl.flock(descriptor, fcntl.LOCK_SH)
            if _is_same(descriptor, path):
                _held[path] = descriptor
                return True
            os.close(descriptor)  # removed between the two lines

    def descriptor(self, name: str) -> int | None:
        """Return the descriptor by which this process holds a folder."""
        return _held.get(str(self.path(name)))

    def release(self, name: str) -> None:
        """Let a folder be removed as far as this process is concerned."""
        descriptor = _held.pop(str(self.path(name)), None)
        if descriptor is not None:
            os.close(descriptor)

    def remove(self, name: str) -> bool:
        """Remove a folder that nobody holds; return whether it is gone."""
        path = self.path(name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        except OSError:
            return True
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            doomed = self._root / "tmp" / f"{os.getpid()}-{secrets.token_hex(8)}"
            path.chmod(0o755)
            doomed.parent.mkdir(mode=0o700, exist_ok=True)
            path.rename(doomed)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        self.record(name).unlink(missing_ok=True)
        remove_tree(doomed)
        return True

    def entries(self) -> list[Kept]:
        """Return all folders, least recently used first."""
        if not self._folders.is_dir():
            return []
        named = (path for path in self._folders.iterdir() if _NAME.fullmatch(path.name))
        kept = [Kept(path.name, *self._size_and_use(path)) for path in named]
        return sorted(kept, key=lambda each: each.used)

    def _size_and_use(self, path: Path) -> tuple[int, float]:
        record = self.record(path.name)
        try:
            with record.open("rb") as file:
                size = json.loads(file.readline(_LONGEST_LINE))["bytes"]
                return _whole(size), record.stat().st_mtime
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            files = (each for each in path.rglob("*") if each.is_file())
            with suppress(OSError):
                return sum(each.stat().st_size for each in files), path.stat().st_mtime
            return 0, 0.0


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"no number of bytes: {str(value)[:40]}")
    return value


def remove_tree(path: Path) -> None:
    """Remove a folder whose folders may be read-only; what cannot be removed is left."""
    if not path.is_dir():
        return
    for folder, _, _ in os.walk(path):
        with suppress(OSError):
            os.chmod(folder, 0o700)  # noqa: PTH101
    shutil.rmtree(path, ignore_errors=True)


def _is_same(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))  # noqa: PTH116
    except OSError:
        return False
