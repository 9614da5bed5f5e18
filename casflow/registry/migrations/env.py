"""What Alembic runs for every command: revisions on the connection that it is handed.

Invariant: the number that every casflow looks at is changed together with the tables.
"""

from __future__ import annotations

from typing import Any

from alembic import context

from casflow.registry.migrations import ALEMBIC_TABLE
from casflow.registry.schema import metadata, schema


def note(ctx: Any, step: Any, *_: Any, **__: Any) -> None:
    """Write the schema's number after a step."""
    if not step.is_stamp:
        ctx.connection.execute(schema.update().values(number=int(step.up_revision_id)))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=ALEMBIC_TABLE,
    on_version_apply=note,
)
context.run_migrations()
