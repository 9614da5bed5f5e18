"""Private copies: a tree as a folder that its user may write to.

Owns how such a folder appears and how files are copied into it. Invariant: it appears whole, by one
rename, or not at all; extents are shared with the cache where the file system can, and files never
are: whoever writes to a copy would change what others run.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from casflow.cache.folders import remove_tree
from casflow.errors import ConflictError, os_errors
from casflow.trees.listing import FILE
from casflow.trees.record import folders_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casflow.trees.listing import Listing

PRIVATE_MODES = {False: 0o666, True: 0o777}  # before the umask
NEW_READABLE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
NEW_READABLE |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
NEW = (NEW_READABLE & ~os.O_RDWR) | os.O_WRONLY


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """Give a new folder that becomes `target` when the block ends without an error.

    Raises:
        ConflictError: There is something at the target already.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 - links above it stay as they are
    temporary = target.with_name(f".{target.name[:200]}.{os.getpid()}-{secrets.token_hex(4)}")
    with os_errors(target):
        _refuse_occupied(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
    try:
        yield temporary
        with os_errors(target):
            try:
                os.rename(temporary, target)  # noqa: PTH104 - over an empty folder, too
            except OSError:
                _refuse_occupied(target)
                raise
    finally:
        remove_tree(temporary)


def _refuse_occupied(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ConflictError("there is a file already", where=target)
    if target.is_dir() and any(target.iterdir()):
        hint = "name an empty or a new folder"
        raise ConflictError("the folder is not empty", where=target, hint=hint)
    if target.is_dir() and target.samefile(os.curdir):  # whoever is in it would be nowhere
        hint = "name a new folder"
        raise ConflictError("the current folder cannot be replaced", where=target, hint=hint)


def copy_tree(source: Path, listing: Listing, target: Path) -> None:
    """Copy a checked-out tree into an empty folder, writable; extents are shared where they can."""
    with os_errors(target):
        for path in folders_of(listing)[1:] if len(listing) else []:
            os.mkdir(f"{target}/{path}")  # noqa: PTH102
        for entry in listing:
            path = f"{target}/{entry.path}"
            if entry.kind == FILE:
                mode = PRIVATE_MODES[entry.executable]
                copy_file(f"{source}/{entry.path}", path, entry.size, mode)
            else:
                os.symlink(entry.target, path)  # noqa: PTH211


def copy_file(source: str, target: str, size: int, mode: int) -> None:
    """Copy a file to a new one; extents are shared where the file system can."""
    original = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        copy = os.open(target, NEW, mode)
        try:
            _copy(original, copy, size)
        finally:
            os.close(copy)
    finally:
        os.close(original)


def _copy(original: int, copy: int, size: int) -> None:
    while size > 0 and hasattr(os, "copy_file_range"):
        try:  # it clones where the file system can, and copies else
            copied = os.copy_file_range(original, copy, size)
        except OSError:
            break
        if not copied:
            break
        size -= copied
    if size > 0:
        with os.fdopen(os.dup(original), "rb") as source, os.fdopen(os.dup(copy), "wb") as target:
            source.seek(os.lseek(original, 0, os.SEEK_CUR))
            shutil.copyfileobj(source, target, 1 << 20)
