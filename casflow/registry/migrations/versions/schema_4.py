"""Schema 4: how far the clock of an agent's machine is ahead of the database's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """Add the column."""
    op.add_column("casflow_agents", sa.Column("skew", sa.BigInteger))
