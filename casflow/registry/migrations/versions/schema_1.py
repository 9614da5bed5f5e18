"""Schema 1: projects, flows, versions, runs and agents."""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import BigInteger, Column, ForeignKey, Integer, String, Text, UniqueConstraint

revision = "1"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    _number()
    _names()
    _versions()
    _agents()
    _runs()


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True)


def _key() -> Column[str]:
    return Column("key", String(64), nullable=False, unique=True)


def _must(name: str, kind: Any) -> Column[Any]:
    return Column(name, kind, nullable=False)


def _refers(name: str, target: str, *, must: bool = True) -> Column[int]:
    return Column(name, Integer, ForeignKey(f"casflow_{target}.id"), nullable=not must)


def _number() -> None:
    table = op.create_table("casflow_schema", Column("number", Integer, primary_key=True))
    op.bulk_insert(table, [{"number": 1}])


def _names() -> None:
    op.create_table("casflow_projects", _id(), _key(), _must("name", Text))
    op.create_table("casflow_label_sets", _id(), _key(), _must("labels", Text))
    op.create_table(
        "casflow_flows",
        _id(),
        _refers("project_id", "projects"),
        _must("key", String(64)),
        _must("name", Text),
        _must("latest", Integer),
        UniqueConstraint("project_id", "key"),
    )


def _versions() -> None:
    op.create_table(
        "casflow_versions",
        _id(),
        _refers("flow_id", "flows"),
        _must("number", Integer),
        _must("digest", String(71)),
        _must("storage", Text),
        Column("reference", Text),
        _must("labels", Text),
        _must("location", Text),
        Column("idempotency_key", Text),
        _must("created", BigInteger),
        UniqueConstraint("flow_id", "number"),
    )
    columns = ["flow_id", "digest", "number"]
    op.create_index("casflow_versions_by_digest", "casflow_versions", columns)


def _agents() -> None:
    op.create_table(
        "casflow_agents",
        _id(),
        _must("name", Text),
        _must("host", Text),
        _must("pid", Integer),
        _must("labels", Text),
        _must("started", BigInteger),
        _must("heartbeat", BigInteger),
        Column("ended", BigInteger),
    )


def _runs() -> None:
    op.create_table(
        "casflow_runs",
        _id(),
        _refers("version_id", "versions"),
        _refers("label_set_id", "label_sets"),
        _must("parameters", Text),
        _must("state", String(16)),
        Column("message", Text),
        _must("scheduled", BigInteger),
        _must("attempt", Integer),
        _must("losses", Integer),
        _refers("agent_id", "agents", must=False),
        Column("heartbeat", BigInteger),
        _must("created", BigInteger),
        Column("started", BigInteger),
        Column("ended", BigInteger),
        Column("outcome", Text),
    )
    waiting = ["state", "scheduled", "id", "label_set_id"]
    op.create_index("casflow_runs_waiting", "casflow_runs", waiting)
    op.create_index("casflow_runs_by_agent", "casflow_runs", ["agent_id", "state"])
    op.create_index("ix_casflow_runs_version_id", "casflow_runs", ["version_id"])
