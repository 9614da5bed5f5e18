"""The registry's tables, and how values stand in their columns.

Owns the schema and its number. Invariant: both databases hold the same values: moments as whole
microseconds since 1970 in UTC, JSON as text, names under 64 hexadecimal digits of their digest
(PostgreSQL cannot index 1000 arbitrary characters). References are kept here, never code.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from casflow.registry.records import RunState
from casflow.registry.validation import Malformed

if TYPE_CHECKING:
    from sqlalchemy import Dialect

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """A point in time: microseconds since 1970 in the table, aware UTC in Python."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Return the column's value."""
        return None if value is None else (value.astimezone(UTC) - _EPOCH) // _TICK

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """Return Python's value."""
        try:
            return None if value is None else _EPOCH + value * _TICK
        except (TypeError, OverflowError) as error:
            return Malformed(str(error))


class Duration(TypeDecorator[timedelta]):
    """A length of time: microseconds in the table."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: timedelta | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Return the column's value."""
        return None if value is None else value // _TICK

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """Return Python's value."""
        try:
            return None if value is None else value * _TICK
        except (TypeError, OverflowError) as error:
            return Malformed(str(error))


class Json(TypeDecorator[Any]):
    """Any JSON value, as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return the column's value."""
        return None if value is None else json.dumps(value, allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        """Return Python's value."""
        try:
            return None if value is None else json.loads(value, parse_constant=_refuse)
        except (ValueError, TypeError, RecursionError) as error:
            return Malformed(f"not JSON ({error})")


class Labels(Json):
    """Labels: a sorted JSON list in the table, a tuple in Python."""

    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Return Python's value."""
        labels = super().process_result_value(value, dialect) or []
        return tuple(labels) if isinstance(labels, list) else Malformed("labels are not a list")


class State(TypeDecorator[RunState]):
    """The state of a run, by its name."""

    impl = String(16)
    cache_ok = True

    def process_bind_param(self, value: RunState | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return the column's value."""
        return None if value is None else value.value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """Return Python's value."""
        try:
            return None if value is None else RunState(value)
        except ValueError as error:
            return Malformed(str(error))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


metadata = MetaData()

schema = Table("casflow_schema", metadata, Column("number", Integer, primary_key=True))

projects = Table(
    "casflow_projects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("name", Text, nullable=False),
)

flows = Table(
    "casflow_flows",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project_id", ForeignKey(projects.c.id), nullable=False),
    Column("key", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("latest", Integer, nullable=False),  # number of the newest version; 0 before the first
    UniqueConstraint("project_id", "key"),
)

versions = Table(
    "casflow_versions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("flow_id", ForeignKey(flows.c.id), nullable=False),
    Column("number", Integer, nullable=False),
    Column("digest", String(71), nullable=False),
    Column("storage", Json, nullable=False),
    Column("reference", Json),
    Column("labels", Labels, nullable=False),
    Column("location", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("created", Moment, nullable=False),
    Column("quarantined", Moment),  # when its row was set aside, since it cannot be read
    UniqueConstraint("flow_id", "number"),
    Index("casflow_versions_by_digest", "flow_id", "digest", "number"),
    Index("casflow_versions_by_content", "digest"),
)

# Runs share few sets of labels, so an agent compares the sets and the index finds the runs.
label_sets = Table(
    "casflow_label_sets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("labels", Labels, nullable=False),
)

label_limits = Table(
    "casflow_label_limits",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("label", Text, nullable=False),
    Column("runs", Integer, nullable=False),
)

agents = Table(
    "casflow_agents",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("labels", Labels, nullable=False),
    Column("started", Moment, nullable=False),
    Column("heartbeat", Moment, nullable=False),
    Column("ended", Moment),
    Column("skew", Duration),
)

runs = Table(
    "casflow_runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version_id", ForeignKey(versions.c.id), nullable=False, index=True),
    Column("label_set_id", ForeignKey(label_sets.c.id), nullable=False),
    Column("parameters", Json, nullable=False),
    Column("state", State, nullable=False),
    Column("message", Text),
    Column("scheduled", Moment, nullable=False),
    Column("attempt", Integer, nullable=False),  # claims so far: tells this holder from an older
    Column("losses", Integer, nullable=False),  # agents that died with it
    Column("agent_id", ForeignKey(agents.c.id)),
    Column("heartbeat", Moment),
    Column("created", Moment, nullable=False),
    Column("started", Moment),
    Column("ended", Moment),
    Column("outcome", Json),
    Index("casflow_runs_waiting", "state", "scheduled", "id", "label_set_id"),
    Index("casflow_runs_by_agent", "agent_id", "state"),
)
