"""Errors of a database as casflow's own.

Owns the translation of SQLAlchemy's, sqlite3's and psycopg's exceptions. Invariant: nothing of
theirs leaves the registry, no message holds a password, a statement or its values, and the class
of a server's error is chosen by its whole SQLSTATE: a class of codes holds errors that pass and
errors that stay, and the server writes its texts in the language that it was set to.
"""

from __future__ import annotations

import os
import re
import select
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from casflow.errors import AccessError, CasflowError, ConfigError, IntegrityError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.pq.abc import PGconn

Meaning = tuple[type[CasflowError], str, str]

_RESTORE = (
    "restore it from a backup, or move it away and register the flows again"
    " (what they stored is not touched)"
)
_SQLITE: dict[str, Meaning] = {
    "SQLITE_NOTADB": (IntegrityError, "the registry is damaged", _RESTORE),
    "SQLITE_CORRUPT": (IntegrityError, "the registry is damaged", _RESTORE),
    "SQLITE_READONLY": (AccessError, "the registry cannot be written", "check its permissions"),
    "SQLITE_CANTOPEN": (AccessError, "the registry cannot be opened", "check its permissions"),
    "SQLITE_PERM": (AccessError, "the registry cannot be opened", "check its permissions"),
    "SQLITE_AUTH": (AccessError, "the registry cannot be opened", "check its permissions"),
    "SQLITE_FULL": (UnavailableError, "no room left for the registry", "free some space"),
    "SQLITE_BUSY": (UnavailableError, "the registry is busy", "try again"),
    "SQLITE_LOCKED": (UnavailableError, "the registry is busy", "try again"),
    "SQLITE_IOERR": (UnavailableError, "the registry's disk fails", "check the disk and try again"),
    "SQLITE_NOMEM": (UnavailableError, "no memory left for the registry", "try again"),
    "SQLITE_ERROR": (IntegrityError, "the registry's tables are not as they should be", _RESTORE),
}

