"""The registration lock: one registration of a flow at a time.

Owns the advisory lock that spares concurrent registrations of one flow their double work.
Invariant: it is an optimisation only. Where it cannot be had (no such lock on the file system, no
right, time over) the caller goes on without it, and `add_version(after=…)` decides who was first.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from casflow.cache.locks import lock as file_lock
from casflow.registry.database import is_pooled
from casflow.registry.failures import translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from casflow.registry.database import Database


@contextmanager
def lock(database: Database, key: str, timeout: float) -> Iterator[None]:
    """Hold the lock of one flow, or go on without it after `timeout` seconds.

    Args:
        database: The registry's database.
        key: 64 hexadecimal digits that stand for the flow.
        timeout: Seconds to wait for it.
    """
    if database.path is not None:
        folder = database.path.with_name(f"{database.path.name}.locks")
        with file_lock(folder, key, timeout=timeout):
            yield
    else:
        with _server_lock(database, int(key[:15], 16), timeout):
            yield


@contextmanager
def _server_lock(database: Database, key: int, timeout: float) -> Iterator[None]:
    """Hold the lock for a transaction, since a session may be a pooler's and outlive us.

    Behind a pooler there is none: the waiting would use up the connections that the others need
    to get on.
    """
    with translated(database.where):
        connection = database.engine().connect()
    with connection:
        if not is_pooled(connection.connection.driver_connection):
            _lock_on_server(connection, key, timeout)
        else:
            connection.close()
        try:
            yield
        finally:
            # Closing the session gives the lock back, whatever happened to it meanwhile.
            connection.invalidate() if not connection.closed else None


def _lock_on_server(connection: Connection, key: int, timeout: float) -> None:
    try:
        connection.execute(text(f"SET LOCAL lock_timeout = {max(1, int(timeout * 1000))}"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
    except SQLAlchemyError:
        return
