"""Taking turns: one registration of a flow at a time.

Owns the lock that spares concurrent registrations of one flow their double work. Invariant: it is
an optimisation only. Where it cannot be had (no such lock on the file system, no right, time
over) the caller goes on without it, and `add_version(after=…)` decides who was first.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from casflow.registry.database import Database

_LOOK = 0.01  # seconds between two tries


@contextmanager
def turn(database: Database, key: str, timeout: float) -> Iterator[None]:
    """Hold the turn of one flow, or go on without it after `timeout` seconds.

    Args:
        database: The registry's database.
        key: 64 hexadecimal digits that stand for the flow.
        timeout: Seconds to wait for it.
    """
    if database.path is not None:
        folder = database.path.with_name(f"{database.path.name}.locks")
        with _file_turn(folder / key[:2], timeout):
            yield
    else:
        with _server_turn(database, int(key[:15], 16), timeout):
            yield


@contextmanager
def _file_turn(file: Path, timeout: float) -> Iterator[None]:
    descriptor = _open(file)
    try:
        if descriptor is not None:
            _lock(descriptor, timeout)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open(file: Path) -> int | None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None


def _lock(descriptor: int, timeout: float) -> None:
    try:
        import fcntl
    except ImportError:  # not on this system
        return
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return
            time.sleep(_LOOK)
        except OSError:
            return
        else:
            return


@contextmanager
def _server_turn(database: Database, key: int, timeout: float) -> Iterator[None]:
    with database.engine().connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        _lock_on_server(connection, key, timeout)
        try:
            yield
        finally:
            # Closing the session gives the lock back, whatever happened to it meanwhile.
            connection.invalidate()


def _lock_on_server(connection: Connection, key: int, timeout: float) -> None:
    try:
        connection.execute(text(f"SET lock_timeout = {max(1, int(timeout * 1000))}"))
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
    except SQLAlchemyError:
        return
