"""A folder as a listing: what belongs to it, and the digest of each content.

Owns the walk through a folder. Invariant: a digest is that of bytes which were read while the file
did not change, by its size and times before and after; nothing is followed out of the folder; what
no tree can hold is an error that names the path, never left out in silence.
"""

from __future__ import annotations

import os
import stat as modes
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casflow.digests import Hasher, digest_of
from casflow.errors import AccessError, ConfigError, UnavailableError, from_os, os_errors
from casflow.files import read_whole
from casflow.trees.ignore import (
    BUILT_IN_RULES,
    INCLUDE_FILE,
    RULE_FILES,
    SECRET_RULES,
    Rules,
    is_ignored,
)
from casflow.trees.listing import SYMLINK, Entry, Listing, check_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Progress = Callable[[str, int, int], None]

_PIECE = 1 << 20  # bytes that are read at once
_BATCH = 64  # files that one thread reads in a row
_THREADS = min(4, os.cpu_count() or 1)
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_FLAGS |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class _Found:
    """A file or link of a folder, before it is read."""

    path: str
    target: str | None = None


def silent(stage: str, done: int, total: int) -> None:
    """Show no progress."""
    del stage, done, total


def scan(folder: Path, progress: Progress = silent) -> Listing:
    """Return the listing of a folder as it is now.

    Args:
        folder: The folder.
        progress: Is told `hash`, how many files have been read, and how many there are.

    Raises:
        NotFoundError: There is no such folder.
        ConfigError: It holds what no tree can hold.
        AccessError: A file cannot be read, or looks like a secret.
        UnavailableError: A file changed while it was read.
    """
    root = os.path.abspath(folder)  # noqa: PTH100 - text; a hundred thousand paths follow
    with os_errors(folder):
        if not modes.S_ISDIR(os.stat(root).st_mode):  # noqa: PTH116
            raise ConfigError("not a folder", where=folder)
    found = list(_walk(root))
    return Listing(_read_all(root, found, progress))


def _walk(root: str) -> Iterator[_Found]:
    include = _rules(root, "", (INCLUDE_FILE,))
    pending: list[tuple[str, tuple[Rules, ...]]] = [("", (BUILT_IN_RULES,))]
    while pending:
        folder, chain = pending.pop()
        chain += tuple(_rules(root, folder, RULE_FILES))
        for entry in _entries(root, folder):
            path = folder + entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_ignored(chain, path, is_folder=is_folder):
                continue
            if is_folder:
                pending.append((f"{path}/", chain))
                continue
            check_path(path)
            _refuse_secret(path, include)
            yield _Found(path, _target(root, path, entry))


def _entries(root: str, folder: str) -> list[os.DirEntry[str]]:
    where = f"{root}/{folder}"
    with os_errors(where), os.scandir(where) as entries:
        return list(entries)


def _rules(root: str, folder: str, names: tuple[str, ...]) -> list[Rules]:
    rules = []
    for name in names:
        where = f"{root}/{folder}{name}"
        try:
            text = read_whole(where).decode("utf-8", "surrogateescape")
        except (FileNotFoundError, IsADirectoryError):
            continue
        except OSError as error:
            raise from_os(error, where) from error
        rules.append(Rules(text.splitlines(), folder, where))
    return rules


def _refuse_secret(path: str, include: list[Rules]) -> None:
    if SECRET_RULES.matches(path, is_folder=False) and not is_ignored(
        include, path, is_folder=False
    ):
        hint = f"leave it out by .casflowignore, or name it in {INCLUDE_FILE}"
        raise AccessError("a file that looks like a secret", where=path, hint=hint)


def _target(root: str, path: str, entry: os.DirEntry[str]) -> str | None:
    if entry.is_symlink():
        with os_errors(path):
            return os.readlink(f"{root}/{path}")  # noqa: PTH115
    if not entry.is_file(follow_symlinks=False):
        hint = "leave it out by .casflowignore"
        raise ConfigError("neither a file nor a link nor a folder", where=path, hint=hint)
    return None


def _read_all(root: str, found: list[_Found], progress: Progress) -> list[Entry]:
    batches = [found[at : at + _BATCH] for at in range(0, len(found), _BATCH)]
    entries: list[Entry] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for some in pool.map(lambda batch: [_entry(root, each) for each in batch], batches):
            entries += some
            progress("hash", len(entries), len(found))
    return entries


def _entry(root: str, found: _Found) -> Entry:
    if found.target is not None:
        return Entry(found.path, SYMLINK, target=found.target)
    try:
        status, digest = read_file(f"{root}/{found.path}")
    except OSError as error:
        raise from_os(error, found.path) from error
    executable = bool(status.st_mode & modes.S_IXUSR)
    return Entry(found.path, executable=executable, size=status.st_size, digest=digest)


def read_file(path: str) -> tuple[os.stat_result, str]:
    """Return the status and the digest of a file that did not change while it was read.

    Raises:
        UnavailableError: It changed.
        OSError: It cannot be read.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        before = os.fstat(descriptor)
        if not modes.S_ISREG(before.st_mode):
            raise ConfigError("not a file", where=path)
        data = os.read(descriptor, min(before.st_size + 1, _PIECE))
        if len(data) == before.st_size < _PIECE:
            digest = digest_of(data)
        else:
            digest = _digest_of_rest(descriptor, data)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if _state(before) != _state(after):
        hint = "push again when nobody writes to it"
        raise UnavailableError("a file changed while it was read", where=path, hint=hint)
    return before, digest


def _digest_of_rest(descriptor: int, data: bytes) -> str:
    hasher = Hasher()
    while data:
        hasher.update(data)
        data = os.read(descriptor, _PIECE)
    return hasher.digest()


def _state(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
