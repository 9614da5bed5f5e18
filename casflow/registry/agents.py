"""Agents and their heartbeats.

Owns the agents' rows and their heartbeats. Invariant: an agent and the runs that it holds beat
together, in one transaction, so that a run is silent exactly when its agent is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from casflow.errors import NotFoundError
from casflow.registry.records import Agent, RunState, check_labels
from casflow.registry.schema import agents, runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from casflow.registry.database import Database


class Agents:
    """The part of the registry that knows agents."""

    _db: Database
    _now: Callable[[], datetime]

    def add_agent(self, *, name: str, host: str, pid: int, labels: Iterable[str]) -> Agent:
        """Enter an agent that starts.

        Raises:
            ConfigError: A label is malformed.
        """
        now = self._now()
        row = {"name": name, "host": host, "pid": pid, "labels": check_labels(labels)}
        row |= {"started": now, "heartbeat": now}
        with self._db.write() as connection:
            entered = agents.insert().values(row).returning(*agents.c)
            return agent_of(connection.execute(entered).one())

    def heartbeat(self, agent: Agent) -> Mapping[int, int]:
        """Record that an agent is alive, and with it the runs that it holds.

        Returns:
            The attempt of each run that the agent still holds, by the run's id; what is missing
            was cancelled or taken from it, and has to be stopped.

        Raises:
            NotFoundError: The registry does not know the agent.
        """
        now = self._now()
        alive = update(agents).where(agents.c.id == agent.id).values(heartbeat=now, ended=None)
        held = (runs.c.agent_id == agent.id) & (runs.c.state == RunState.RUNNING)
        beat = update(runs).where(held).values(heartbeat=now)
        with self._db.write() as connection:
            if not connection.execute(alive).rowcount:
                raise NotFoundError("no such agent", where=f"agent {agent.id}")
            rows = connection.execute(beat.returning(runs.c.id, runs.c.attempt)).all()
        return {int(row.id): int(row.attempt) for row in rows}

    def held_by(self, agent: Agent) -> Mapping[int, int]:
        """Return what `heartbeat` returns, without writing anything."""
        held = (runs.c.agent_id == agent.id) & (runs.c.state == RunState.RUNNING)
        with self._db.read() as connection:
            rows = connection.execute(select(runs.c.id, runs.c.attempt).where(held)).all()
        return {int(row.id): int(row.attempt) for row in rows}

    def end_agent(self, agent: Agent) -> None:
        """Note that an agent stopped."""
        with self._db.write() as connection:
            gone = update(agents).where(agents.c.id == agent.id)
            connection.execute(gone.values(ended=self._now()))

    def agents(self) -> list[Agent]:
        """Return the agents that have not ended, oldest first; see `heartbeat` for the silent."""
        query = select(*agents.c).where(agents.c.ended.is_(None)).order_by(agents.c.id)
        with self._db.read() as connection:
            return [agent_of(row) for row in connection.execute(query)]


def agent_of(row: Any) -> Agent:
    """Return the agent of a row."""
    return Agent(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
