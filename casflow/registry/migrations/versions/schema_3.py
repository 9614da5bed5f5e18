"""Schema 3: versions are found by the start of a digest without reading all of them."""

from __future__ import annotations

from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Make the index."""
    op.create_index("casflow_versions_by_content", "casflow_versions", ["digest"])
