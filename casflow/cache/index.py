"""The cache's index: pins and aliases, in diskcache.

Owns `<cache>/index/`. Invariant: nothing in it is ever needed to read or to write a blob, so it is
opened only when an alias is asked for or set, or something is evicted; it can neither pickle nor
unpickle nor name a file; where it is damaged it is made anew with the aliases and pins that can
still be read; and where it cannot be used (full, read-only, locked) nothing of it is thrown away
and callers go on without.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import stat
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import diskcache
from diskcache.core import MODE_RAW

from casflow.cache import outages
from casflow.cache.locks import lock
from casflow.config import make_folder
from casflow.digests import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

logger = logging.getLogger(__name__)

T = TypeVar("T")

_TIMEOUT = 60.0  # seconds for which another process may hold the database
_CHECK = 16  # hexadecimal digits before the value of an alias, by which a damaged one is known
_SETTINGS = {
    "eviction_policy": "none",
    "cull_limit": 0,
    "statistics": 0,
    # What is here may be deleted at any time, so nothing waits for the disk.
    "sqlite_synchronous": 0,
    # No longer than one change: that of WAL grows as long as anybody reads.
    "sqlite_journal_mode": "truncate",
}
_OUTAGES = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
}


class PlainDisk(diskcache.Disk):  # type: ignore[misc]
    """Rows of text and whole numbers only; anything else, written or found, is refused.

    diskcache unpickles what it finds in its database and opens the files that rows name
    (CVE-2025-69872). Both doors are shut here, in both directions.
    """

    def put(self, key: Any) -> tuple[str, bool]:
        """Return the column value of a key."""
        if not isinstance(key, str):
            raise TypeError(f"the index takes text as keys, not {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: Any) -> str:
        """Return the key of a column value."""
        if not raw or not isinstance(key, str):
            raise sqlite3.DatabaseError("a key of the index is not plain text")
        return key

    def store(self, value: Any, read: Any, key: Any = None) -> tuple[int, int, None, Any]:  # noqa: ARG002
        """Return the columns of a value."""
        if read or not isinstance(value, str | int):
            raise TypeError(f"the index takes text and numbers, not {type(value).__name__}")
        return 0, MODE_RAW, None, value

    def fetch(self, mode: Any, filename: Any, value: Any, read: Any) -> str | int:
        """Return the value of its columns."""
        if mode != MODE_RAW or filename is not None or read or not isinstance(value, str | int):
            raise sqlite3.DatabaseError("a value of the index is not plain")
        return value

    def remove(self, file_path: Any) -> None:
        """Remove no file: no row of ours names one, so one that does was put there by others."""


class Index:
    """What is known of the cache's files beyond the files themselves.

    Args:
        folder: The folder of its database.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: Any = None
        self._identity: tuple[int, int] | None = None
        self._call(lambda rows: rows.volume(), 0)

    def _call(self, act: Callable[[Any], T], default: T) -> T:
        """Do something with the rows; return the default where that is not possible."""
        for _ in range(2):
            try:
                if self._rows is None:
                    self._rows = _open_database(self._folder)
                    self._identity = self._stat()
                return act(self._rows)
            except Exception as error:  # noqa: BLE001 - a damaged database may raise anything
                if _is_outage(error):
                    outages.report(self._folder.parent, str(error) or "its index cannot be written")
                    return default
                logger.warning("the cache's index is damaged and is made anew: %s", error)
                self._recreate()
        return default

    def _recreate(self) -> None:
        """Make the database anew with the aliases and pins of the damaged one."""
        damaged = self._identity
        self.close()
        with lock(self._folder.parent / "locks", "index"):
            if damaged is not None and self._stat() != damaged:
                return  # another process was first
            rows = _recover_rows(self._folder / diskcache.core.DBNAME)
            if self._folder.is_symlink():
                self._folder.unlink()
            shutil.rmtree(self._folder, ignore_errors=True)
            with suppress(Exception):
                self._rows = _open_database(self._folder)
                self._identity = self._stat()
                for key, value in rows.items():
                    self._rows.set(key, value)

    def is_gone(self) -> bool:
        """Tell whether somebody has removed the database while it was open, or made another."""
        found = self._stat()
        return found is None or found != self._identity

    def _stat(self) -> tuple[int, int] | None:
        try:
            found = os.stat(f"{self._folder}/{diskcache.core.DBNAME}")  # noqa: PTH116 - hot
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def close(self) -> None:
        """Let go of the database."""
        rows, self._rows = self._rows, None
        if rows is not None:
            with suppress(sqlite3.Error):
                rows.close()

    # ---- pins and aliases ------------------------------------------------------------------

    def pin(self, name: str, *, on: bool = True) -> None:
        """Keep a file from eviction, or no longer."""

        def act(rows: Any) -> None:
            if on:
                rows.set(f"pin/{name}", 1)
            else:
                rows.pop(f"pin/{name}")

        self._call(act, None)

    def pinned(self) -> frozenset[str]:
        """Return the names of all pinned files."""
        return self._call(lambda rows: frozenset(_names(rows, "pin/")), frozenset())

    def find_alias(self, alias: str) -> str | None:
        """Return what was remembered under an alias, or None; also when that is damaged."""
        found = self._call(lambda rows: rows.get(f"alias/{alias}"), None)
        if not isinstance(found, str) or found[:_CHECK] != _check(alias, found[_CHECK:]):
            return None
        return found[_CHECK:]

    def set_alias(self, alias: str, value: str) -> None:
        """Remember a fact such as "repository, path, commit -> digest"."""

        def act(rows: Any) -> None:
            # An assignment would try again for ever where the database cannot be written.
            rows.set(f"alias/{alias}", _check(alias, value) + value)

        self._call(act, None)

    def aliases(self) -> Iterator[tuple[str, str]]:
        """Yield all aliases."""
        none: list[str] = []
        for name in self._call(lambda rows: _names(rows, "alias/"), none):
            if (value := self.find_alias(name)) is not None:
                yield name, value


