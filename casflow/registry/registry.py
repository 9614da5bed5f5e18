"""The registry itself, of its parts: versions, runs, agents, limits, and an overview.

Owns its opening and closing. Invariant: it touches the database at its first use,
and not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from casflow.reference import check_name
from casflow.registry.agents import Agents
from casflow.registry.damage import Damages
from casflow.registry.database import Database
from casflow.registry.limits import Limits
from casflow.registry.locks import lock as registration_lock
from casflow.registry.lookup import key_of
from casflow.registry.overview import Overviews
from casflow.registry.records import check_project
from casflow.registry.runs import Runs
from casflow.registry.versions import Versions
from casflow.registry.watch import open_watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from datetime import datetime

    from casflow.registry.watch import Watch


class Registry(Versions, Runs, Agents, Limits, Overviews, Damages):
    """A registry, opened at its first use; its tables are made when they are not there.

    It may be shared by threads, and by processes over a fork.

    Args:
        url: `sqlite:///<file>` or `postgresql+psycopg://<user>:<password>@<host>/<database>`.
        now: The clock, which gives aware moments; that of the database when None.

    Every method that reads or writes the database may raise:
        ConfigError: The URL is none of these, or the registry is of a newer casflow.
        MissingExtraError: The database's driver is not installed.
        IntegrityError: The registry's file or tables are damaged.
        AccessError: The file cannot be written, or the server refused the login.
        UnavailableError: The server does not answer, the disk is full, or others write too long.
    """

    def __init__(self, url: str, *, now: Callable[[], datetime] | None = None) -> None:
        self._db = Database(url, now)

    def __repr__(self) -> str:
        return f"Registry({self._db.where!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The URL with its password: to hand to another process, never for a message."""
        return self._db.address

    @property
    def where(self) -> str:
        """The registry's file or URL, without password."""
        return self._db.where

    def close(self) -> None:
        """Close the connections of this process; the next use opens new ones."""
        self._db.close()

    def lock(
        self, project: str | None, flow: str, *, timeout: float = 60.0
    ) -> AbstractContextManager[None]:
        """Hold this flow's registration lock, so that others find what was registered.

        It spares double work and decides nothing: when the lock cannot be had in `timeout`
        seconds, the block runs without it. Hand `after` to `add_version` to be sure.
        """
        key = key_of(f"{check_project(project)},{check_name(flow)}")
        return registration_lock(self._db, key, timeout)

    def watch(self) -> Watch:
        """Open a watch, by which a loop waits for changes instead of asking again and again."""
        return open_watch(self._db)
