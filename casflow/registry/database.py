"""The connection to the registry's database: opening, transactions, closing.

Owns the engine of this process. Invariant: an engine is opened at first use, never crosses a
fork, and every transaction either happened as a whole or not at all; on SQLite a writer holds
the write lock from its first statement, so that what it read is still so when it writes; and a
file that cannot be written can still be read.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import URL, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from casflow import config
from casflow.errors import (
    AccessError,
    CasflowError,
    ConfigError,
    MissingExtraError,
    UnavailableError,
)
from casflow.redaction import remember_url
from casflow.registry.failures import find_login_code, translated
from casflow.registry.lookup import SQLITE, file_of
from casflow.registry.migrations import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Engine

logger = logging.getLogger(__name__)

_TIMEOUT = 30.0  # seconds that a writer waits for another
_SECRET_OPTIONS = ("password", "sslpassword")
_OF_PSYCOPG = ("prepare_threshold", "context", "row_factory", "cursor_factory", "autocommit")
_TCP_TIMEOUTS = {  # a server that vanished without a word is given up after that, not after hours
    "connect_timeout": 10,  # seconds
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}
_PRAGMAS = ("synchronous = FULL", "foreign_keys = ON")
_warned: set[str] = set()
_inherited: list[Engine] = []  # kept, since closing them would disturb the process they belong to


class Database:
    """A registry's database, opened when it is first used.

    Args:
        url: `sqlite:///<file>` or `postgresql+psycopg://…`.
        clock: Gives aware moments; the database's own clock when None.

    Raises:
        ConfigError: It is not such a URL.
    """

    def __init__(self, url: str, clock: Callable[[], datetime] | None = None) -> None:
        remember_url(url)
        self.path = file_of(url)
        self.url = _server_of(url) if self.path is None else _url_of_file(self.path)
        self.where = str(self.path or _format_url(self.url))
        self._clock = clock
        self._engine: Engine | None = None
        self._pid = 0
        self._opening = threading.Lock()

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file of this machine."""
        return self.path is not None

    @property
    def address(self) -> str:
        """The URL by which another process opens the same database; holds the password."""
        if self.path is not None:
            return f"{SQLITE[0]}{self.path}"
        return self.url.render_as_string(hide_password=False)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a transaction that sees one state of the database.

        A file that cannot be written here (a read-only home, a full disk) is still read.
        """
        try:
            engine, is_own = self.engine(), False
        except (AccessError, UnavailableError) as error:
            engine, is_own = self._open_read_only(error), True
        try:
            with translated(self.where), engine.connect() as connection, connection.begin():
                yield connection
        finally:
            if is_own:  # the next one tries again whether the file can be written
                engine.dispose()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a transaction that writes; it is taken back when the block raises."""
        with translated(self.where), self.engine().connect() as connection:
            connection.execution_options(casflow_write=True)
            with connection.begin():
                yield connection

    def now(self, connection: Connection) -> datetime:
        """Return the moment by the database's clock, by which everything is decided.

        A file has the clock of its one machine; the clients of a server have one each.
        """
        if self._clock is not None:
            return self._clock()
        if self.is_sqlite:
            return datetime.now(UTC)
        moment: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        return moment.astimezone(UTC)

    def engine(self) -> Engine:
        """Return this process's engine, opened and with its tables."""
        with self._opening:
            if self._engine is not None and self._pid != os.getpid():
                _inherited.append(self._engine)
                self._engine = None
            if self._engine is None:
                self._engine, self._pid = self._opened(), os.getpid()
            return self._engine

    def _open_read_only(self, error: CasflowError) -> Engine:
        """Return an engine for a file that cannot be opened for writing.

        Raises:
            CasflowError: The error by which that failed; the file cannot be read either.
        """
        if self.path is None:
            raise error
        for option in ("mode=ro", "immutable=1"):  # the second where the log of writes cannot be
            engine = _sqlite_read_only(self.path, option)
            try:
                with translated(self.where):
                    prepare(engine, self.where)
            except (AccessError, UnavailableError):
                engine.dispose()
            else:
                self._warn_once(error)
                return engine
        raise error

    def _warn_once(self, error: CasflowError) -> None:
        if self.where not in _warned:
            _warned.add(self.where)
            logger.warning("%s; it is only read", error.what)

    def close(self) -> None:
        """Close every connection of this process; the next use opens new ones."""
        with self._opening:
            if self._engine is not None and self._pid == os.getpid():
                self._engine.dispose()
                self._engine = None

    def _opened(self) -> Engine:
        engine = _postgres(self.url) if self.path is None else _sqlite(self.path, self.url)
        try:
            with translated(self.where):
                prepare(engine, self.where)
        except BaseException:
            engine.dispose()
            raise
        return engine


