"""Agents and their heartbeats.

Owns the agents' rows and their heartbeats. Invariant: an agent and the runs that it holds beat
together, in one transaction, so that a run is silent exactly when its agent is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from casflow.errors import NotFoundError
from casflow.registry.records import Agent, RunState, check_agent_name, check_labels
from casflow.registry.schema import agents, runs
from casflow.registry.validation import agent_of, readable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

    from casflow.registry.database import Database


_AGENT_TIMEOUT = timedelta(minutes=1)


class Agents:
    """The part of the registry that knows agents."""

    _db: Database

    def add_agent(self, *, name: str, host: str, pid: int, labels: Iterable[str]) -> Agent:
        """Enter an agent that starts.

        Raises:
            ConfigError: Its name or a label is malformed.
        """
        row: dict[str, Any] = {
            "name": check_agent_name(name),
            "host": host,
            "pid": pid,
            "labels": check_labels(labels),
        }
        with self._db.write() as connection:
            now, skew = self._clocks(connection)
            row |= {"started": now, "heartbeat": now, "skew": skew}
            entered = agents.insert().values(row).returning(*agents.c)
            return agent_of(dict(connection.execute(entered).one()._mapping))  # noqa: SLF001

    def heartbeat(self, agent: Agent) -> Mapping[int, int]:
        """Record that an agent is alive, and with it the runs that it holds.

        Returns:
            The attempt of each run that the agent still holds, by the run's id; what is missing
            was cancelled or taken from it, and has to be stopped.

        Raises:
            NotFoundError: The registry does not know the agent.
        """
        this = update(agents).where(agents.c.id == agent.id)
        held = (runs.c.agent_id == agent.id) & (runs.c.state == RunState.RUNNING)
        with self._db.write() as connection:
            now, skew = self._clocks(connection)
            alive = this.values(heartbeat=now, skew=skew, ended=None)
            if not connection.execute(alive).rowcount:
                raise NotFoundError("no such agent", where=f"agent {agent.id}")
            beat = update(runs).where(held).values(heartbeat=now)
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
            connection.execute(gone.values(ended=self._db.now(connection)))

    def agents(self) -> list[Agent]:
        """Return the agents that have not ended, oldest first; see `heartbeat` for the silent."""
        query = select(*agents.c).where(agents.c.ended.is_(None)).order_by(agents.c.id)
        with self._db.read() as connection:
            return readable(connection.execute(query), agent_of)

    def clock_skew(self) -> timedelta:
        """Return how far this machine's clock is ahead of the database's; negative: behind."""
        with self._db.read() as connection:
            return self._clocks(connection)[1]

    def find_missing_labels(self, labels: Iterable[str]) -> tuple[str, ...] | None:
        """Return the labels for which no working agent can take a run, or None when one can."""
        with self._db.read() as connection:
            now = self._db.now(connection)
            rows = connection.execute(select(*agents.c).where(agents.c.ended.is_(None)))
            return missing_labels(labels, working(readable(rows, agent_of), now))

    def _clocks(self, connection: Connection) -> tuple[datetime, timedelta]:
        """Return the moment by the database's clock, and how far that of this machine is ahead."""
        before = datetime.now(UTC)
        now = self._db.now(connection)
        return now, before + (datetime.now(UTC) - before) / 2 - now


def working(agents: Iterable[Agent], now: datetime) -> list[Agent]:
    """Return the agents whose heartbeat is not older than a minute."""
    return [
        each for each in agents if each.ended is None and now - each.heartbeat <= _AGENT_TIMEOUT
    ]


def missing_labels(labels: Iterable[str], agents: Iterable[Agent]) -> tuple[str, ...] | None:
    """Return the fewest labels that an agent lacks to take a run, or None when one lacks none.

    Without any agent these are all of the labels, of which there may be none.
    """
    wanted = set(labels)
    lacking = [tuple(sorted(wanted - set(each.labels))) for each in agents]
    fewest = min(lacking, key=len, default=tuple(sorted(wanted)))
    return None if lacking and not fewest else fewest
