"""Runs that wait, run and end, and the agents that take them.

Owns the states of a run. Invariant: a run has at most one holder, known from earlier ones by the
number of its attempt: who lost a run (to a cancellation, or because it fell silent and the run
was recovered) can no longer change it. A final state never changes.

    Scheduled ──claim──> Running ──finish──> Success | Failed | Cancelled
        ^  └──cancel──> Cancelled  │
        └─release, put_off, recover┘       (the third lost agent: Failed)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, select, text, update

from casflow.errors import ConfigError, ConflictError, NotFoundError
from casflow.redaction import redact_value
from casflow.reference import check_name
from casflow.registry.limits import Slots, lock_limits
from casflow.registry.lookup import key_of
from casflow.registry.records import (
    Run,
    RunState,
    check_labels,
    check_parameters,
    check_project,
    message_line,
)
from casflow.registry.schema import (
    agents,
    flows,
    label_sets,
    projects,
    runs,
    versions,
)
from casflow.registry.validation import is_labels, readable, run_of
from casflow.registry.versions import ensure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

    from casflow.registry.database import Database
    from casflow.registry.records import Agent, RunAttempt, Version

CHANNEL = "casflow"
MAX_LOSSES = 3
_DROPPED = ("version_id", "label_set_id", "agent_id")
SELECT_RUNS: Select[Any] = select(
    *(each for each in runs.c if each.name not in _DROPPED),
    projects.c.name.label("project"),
    flows.c.name.label("flow"),
    versions.c.number.label("version"),
    versions.c.digest,
    label_sets.c.labels,
    agents.c.name.label("agent"),
    agents.c.host,
).select_from(
    runs.join(versions, runs.c.version_id == versions.c.id)
    .join(flows, versions.c.flow_id == flows.c.id)
    .join(projects, flows.c.project_id == projects.c.id)
    .join(label_sets, runs.c.label_set_id == label_sets.c.id)
    .outerjoin(agents, runs.c.agent_id == agents.c.id)
)


class Runs:
    """The part of the registry that holds runs."""

    _db: Database

    def create_run(
        self,
        version: Version,
        *,
        parameters: Mapping[str, Any] | None = None,
        labels: Sequence[str] | None = None,
        scheduled: datetime | None = None,
    ) -> Run:
        """Ask for a run of a version.

        Args:
            version: What to run.
            parameters: The flow's parameters, any JSON.
            labels: Labels that an agent must carry; those of the version when None.
            scheduled: Not to be started before; now when None.

        Raises:
            ConfigError: A label is malformed or a parameter is not JSON.
        """
        wanted = check_labels(version.labels if labels is None else labels)
        row = {
            "version_id": version.id,
            "parameters": check_parameters(parameters),
            "state": RunState.SCHEDULED,
            "attempt": 0,
            "losses": 0,
        }
        with self._db.write() as connection:
            now = self._db.now(connection)
            row |= {"scheduled": scheduled or now, "created": now}
            row["label_set_id"] = ensure(
                connection, label_sets, {"key": key_of(",".join(wanted))}, labels=wanted
            )
            run_id = connection.execute(runs.insert().values(row).returning(runs.c.id)).scalar_one()
            _notify(connection)
            return _get(connection, run_id)

    def get_run(self, run_id: int) -> Run:
        """Return a run.

        Raises:
            NotFoundError: There is none with this number.
        """
        with self._db.read() as connection:
            return _get(connection, run_id)

    def runs(
        self,
        *,
        state: RunState | None = None,
        project: str | None = None,
        flow: str | None = None,
        limit: int | None = 100,
    ) -> list[Run]:
        """Return runs, newest first; those in a state, a project, of a flow, if given."""
        query = SELECT_RUNS.order_by(runs.c.id.desc()).limit(limit)
        if state is not None:
            query = query.where(runs.c.state == RunState(state))
        if project is not None:
            query = query.where(projects.c.key == key_of(check_project(project)))
        if flow is not None:
            query = query.where(flows.c.key == key_of(check_name(flow)))
        with self._db.read() as connection:
            return readable(connection.execute(query), run_of)

    def claim(self, agent: Agent, *, limit: int = 1) -> list[Run]:
        """Take waiting runs whose labels the agent carries, oldest first; no other gets them."""
        with self._db.write() as connection:
            now = self._db.now(connection)
            slots = lock_limits(connection, agent.labels)
            served = _served(connection, agent, slots)
            if not served:
                return []
            waiting = _waiting(served, now).limit(limit)
            ids = [row.id for row in connection.execute(waiting) if slots.take(row.labels)]
            taken = {
                "state": RunState.RUNNING,
                "agent_id": agent.id,
                "attempt": runs.c.attempt + 1,
                "heartbeat": now,
                "started": now,
                "message": None,
            }
            claimed = _change(connection, ids, taken)
            for each in set(ids) - {run.id for run in claimed}:
                set_aside_run(connection, each, now)
            return claimed

    def finish(
        self,
        run: Run | RunAttempt,
        state: RunState,
        *,
        message: str | None = None,
        outcome: Mapping[str, Any] | None = None,
    ) -> Run:
        """Put a run that the caller holds into a final state.

        Args:
            run: The run as it was claimed.
            state: `SUCCESS`, `FAILED` or `CANCELLED`.
            message: One line on why.
            outcome: What was measured, any JSON.

        Raises:
            ConfigError: The state is not final.
            ConflictError: The run is no longer the caller's.
        """
        if not RunState(state).is_final:
            raise ConfigError(f"a run cannot end as {state}", where=f"run {run.id}")
        ended: dict[str, Any] = {
            "state": RunState(state),
            "message": None if message is None else message_line(message),
        }
        ended["outcome"] = (
            None if outcome is None else check_parameters(redact_value(dict(outcome)))
        )
        return self._transition(run, ended)

    def release(self, run: Run) -> Run:
        """Give a run that the caller holds back to the queue.

        Raises:
            ConflictError: The run is no longer the caller's.
        """
        return self._transition(run, _requeued("its agent stopped"))

    def put_off(self, run: Run, reason: str) -> Run:
        """Give a run that cannot be started for now back to the queue, behind all that wait.

        Args:
            run: The run as it was claimed.
            reason: Why it could not be started.

        Raises:
            ConflictError: The run is no longer the caller's.
        """
        with self._db.write() as connection:
            now = self._db.now(connection)
        return self._transition(run, {**_requeued(message_line(reason)), "scheduled": now})

    def cancel(self, run: Run) -> Run:
        """Cancel a run that waits or runs; its agent stops it at the next heartbeat.

        Raises:
            ConflictError: It has ended.
            NotFoundError: There is no such run.
        """
        with self._db.write() as connection:
            now = self._db.now(connection)
            stands = _get(connection, run.id, lock=True)
            if stands.state.is_final:
                raise ConflictError(f"the run has ended as {stands.state}", where=f"run {run.id}")
            ended = {"state": RunState.CANCELLED, "message": "cancelled", "ended": now}
            _notify(connection)
            return _change(connection, [run.id], ended)[0]

    def recover(self, older_than: timedelta) -> list[Run]:
        """Give the runs of agents that have been silent for this long back to the queue, once.

        A run that lost its third agent fails instead, since it may be what killed them.

        Returns:
            The runs as they stand now.
        """
        with self._db.write() as connection:
            now = self._db.now(connection)
            lost = _lost(now - older_than)
            spared = connection.scalars(lost.where(runs.c.losses + 1 < MAX_LOSSES)).all()
            failed = connection.scalars(lost.where(runs.c.losses + 1 >= MAX_LOSSES)).all()
            again = _requeued("its agent died") | {"losses": runs.c.losses + 1}
            message = f"{MAX_LOSSES} agents died while they ran it"
            ended = {"state": RunState.FAILED, "message": message, "ended": now}
            ended |= {"losses": runs.c.losses + 1}
            silent = agents.c.ended.is_(None) & (agents.c.heartbeat < now - older_than)
            connection.execute(update(agents).where(silent).values(ended=now))
            if spared:
                _notify(connection)
            return _change(connection, spared, again) + _change(connection, failed, ended)

    def _transition(self, run: Run | RunAttempt, values: dict[str, Any]) -> Run:
        with self._db.write() as connection:
            if RunState(values["state"]).is_final:
                values["ended"] = self._db.now(connection)
            if not connection.execute(update(runs).where(_held(run)).values(values)).rowcount:
                stands = _get(connection, run.id)
                raise ConflictError(
                    f"the run is no longer held by attempt {run.attempt}, it is {stands.state}",
                    where=f"run {run.id}",
                )
            _notify(connection)
            return _get(connection, run.id)


def _run(row: Any) -> Run:
    return run_of(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


def _get(connection: Connection, run_id: int, *, lock: bool = False) -> Run:
    if lock:
        connection.execute(select(runs.c.id).where(runs.c.id == run_id).with_for_update())
    row = connection.execute(SELECT_RUNS.where(runs.c.id == run_id)).one_or_none()
    if row is None:
        raise NotFoundError("no such run", where=f"run {run_id}")
    return _run(row)


def set_aside_run(connection: Connection, run_id: int, now: datetime) -> None:
    """Let a run fail whose row cannot be read."""
    values: dict[str, Any] = {
        "state": RunState.FAILED,
        "message": "its record in the registry was damaged",
        "parameters": {},
        "outcome": None,
        "scheduled": now,
        "created": now,
        "started": None,
        "heartbeat": None,
        "ended": now,
    }
    connection.execute(update(runs).where(runs.c.id == run_id).values(values))


def _served(connection: Connection, agent: Agent, slots: Slots) -> list[int]:
    """Return the sets of labels that an agent may take runs of."""
    carried = frozenset(agent.labels)
    sets = connection.execute(select(label_sets.c.id, label_sets.c.labels))
    return [
        each
        for each, labels in sets
        if is_labels(labels) and carried.issuperset(labels) and slots.admits(labels)
    ]


def _waiting(served: Sequence[int], now: datetime) -> Select[Any]:
    return (
        select(runs.c.id, label_sets.c.labels)
        .join_from(runs, label_sets, runs.c.label_set_id == label_sets.c.id)
        .where(runs.c.state == RunState.SCHEDULED)
        # Asked for at once: taken at once, also when the clock was set back meanwhile.
        .where((runs.c.scheduled <= now) | (runs.c.scheduled == runs.c.created))
        .where(runs.c.label_set_id.in_(served))
        .order_by(runs.c.scheduled, runs.c.id)
        .with_for_update(of=runs, skip_locked=True)
    )


def _change(connection: Connection, ids: Sequence[int], values: dict[str, Any]) -> list[Run]:
    """Change runs and return them in the order of `ids`."""
    if not ids:
        return []
    connection.execute(update(runs).where(runs.c.id.in_(ids)).values(values))
    found = readable(connection.execute(SELECT_RUNS.where(runs.c.id.in_(ids))), run_of)
    return sorted(found, key=lambda run: ids.index(run.id))


def _held(run: Run | RunAttempt) -> ColumnElement[bool]:
    running = runs.c.state == RunState.RUNNING
    return (runs.c.id == run.id) & running & (runs.c.attempt == run.attempt)


def _lost(cutoff: datetime) -> Select[Any]:
    return (
        select(runs.c.id)
        .where(runs.c.state == RunState.RUNNING, runs.c.heartbeat < cutoff)
        .order_by(runs.c.id)
        .with_for_update(skip_locked=True)
    )


def _requeued(message: str) -> dict[str, Any]:
    nobody = {"agent_id": None, "heartbeat": None, "started": None}
    return {"state": RunState.SCHEDULED, "message": message, **nobody}


def _notify(connection: Connection) -> None:
    """Wake the agents at once where the database can; elsewhere they see the file change."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"NOTIFY {CHANNEL}"))
