"""Schema 2: how many runs with a label may run at a time."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, String, Text

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Make the table of limits."""
    op.create_table(
        "casflow_label_limits",
        Column("id", Integer, primary_key=True),
        Column("key", String(64), nullable=False, unique=True),
        Column("label", Text, nullable=False),
        Column("runs", Integer, nullable=False),
    )