def _names(rows: Any, kind: str) -> list[str]:
    return [key.removeprefix(kind) for key in rows if key.startswith(kind)]


def _check(alias: str, value: str) -> str:
    return digest_of(f"{alias}\n{value}".encode()).rpartition(":")[2][:_CHECK]


def _is_outage(error: Exception) -> bool:
    """Tell whether an error says that the database cannot be used now, not that it is damaged."""
    if isinstance(error, OSError | diskcache.Timeout):
        return True
    if str(error).startswith("cannot rollback") and isinstance(error.__context__, Exception):
        return _is_outage(error.__context__)  # SQLite has done it, and diskcache asks again
    code = getattr(error, "sqlite_errorcode", None)
    if code is None or code == sqlite3.SQLITE_IOERR_SHORT_READ:
        return False
    return code & 0xFF in _OUTAGES


def _open_database(folder: Path) -> Any:
    make_folder(folder)
    _check_database(folder / diskcache.core.DBNAME)
    return diskcache.Cache(str(folder), disk=PlainDisk, timeout=_TIMEOUT, **_SETTINGS)


def _check_database(path: Path) -> None:
    """Refuse a database that is a link, or whose settings are not those that we write.

    diskcache makes SQL of the names and values that it finds among the settings.
    """
    folder, file = path.parent.lstat(), None
    with suppress(FileNotFoundError):
        file = path.lstat()
    if not stat.S_ISDIR(folder.st_mode) or (file and not stat.S_ISREG(file.st_mode)):
        raise sqlite3.DatabaseError("the index is not a folder with a file")
    if file is None or not file.st_size:
        return
    with closing(sqlite3.connect(path, timeout=60)) as database:
        try:
            found = dict(database.execute("SELECT key, value FROM Settings"))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
            return  # no such table yet: another process is making it
    known = {**diskcache.core.DEFAULT_SETTINGS, **diskcache.core.METADATA, **_SETTINGS}
    fixed = {**known, "disk_min_file_size": found.get("disk_min_file_size")}
    for key, value in found.items():
        counter = key in diskcache.core.METADATA and isinstance(value, int)
        if key not in fixed or not (counter or value == fixed[key]):
            raise sqlite3.DatabaseError(f"unknown setting {str(key)[:40]!r}")


def _recover_rows(path: Path) -> dict[str, str | int]:
    """Return the aliases and pins of a database that can still be read."""
    rows: dict[str, str | int] = {}
    if path.is_symlink() or not path.is_file():
        return rows
    with suppress(Exception), closing(sqlite3.connect(path)) as database:
        database.text_factory = bytes
        for key, value in database.execute("SELECT key, value FROM Cache WHERE filename IS NULL"):
            with suppress(UnicodeDecodeError, AttributeError):
                name = key.decode()
                if name.startswith("pin/"):
                    rows[name] = 1
                elif name.startswith("alias/"):
                    rows[name] = value.decode()
    return rows
