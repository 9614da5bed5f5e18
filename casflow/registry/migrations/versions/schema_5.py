"""Schema 5: versions whose rows cannot be read are set aside."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "5"
down_revision = "4"


def upgrade() -> None:
    """Add the column."""
    op.add_column("casflow_versions", sa.Column("quarantined", sa.BigInteger))
