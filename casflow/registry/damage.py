"""Finding rows that cannot be read as records, and setting them aside.

Owns the check of a whole registry. Invariant: nothing is deleted; a version that was set aside is
still named by `damage`, so that what it may refer to is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import String, cast, func, select, update

from casflow.errors import IntegrityError
from casflow.reference import Reference
from casflow.registry.runs import SELECT_RUNS, set_aside_run
from casflow.registry.schema import agents, flows, projects, versions
from casflow.registry.validation import Damage, agent_of, run_of, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from casflow.registry.database import Database

_VERSIONS = select(
    *(each for each in versions.c if each.name not in ("flow_id", "quarantined")),
    projects.c.name.label("project"),
    flows.c.name.label("flow"),
    versions.c.quarantined,
    cast(versions.c.digest, String).label("raw_digest"),
    cast(versions.c.location, String).label("raw_location"),
).select_from(
    versions.join(flows, versions.c.flow_id == flows.c.id).join(
        projects, flows.c.project_id == projects.c.id
    )
)


_NEWEST = update(flows).values(
    latest=select(func.coalesce(func.max(versions.c.number), 0))
    .where(versions.c.flow_id == flows.c.id, versions.c.quarantined.is_(None))
    .scalar_subquery()
)


class Damages:
    """The part of the registry that looks for rows that cannot be read."""

    _db: Database

    def damage(self) -> list[Damage]:
        """Return the rows that cannot be read, also those that were set aside."""
        with self._db.read() as connection:
            return [*_of_versions(connection), *_of_runs(connection), *_of_agents(connection)]

    def quarantine(self, found: list[Damage]) -> None:
        """Set rows aside: no command reads such a version, its runs fail, such an agent ended."""
        with self._db.write() as connection:
            now = self._db.now(connection)
            for each in found:
                if each.kind == "version":
                    row = update(versions).where(versions.c.id == each.id)
                    connection.execute(row.values(quarantined=now))
                    connection.execute(_NEWEST)
                elif each.kind == "run":
                    set_aside_run(connection, each.id, now)
                else:
                    row = update(agents).where(agents.c.id == each.id)
                    connection.execute(row.values(ended=now, started=now, heartbeat=now, labels=()))


def _of_versions(connection: Connection) -> Iterator[Damage]:
    for row in connection.execute(_VERSIONS.order_by(versions.c.id)):
        values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
        aside, digest = values.pop("quarantined"), values.pop("raw_digest")
        location = values.pop("raw_location")
        try:
            version = version_of(values)
            if version.reference is not None:
                Reference.from_dict(version.reference, where=version.location)
        except IntegrityError as error:
            reason = f"{error.what}, set aside" if aside is not None else error.what
            yield Damage("version", row.id, reason, digest, location)


def _of_runs(connection: Connection) -> Iterator[Damage]:
    for row in connection.execute(SELECT_RUNS):
        try:
            run_of(dict(row._mapping))  # noqa: SLF001
        except IntegrityError as error:
            yield Damage("run", row.id, error.what)


def _of_agents(connection: Connection) -> Iterator[Damage]:
    for row in connection.execute(select(*agents.c).where(agents.c.ended.is_(None))):
        try:
            agent_of(dict(row._mapping))  # noqa: SLF001
        except IntegrityError as error:
            yield Damage("agent", row.id, error.what)
