"""Bringing a registry's tables to the schema that this casflow knows.

Owns the way from no tables, or those of an older casflow, to `records.SCHEMA`. Invariant: it is
gone by one process at a time and in one transaction, so a registry has the tables and the number
of one schema, whoever is killed meanwhile. Revisions are Alembic's; `versions/schema_<n>.py` leads
from the schema before to schema <n>. `casflow_schema.number` is what counts: Alembic's own table is
written anew from it before each upgrade. Alembic is imported for an upgrade alone, since it is slow
to start.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, select, text

from casflow.errors import ConfigError, IntegrityError
from casflow.registry.records import SCHEMA
from casflow.registry.schema import metadata, schema

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection, Engine

ALEMBIC_TABLE = "casflow_alembic"
_LOCK = 0x63617366  # PostgreSQL's advisory lock that guards the tables
_turn = threading.Lock()  # Alembic keeps the connection that it works on in a global variable


def prepare(engine: Engine, where: str) -> None:
    """See to it that a database has this casflow's tables.

    Raises:
        ConfigError: It has a newer casflow's.
        IntegrityError: Its schema is none that ever was.
    """
    with engine.connect() as connection:
        number = _number(connection)
    if number is None or number < SCHEMA:
        number = _upgrade(engine, where)
    if number > SCHEMA:
        what = f"the registry has schema {number}, this casflow knows {SCHEMA}"
        raise ConfigError(what, where=where, hint="use a newer casflow")


def upgrade(connection: Connection, number: int) -> None:
    """Upgrade tables of an older schema, inside of the connection's transaction."""
    from alembic import command

    with _turn:
        command.stamp(config(connection), str(number), purge=True)
        command.upgrade(config(connection), "head")


def config(connection: Connection) -> Config:
    """Return Alembic's settings for work on a connection."""
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    settings.set_main_option("path_separator", "newline")
    settings.attributes["connection"] = connection
    return settings


def _upgrade(engine: Engine, where: str) -> int:
    with engine.connect() as connection:
        connection.execution_options(casflow_write=True)
        with connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            number = _number(connection)
            if number is None:
                metadata.create_all(connection)
                connection.execute(schema.insert().values(number=SCHEMA))
            elif number < 1:
                raise IntegrityError(f"the registry has schema {number}", where=where)
            elif number < SCHEMA:
                upgrade(connection, number)
            return max(number or 0, SCHEMA)


def _number(connection: Connection) -> int | None:
    if not inspect(connection).has_table(schema.name):
        return None
    return connection.scalar(select(schema.c.number))