def _url_of_file(path: Path) -> URL:
    return URL.create("sqlite+pysqlite", database=str(path))


def _server_of(url: str) -> URL:
    hint = "write sqlite:///<file> or postgresql+psycopg://<user>@<host>/<database>"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # not chained: their text repeats the password
        raise ConfigError("the registry's URL cannot be understood", hint=hint) from None
    if parsed.drivername not in ("postgresql+psycopg", "postgresql", "postgres"):
        raise ConfigError("no such kind of registry", where=parsed.drivername, hint=hint)
    return parsed.set(drivername="postgresql+psycopg")


def _format_url(url: URL) -> str:
    """Return a URL for people: without a password, also where libpq takes it as an option."""
    hidden = {name: "***" for name in _SECRET_OPTIONS if name in url.query}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def _sqlite(path: Path, url: URL) -> Engine:
    _make_folder(path.parent)
    _make_file(path)
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": _TIMEOUT})
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _sqlite_read_only(path: Path, option: str) -> Engine:
    address = f"file:{quote(str(path))}?{option}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, _TIMEOUT, uri=True, check_same_thread=False)
        connection.isolation_level = None
        return connection

    engine = create_engine("sqlite+pysqlite://", creator=connect, hide_parameters=True)
    event.listen(engine, "begin", _begin)
    return engine


def _make_folder(folder: Path) -> None:
    try:
        config.make_folder(folder)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        what = f"the registry's folder cannot be made ({error.strerror})"
        raise AccessError(what, where=folder) from error
    except OSError as error:
        what = f"the registry's folder cannot be made ({error.strerror})"
        raise UnavailableError(what, where=folder) from error


def _make_file(path: Path) -> None:
    """Make the file for this user alone; what SQLite puts beside it takes the same permissions."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        config.warn_of_readers(path.parent)
        config.warn_of_readers(path)
    except OSError:  # SQLite says what is wrong
        return
    else:
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)


def _set_up(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # _begin executes BEGIN
    _switch_to_wal(connection)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _switch_to_wal(connection: Any) -> None:
    """Switch a new file to WAL; unlike other statements this one does not wait by itself."""
    deadline = time.monotonic() + _TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("casflow_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgres(url: URL) -> Engine:
    options: dict[str, Any] = {
        name: value for name, value in _TCP_TIMEOUTS.items() if name not in url.query
    }
    # A pooler hands each transaction another session, which lacks statements prepared before.
    options["prepare_threshold"] = None
    try:
        engine = create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args=options)
    except ImportError as error:
        raise MissingExtraError("psycopg", "postgres") from error
    event.listen(engine, "do_connect", _connect)
    return engine


def _connect(_dialect: object, _record: object, arguments: Any, options: Any) -> Any:
    """Connect, and add the code to an error that has none."""
    import psycopg
    from psycopg.conninfo import make_conninfo

    try:
        return psycopg.connect(*arguments, **options)
    except psycopg.OperationalError as error:
        if error.sqlstate is None:
            known = {name: value for name, value in options.items() if name not in _OF_PSYCOPG}
            error.casflow_sqlstate = find_login_code(make_conninfo(*arguments, **known))  # type: ignore[attr-defined]
        raise


def is_pooled(connection: Any) -> bool:
    """Whether a pooler stands between a connection of psycopg and its server.

    Then no session belongs to the connection, so that nothing may be kept in one.
    """
    pid = connection.execute("SELECT pg_backend_pid()").fetchone()[0]
    return bool(pid != connection.info.backend_pid)
