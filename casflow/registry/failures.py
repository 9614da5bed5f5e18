"""Errors of a database as casflow's own.

Owns the translation of SQLAlchemy's, sqlite3's and psycopg's exceptions. Invariant: nothing of
theirs leaves the registry, and no message holds a password, a statement or its values.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from casflow.errors import AccessError, CasflowError, ConfigError, IntegrityError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

_RESTORE = (
    "restore it from a backup, or move it away and register the flows again"
    " (what they stored is not touched)"
)
_SQLITE: dict[str, tuple[type[CasflowError], str, str]] = {
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
_POSTGRES: dict[str, tuple[type[CasflowError], str, str]] = {
    "28": (AccessError, "the registry refused the login", "check user and password"),
    "42501": (AccessError, "the registry refused the request", "grant the user its tables"),
    "3D": (ConfigError, "the registry's database does not exist", "create it, or correct the URL"),
    "42": (IntegrityError, "the registry's tables are not as they should be", _RESTORE),
    "XX": (IntegrityError, "the registry is damaged", "restore it from a backup"),
    "trust": (AccessError, "the registry's server is not trusted", "check sslrootcert and host"),
    "option": (ConfigError, "the registry's URL has an option that cannot be", "correct the URL"),
}
_SAID: dict[str, str] = {  # before a connection stands there is no code, only text
    "authentication failed": "28",
    "no password supplied": "28",
    "no pg_hba.conf entry": "28",
    'role "': "28",
    'database "': "3D",
    "certificate verify failed": "trust",
    "does not match host name": "trust",
    "server does not support SSL": "trust",
    "certificate file": "option",
    "invalid sslmode value": "option",
    "invalid connection option": "option",
    "invalid integer value": "option",
}


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


def _of_postgres(error: BaseException, where: str) -> CasflowError:
    lines = str(error).strip().splitlines()
    said = lines[0] if lines else type(error).__name__
    code = getattr(error, "sqlstate", None) or _code_said(str(error))
    for start in (code, code[:2]):
        if start in _POSTGRES:
            kind, what, hint = _POSTGRES[start]
            return kind(f"{what} ({said})", where=where, hint=hint)
    hint = "check that the server runs and try again"
    return UnavailableError(f"the registry does not answer ({said})", where=where, hint=hint)


def _code_said(text: str) -> str:
    return next((code for words, code in _SAID.items() if words in text), "")
