"""Projects, flows and their versions.

Owns who registered what. Invariant: a flow's versions are numbered 1, 2, 3 … without gaps, by one
counter that only grows inside the transaction that adds the version; a version once added is
never removed, and of it only reference, storage and location can be replaced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, Table, func, select, update

from casflow.digests import parse
from casflow.errors import ConflictError, IntegrityError, NotFoundError, did_you_mean
from casflow.reference import Reference, check_name
from casflow.registry.lookup import key_of
from casflow.registry.records import Version, check_labels, check_parameters, check_project
from casflow.registry.schema import flows, projects, versions
from casflow.registry.validation import is_moment, readable, version_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from casflow.registry.database import Database

_JOINED = versions.join(flows, versions.c.flow_id == flows.c.id).join(
    projects, flows.c.project_id == projects.c.id
)
_OWN = [each for each in versions.c if each.name not in ("flow_id", "quarantined")]
_COLUMNS: Select[Any] = select(*_OWN, projects.c.name.label("project"), flows.c.name.label("flow"))
_NOT_QUARANTINED = versions.c.quarantined.is_(None)
_VERSIONS = _COLUMNS.select_from(_JOINED).where(_NOT_QUARANTINED)
# Outer, since SQLite would else read all versions to find the few that are the latest.
_LATEST = _COLUMNS.select_from(
    flows.join(projects, flows.c.project_id == projects.c.id).outerjoin(
        versions, (versions.c.flow_id == flows.c.id) & (versions.c.number == flows.c.latest)
    )
)
_MAX_NAMES = 5000  # that a "did you mean" looks at
_NAMES_SHOWN = 5
_AFTER_DIGITS = "g"  # sorts behind every digit of a digest, in every collation


class Versions:
    """The part of the registry that holds projects, flows and versions."""

    _db: Database

    def add_version(
        self,
        *,
        project: str | None,
        flow: str,
        digest: str,
        storage: Mapping[str, Any],
        reference: Mapping[str, Any] | None,
        labels: Sequence[str],
        location: str,
        idempotency_key: str | None = None,
        after: int | None = None,
    ) -> Version:
        """Add the flow's next version; a project or flow that is not there yet is made.

        (Prefect demanded that the project existed.)

        Args:
            project: Name of the project; `default` when None.
            flow: Name of the flow.
            digest: Digest of the flow's blob.
            storage: The storage's JSON form, without secrets.
            reference: The reference's JSON form, if the storage wrote one.
            labels: Labels that an agent must carry to run it.
            location: Where the storage keeps it.
            idempotency_key: Any text by which the caller knows the registration again.
            after: Number of the latest version that the caller has seen, 0 for none; when another
                came in between, nothing is added.

        Raises:
            ConfigError: A name, a label or the digest is malformed.
            ConflictError: The latest version is not `after`.
        """
        names = check_project(project), check_name(flow)
        row: dict[str, Any] = {
            "digest": parse(digest),
            "storage": check_parameters(storage),
            "reference": _checked_reference(reference, location),
            "labels": check_labels(labels),
            "location": location,
            "idempotency_key": idempotency_key,
        }
        with self._db.write() as connection:
            flow_id = _flow_id(connection, *names)
            number = _next_number(connection, flow_id, after)
            row |= {"flow_id": flow_id, "number": number, "created": self._db.now(connection)}
            version_id = connection.scalar(versions.insert().values(row).returning(versions.c.id))
            return _version(connection.execute(_VERSIONS.where(versions.c.id == version_id)).one())

    def update_reference(
        self,
        version: Version,
        *,
        reference: Mapping[str, Any] | None,
        storage: Mapping[str, Any],
        location: str,
    ) -> Version:
        """Replace where a version is kept; its number, digest and labels stay.

        Raises:
            NotFoundError: The registry does not hold this version.
        """
        row = {
            "reference": _checked_reference(reference, location),
            "storage": check_parameters(storage),
            "location": location,
        }
        this = versions.c.id == version.id
        with self._db.write() as connection:
            if connection.execute(update(versions).where(this).values(row)).rowcount == 0:
                raise NotFoundError(
                    "no such version", where=f"{version.flow} version {version.number}"
                )
            return _version(connection.execute(_VERSIONS.where(this)).one())

    def find_latest(self, project: str | None, flow: str) -> Version | None:
        """Return a flow's newest version, or None when it was never registered."""
        query = _of_flow(project, flow).order_by(versions.c.number.desc()).limit(1)
        with self._db.read() as connection:
            row = connection.execute(query).one_or_none()
            return None if row is None else _version(row)

    def get_version(
        self,
        project: str | None,
        flow: str,
        version: int | None = None,
        digest: str | None = None,
    ) -> Version:
        """Return one version of a flow: by number, by digest (its newest), or the latest.

        Raises:
            ConfigError: The digest is malformed.
            NotFoundError: There is none; the message names what there is.
        """
        query = _of_flow(project, flow).order_by(versions.c.number.desc()).limit(1)
        if version is not None:
            query = query.where(versions.c.number == version)
        if digest is not None:
            query = query.where(versions.c.digest == parse(digest))
        with self._db.read() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                raise _absent(connection, check_project(project), flow, version, digest)
            return _version(row)

    def get_by_digest(self, start: str) -> Version:
        """Return the newest version, of any flow, whose digest starts so.

        Raises:
            NotFoundError: There is none.
            ConflictError: Several digests start so.
        """
        query = _VERSIONS.where(
            versions.c.digest.startswith(start, autoescape=True),
            versions.c.digest.between(start, f"{start}{_AFTER_DIGITS}"),  # what an index can find
        )
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(versions.c.id.desc()).limit(_MAX_NAMES))
            found = readable(rows, version_of)
        if not found:
            raise NotFoundError("no version has a digest that starts so", where=start)
        if len({each.digest for each in found}) > 1:
            raise ConflictError("several digests start so", where=start, hint="write more of it")
        return found[0]

    def versions(
        self, project: str | None, flow: str, *, limit: int | None = None
    ) -> list[Version]:
        """Return a flow's versions, newest first.

        Raises:
            NotFoundError: There is no such flow.
        """
        query = _of_flow(project, flow).order_by(versions.c.number.desc()).limit(limit)
        with self._db.read() as connection:
            found = readable(connection.execute(query), version_of)
            if not found:
                raise _absent(connection, check_project(project), flow, None, None)
            return found

    def versions_since(self, after: int, *, limit: int = 100) -> list[Version]:
        """Return the versions of all flows that were added after a row, newest first.

        Args:
            after: `id` of a version; 0 for all.
            limit: At most so many.
        """
        query = _VERSIONS.where(versions.c.id > after).order_by(versions.c.id.desc()).limit(limit)
        with self._db.read() as connection:
            return readable(connection.execute(query), version_of)

    def flows(self, project: str | None = None) -> list[Version]:
        """Return the latest version of every flow, of all projects when None, sorted by name."""
        query = _LATEST
        if project is not None:
            query = query.where(projects.c.key == key_of(check_project(project)))
        with self._db.read() as connection:
            rows = [row for row in connection.execute(query) if row.id is not None]
            found = readable(rows, version_of)
        return sorted(found, key=lambda each: (each.project, each.flow))

    def projects(self) -> list[str]:
        """Return the names of all projects, sorted."""
        with self._db.read() as connection:
            return sorted(connection.scalars(select(projects.c.name)))


