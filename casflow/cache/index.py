"""The cache's index: sizes, pins and aliases, in diskcache.

Owns `<cache>/index/`. Invariant: nothing in it is ever needed to read a blob, so it is opened only
when something is written, asked or evicted; it can neither pickle nor unpickle nor name a file;
and when it is damaged it is thrown away and made again from the files.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import diskcache
from diskcache.core import MODE_RAW

from casflow.config import make_folder
from casflow.errors import os_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

logger = logging.getLogger(__name__)

_RESERVATION_MAX_AGE = 3600.0  # seconds after which a reservation without a file is forgotten
_TOTAL = "total"


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


class Index:
    """What is known of the cache's files beyond the files themselves.

    Args:
        folder: The folder of its database.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows = self._open_or_recreate()
        self._identity = self._stat()

    def _open_or_recreate(self) -> Any:
        with os_errors(self._folder):
            try:
                rows = _open_database(self._folder)
                for _ in rows:  # a damaged or poisoned row shows here
                    pass
            except (sqlite3.DatabaseError, TypeError) as error:
                if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                    raise
                logger.warning("the cache's index is damaged and is made anew: %s", error)
                shutil.rmtree(self._folder, ignore_errors=True)
                rows = _open_database(self._folder)
        return rows

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
        self._rows.close()

    # ---- sizes -----------------------------------------------------------------------------

    def reserve(self, name: str, size: int) -> int:
        """Count a file that is about to be written; return the bytes that are counted now."""
        with self._rows.transact():
            if f"blob/{name}" in self._rows:
                return self.total()
            self._rows[f"blob/{name}"] = size
            self._rows[f"since/{name}"] = int(time.time())
            return int(self._rows.incr(_TOTAL, size, default=0))

    def forget(self, name: str) -> None:
        """Stop counting a file."""
        with self._rows.transact():
            size = self._rows.pop(f"blob/{name}")
            self._rows.pop(f"since/{name}")
            if size is not None:
                self._rows.decr(_TOTAL, size, default=0)

    def total(self) -> int:
        """Return the bytes that are counted."""
        return int(self._rows.get(_TOTAL, 0))

    def is_known(self) -> bool:
        """Tell whether the index has ever been held against the files."""
        return _TOTAL in self._rows

    def rebuild(self, files: Mapping[str, int]) -> int:
        """Hold the index against the files that are there; return the bytes that are counted.

        A reservation without a file stays counted for an hour: its writer may be on its way.
        """
        with self._rows.transact():
            oldest = int(time.time() - _RESERVATION_MAX_AGE)
            counted = dict(files)
            for name in self._names("blob/"):
                since = self._rows.get(f"since/{name}", 0)
                if name not in files and since > oldest:
                    counted[name] = self._rows[f"blob/{name}"]
                elif name not in files:
                    del self._rows[f"blob/{name}"]
                    self._rows.pop(f"since/{name}")
            for name, size in files.items():
                self._rows[f"blob/{name}"] = size
            self._rows[_TOTAL] = sum(counted.values())
        return self.total()

    def _names(self, kind: str) -> list[str]:
        return [key.removeprefix(kind) for key in self._rows if key.startswith(kind)]

    # ---- pins and aliases ------------------------------------------------------------------

    def pin(self, name: str, *, on: bool = True) -> None:
        """Keep a file from eviction, or no longer."""
        if on:
            self._rows[f"pin/{name}"] = 1
        else:
            self._rows.pop(f"pin/{name}")

    def pinned(self) -> frozenset[str]:
        """Return the names of all pinned files."""
        return frozenset(self._names("pin/"))

    def find_alias(self, alias: str) -> str | None:
        """Return what was remembered under an alias, or None."""
        found = self._rows.get(f"alias/{alias}")
        return None if found is None else str(found)

    def set_alias(self, alias: str, value: str) -> None:
        """Remember a fact such as "repository, path, commit -> digest"."""
        self._rows[f"alias/{alias}"] = value

    def aliases(self) -> Iterator[tuple[str, str]]:
        """Yield all aliases."""
        for name in self._names("alias/"):
            if (value := self.find_alias(name)) is not None:
                yield name, value


def _open_database(folder: Path) -> Any:
    make_folder(folder)
    return diskcache.Cache(
        str(folder),
        disk=PlainDisk,
        timeout=60,
        eviction_policy="none",
        cull_limit=0,
        statistics=0,
        sqlite_wal_autocheckpoint=16,  # pages; by default the journal alone grows to 4 MB
    )
