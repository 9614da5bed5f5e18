"""Waiting for the registry to change, at next to no cost.

Owns the connection that waits. Invariant: a change that was committed after the watch was opened,
or after its last `wait` returned, is never missed: the next `wait` returns at once.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

from casflow.registry.database import is_pooled
from casflow.registry.failures import of_driver
from casflow.registry.runs import CHANNEL

if TYPE_CHECKING:
    from casflow.registry.database import Database

_POLL_INTERVAL = 0.002  # seconds between two looks at a SQLite file; a look takes some microseconds
_PERIOD = 1.0  # seconds


class Watch(ABC):
    """Waits for changes of the registry. To be used by one thread."""

    def __init__(self, database: Database) -> None:
        self._where = database.where
        engine = database.engine()
        try:
            connection = engine.raw_connection()
            # Detached: the pool must neither hand it to others nor close it under our hands.
            self._connection: Any = connection.driver_connection
            connection.detach()
            self._subscribe()
        except self._failures() as error:  # SQLAlchemy does not wrap them here
            raise of_driver(error, self._where) from error

    def wait(self, timeout: float) -> bool:
        """Wait for a change; return whether there was one within `timeout` seconds.

        Raises:
            UnavailableError: The database went away; open a new watch.
        """
        try:
            return self._wait(timeout)
        except self._failures() as error:
            raise of_driver(error, self._where) from error

    def close(self) -> None:
        """Close its connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _subscribe(self) -> None:
        """Remember the present state."""

    @abstractmethod
    def _wait(self, timeout: float) -> bool:
        """Wait, with the driver's own exceptions."""

    @abstractmethod
    def _failures(self) -> type[Exception]:
        """Return the driver's exception."""


def open_watch(database: Database) -> Watch:
    """Return the watch that fits a database and what stands before it.

    Raises:
        CasflowError: The database cannot be used.
    """
    if database.is_sqlite:
        return FileWatch(database)
    watch = ServerWatch(database)
    return PollingWatch(watch) if watch.is_pooled else watch


class FileWatch(Watch):
    """Looks at SQLite's counter of changes by others."""

    def _subscribe(self) -> None:
        self._seen = self._version()

    def _wait(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while (version := self._version()) == self._seen:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(_POLL_INTERVAL, left))
        self._seen = version
        return True

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def _failures(self) -> type[Exception]:
        import sqlite3

        return sqlite3.Error


class ServerWatch(Watch):
    """Listens to PostgreSQL's notifications; not behind a pooler, where they reach nobody."""

    def _subscribe(self) -> None:
        self._connection.autocommit = True
        self.is_pooled = is_pooled(self._connection)
        if not self.is_pooled:
            self._connection.execute(f"LISTEN {CHANNEL}")

    def _wait(self, timeout: float) -> bool:
        return any(True for _ in self._connection.notifies(timeout=timeout, stop_after=1))

    def _failures(self) -> type[Exception]:
        import psycopg

        return psycopg.Error


class PollingWatch(Watch):
    """Takes every second for a change, where a pooler keeps notifications back.

    Args:
        watch: A watch of the server, which is closed.
    """

    def __init__(self, watch: ServerWatch) -> None:
        watch.close()
        self._subscribe()

    def wait(self, timeout: float) -> bool:
        """Wait; return whether a second is over."""
        return self._wait(timeout)

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _subscribe(self) -> None:
        self._next = time.monotonic() + _PERIOD

    def _wait(self, timeout: float) -> bool:
        left = self._next - time.monotonic()
        time.sleep(max(0.0, min(timeout, left)))
        if timeout < left:
            return False
        self._subscribe()
        return True

    def _failures(self) -> type[Exception]:
        return OSError