def _checked_reference(form: Mapping[str, Any] | None, where: str) -> dict[str, Any] | None:
    """Return a reference's form as it may be recorded.

    Raises:
        IntegrityError: It is none, whatever the store says.
    """
    if form is None:
        return None
    Reference.from_dict(dict(form), where=where)
    if not is_moment(form.get("created")):
        raise IntegrityError(f"damaged reference (created is {form.get('created')!r})", where=where)
    return check_parameters(form)


def _of_flow(project: str | None, flow: str) -> Select[Any]:
    return _VERSIONS.where(
        projects.c.key == key_of(check_project(project)), flows.c.key == key_of(check_name(flow))
    )


def _version(row: Any) -> Version:
    return version_of(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


def ensure(connection: Connection, table: Table, names: dict[str, Any], **rest: Any) -> int:
    """Return the id of the row with these unique values; it is made when it is not there."""
    from sqlalchemy.dialects import postgresql, sqlite

    same = [table.c[name] == value for name, value in names.items()]
    found = connection.scalar(select(table.c.id).where(*same))
    if found is not None:
        return int(found)
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    row = dialect.insert(table).values(**names, **rest).on_conflict_do_nothing()
    connection.execute(row)
    return int(connection.execute(select(table.c.id).where(*same)).scalar_one())


def _flow_id(connection: Connection, project: str, flow: str) -> int:
    project_id = ensure(connection, projects, {"key": key_of(project)}, name=project)
    names = {"project_id": project_id, "key": key_of(flow)}
    return ensure(connection, flows, names, name=flow, latest=0)


def _next_number(connection: Connection, flow_id: int, after: int | None) -> int:
    this = flows.c.id == flow_id
    latest = connection.scalar(select(flows.c.latest).where(this).with_for_update())
    if after is not None and latest != after:
        raise ConflictError(
            "another registration of the flow came first", hint="look at its latest version"
        )
    # Not the latest plus one: later ones may have been set aside, and keep their numbers.
    last = connection.scalar(
        select(func.max(versions.c.number)).where(versions.c.flow_id == flow_id)
    )
    number = int(last or 0) + 1
    connection.execute(update(flows).where(this).values(latest=number))
    return number


def _absent(
    connection: Connection, project: str, flow: str, version: int | None, digest: str | None
) -> NotFoundError:
    of_project = projects.c.key == key_of(project)
    query = select(flows.c.latest).select_from(flows.join(projects)).where(of_project)
    latest = connection.scalar(query.where(flows.c.key == key_of(flow)))
    where = f"{flow!r} in project {project!r}"
    if latest is None:
        return NotFoundError("no such flow", where=where, hint=_close(connection, project, flow))
    what = f"no version {version}" if digest is None else f"no version with {digest}"
    if version is not None and digest is not None:
        what = f"no version {version} with {digest}"
    return NotFoundError(f"{what} of the flow", where=where, hint=f"its latest is {latest}")


def _close(connection: Connection, project: str, flow: str) -> str:
    query = select(projects.c.name, flows.c.name).select_from(flows.join(projects))
    rows = connection.execute(query.order_by(flows.c.id.desc()).limit(_MAX_NAMES)).all()
    elsewhere = sorted(there for there, name in rows if name == flow)
    if elsewhere:
        return f"there is one in project {elsewhere[0]!r}"
    names = sorted(name for there, name in rows if there == project)
    if hint := did_you_mean(flow, names):
        return hint
    if not names:
        return "register it first"
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"there are {', '.join(map(repr, names[:_NAMES_SHOWN]))}{more}"
