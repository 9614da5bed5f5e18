"""Looking up one version in a registry that is a file, without SQLAlchemy.

Owns the short way to a version for a process that is to run it and nothing else: importing
SQLAlchemy takes longer than most flows. Invariant: what is found here is what `get_version`
returns; where that is in doubt nothing is found, and the registry itself has to be asked.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

from casflow.digests import digest_of, hex_of, parse
from casflow.errors import ConfigError, IntegrityError
from casflow.reference import check_name
from casflow.registry.records import SCHEMA, Version, check_project
from casflow.registry.validation import version_of

SQLITE = ("sqlite:///", "sqlite+pysqlite:///")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMEOUT = 30.0  # seconds
_QUERY = """
SELECT
    versions.id, projects.name AS project, flows.name AS flow, versions.number, versions.digest,
    versions.storage, versions.reference, versions.labels, versions.location,
    versions.idempotency_key, versions.created
FROM casflow_versions AS versions
JOIN casflow_flows AS flows ON flows.id = versions.flow_id
JOIN casflow_projects AS projects ON projects.id = flows.project_id
WHERE (SELECT max(number) FROM casflow_schema) = :schema
    AND projects.key = :project AND flows.key = :flow
    AND versions.number = coalesce(:number, versions.number)
    AND versions.digest = coalesce(:digest, versions.digest)
    AND versions.quarantined IS NULL
ORDER BY versions.number DESC
LIMIT 1
"""


def key_of(name: str) -> str:
    """Return the 64 characters under which a name of any length is found."""
    return hex_of(digest_of(name.encode()))


def file_of(url: str) -> Path | None:
    """Return the path in a SQLite URL as it stands there: `?` and `%` may be part of a name.

    Raises:
        ConfigError: It is such a URL without a file, or what is there is a pipe or a device, for
            which SQLite would wait.
    """
    for start in SQLITE:
        if url.startswith(start):
            path = url[len(start) :]
            if not path or path.startswith((":memory:", "file:")):
                break
            file = Path(path).absolute()
            if _is_odd(file):
                raise ConfigError("the registry is no file", where=file)
            return file
    if url.startswith("sqlite"):
        raise ConfigError("the registry needs a file", where=url, hint="write sqlite:///<file>")
    return None


def _is_odd(path: Path) -> bool:
    """Tell whether what is at a path is neither a file nor a folder."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (S_ISREG(mode) or S_ISDIR(mode))


def find_version(
    url: str, project: str | None, flow: str, number: int | None = None, digest: str | None = None
) -> Version | None:
    """Return a version as `Registry.get_version` does, or None when that has to be asked.

    Raises:
        ConfigError: The URL, the name or the digest is malformed.
    """
    path = file_of(url)
    if path is None:
        return None
    values = {
        "schema": SCHEMA,
        "project": key_of(check_project(project)),
        "flow": key_of(check_name(flow)),
        "number": number,
        "digest": None if digest is None else parse(digest),
    }
    try:
        # Not for reading alone: then SQLite could not open a file that nobody has open.
        opened = sqlite3.connect(f"{path.as_uri()}?mode=rw", timeout=_TIMEOUT, uri=True)
        with closing(opened) as connection:
            connection.row_factory = sqlite3.Row
            row = connection.execute(_QUERY, values).fetchone()
        return None if row is None else _version(dict(row))
    except (
        sqlite3.Error,
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        IntegrityError,
    ):  # the registry says what is wrong
        return None


def _version(row: dict[str, Any]) -> Version:
    for name in ("storage", "reference", "labels"):
        row[name] = None if row[name] is None else json.loads(row[name])
    row["labels"] = tuple(row["labels"] or ())
    row["created"] = _EPOCH + timedelta(microseconds=row["created"])
    return version_of(row)