_AWAY: Meaning = (
    UnavailableError,
    "the registry does not answer",
    "check that the server runs and try again",
)
_LOGIN: Meaning = (AccessError, "the registry refused the login", "check user and password")
_DAMAGED: Meaning = (
    IntegrityError,
    "the registry's tables are not as they should be",
    _RESTORE,
)
_READ_ONLY: Meaning = (
    UnavailableError,
    "the registry's server is read-only",
    "use the primary (target_session_attrs=read-write), or try again when it is writable",
)
_LIMIT: Meaning = (
    UnavailableError,
    "the registry's server has no connection left",
    "try again, or raise its limit of connections",
)
_STARTING: Meaning = (
    UnavailableError,
    "the registry's server starts, recovers or shuts down",
    "try again",
)
_BUSY: Meaning = (UnavailableError, "the registry is busy", "try again")
_ROOM: Meaning = (UnavailableError, "the registry's server has no room left", "make room there")
_POOLED: Meaning = (
    ConfigError,
    "the registry's pooler mixes up prepared statements",
    "leave prepare_threshold out of the URL",
)
_POSTGRES: dict[str, Meaning] = {
    "28000": _LOGIN,
    "28P01": _LOGIN,
    "42501": (
        AccessError,
        "the registry refused the request",
        "grant the user its schema and tables",
    ),
    "3D000": (ConfigError, "the registry's database does not exist", "create it, or correct it"),
    "3F000": (
        ConfigError,
        "the registry's schema does not exist",
        "create it, or correct the user's search_path",
    ),
    "25006": _READ_ONLY,
    "53300": _LIMIT,
    "53100": _ROOM,
    "53200": _ROOM,
    "57P01": _STARTING,
    "57P02": _STARTING,
    "57P03": _STARTING,
    "57014": _BUSY,
    "40001": _BUSY,
    "40P01": _BUSY,
    "55P03": _BUSY,
    "26000": _POOLED,
    "42P05": _POOLED,
    "42P01": _DAMAGED,
    "42703": _DAMAGED,
    "42804": _DAMAGED,
    "42883": _DAMAGED,
    "XX001": (IntegrityError, "the registry is damaged", "restore it from a backup"),
    "XX002": (IntegrityError, "the registry is damaged", "restore it from a backup"),
}
_TRUST: Meaning = (
    AccessError,
    "the registry's server is not trusted",
    "check sslrootcert and host",
)
_OPTION: Meaning = (
    ConfigError,
    "the registry's URL has an option that cannot be",
    "correct the URL",
)
# What libpq refuses by itself has no code. Its texts are asked for these alone, and only when the
# server has said nothing.
_CLIENT: tuple[tuple[re.Pattern[str], Meaning], ...] = (
    (re.compile(r"SSL error: certificate verify failed"), _TRUST),
    (re.compile(r"server certificate for \".*\" .*does not match host name"), _TRUST),
    (re.compile(r"server does not support SSL, but SSL was required"), _TRUST),
    (re.compile(r"(root )?certificate file \".*\" (does not exist|could not)"), _OPTION),
    (re.compile(r"could not read (root )?certificate file"), _OPTION),
    (re.compile(r"invalid \w+ value: "), _OPTION),
    (re.compile(r"invalid integer value "), _OPTION),
)
_CODE = re.compile(rb"\tErrorResponse\t.*? C \"([0-9A-Z]{5})\"")
_TRACE_TIMEOUT = 5.0  # seconds
_MAX_TRACE = 1 << 20  # bytes


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn a database's exceptions into casflow's, chained.

    Args:
        where: The registry's file or URL, without password.
    """
    try:
        yield
    except DBAPIError as error:
        raise of_driver(error.orig or error, where) from error
    except PoolTimeoutError as error:
        raise UnavailableError(
            "all connections are in use", where=where, hint="try again"
        ) from error
    except SQLAlchemyError as error:
        raise ConfigError(f"the registry cannot be used ({error})", where=where) from error


def of_driver(error: BaseException, where: str) -> CasflowError:
    """Return the casflow error for one of sqlite3 or psycopg."""
    if hasattr(error, "sqlite_errorname"):
        return _of_sqlite(error, where)
    if type(error).__module__.startswith("sqlite3"):
        return IntegrityError(f"the registry is damaged ({error})", where=where, hint=_RESTORE)
    return _of_postgres(error, where)


def _of_sqlite(error: BaseException, where: str) -> CasflowError:
    name = str(getattr(error, "sqlite_errorname", ""))
    for start, (kind, what, hint) in _SQLITE.items():
        if name == start or name.startswith(f"{start}_"):
            return kind(f"{what} ({error})", where=where, hint=hint)
    return CasflowError(f"the registry failed ({error})", where=where)


def _of_postgres(error: Any, where: str) -> CasflowError:
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    kind, what, hint = _meaning(error)
    return kind(f"{what} ({text})", where=where, hint=hint)


def _meaning(error: Any) -> Meaning:
    import psycopg

    code = getattr(error, "sqlstate", None) or getattr(error, "casflow_sqlstate", None)
    if code in _POSTGRES:
        return _POSTGRES[code]
    if code is None and isinstance(error, psycopg.ProgrammingError):
        return _OPTION  # psycopg refused the URL's options before it connected
    pgconn = getattr(error, "pgconn", None)
    if code is None and pgconn is not None and pgconn.needs_password:
        return _LOGIN
    if code is None:
        return next((its for words, its in _CLIENT if words.search(str(error))), _AWAY)
    if isinstance(error, psycopg.OperationalError):
        return _AWAY
    return (CasflowError, f"the registry failed with SQLSTATE {code}", "see its server's log")


def find_login_code(conninfo: str) -> str | None:
    """Connect once more and return the SQLSTATE by which the server refuses; None without one.

    psycopg keeps the code of an error only once a connection stands; libpq's trace has it before.
    """
    import psycopg
    from psycopg import pq

    try:
        with tempfile.TemporaryFile() as trace:  # without a name: it may hold the password
            connection = pq.PGconn.connect_start(conninfo.encode())
            connection.trace(trace.fileno())
            try:
                _finish_connecting(connection)
            finally:
                connection.untrace()
                connection.finish()
            os.lseek(trace.fileno(), 0, os.SEEK_SET)
            codes = _CODE.findall(os.read(trace.fileno(), _MAX_TRACE))
    except (OSError, psycopg.Error):
        return None
    return codes[-1].decode() if codes else None


def _finish_connecting(connection: PGconn) -> None:
    from psycopg.pq import PollingStatus

    deadline = time.monotonic() + _TRACE_TIMEOUT
    status = PollingStatus.WRITING
    while status in (PollingStatus.READING, PollingStatus.WRITING):
        if connection.socket < 0 or (left := deadline - time.monotonic()) <= 0:
            return
        poll = select.poll()
        poll.register(
            connection.socket,
            select.POLLIN if status == PollingStatus.READING else select.POLLOUT,
        )
        poll.poll(left * 1000)
        status = PollingStatus(connection.connect_poll())
