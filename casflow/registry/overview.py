"""What goes on: agents, runs, and how warm they were.

Owns the numbers that people and monitoring look at. Invariant: they are of one state of the
database, and reading them changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from casflow.registry.agents import missing_labels, working
from casflow.registry.records import RunState
from casflow.registry.schema import agents, label_limits, label_sets, runs, versions
from casflow.registry.validation import agent_of, is_labels, readable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from casflow.registry.database import Database
    from casflow.registry.records import Agent


@dataclass(frozen=True, slots=True)
class Overview:
    """What goes on in a registry.

    Attributes:
        moment: When that was.
        agents: The agents that have not ended, oldest first.
        held: How many runs each agent runs, by its id.
        runs: How many runs are in each state.
        limits: How many runs with a label may run at a time, by label.
        unserved: How many runs wait that no working agent can take, by their labels.
        hits: How many of the latest runs downloaded nothing.
        misses: How many of them downloaded.
        saved: Bytes that were not downloaded, since they were in a cache.
        downloaded: Bytes that were.
    """

    moment: datetime
    agents: tuple[Agent, ...]
    held: Mapping[int, int]
    runs: Mapping[RunState, int]
    limits: Mapping[str, int]
    unserved: Mapping[tuple[str, ...], int]
    hits: int
    misses: int
    saved: int
    downloaded: int

    @property
    def hit_rate(self) -> float | None:
        """Part of the latest runs that downloaded nothing; None when there were no runs."""
        total = self.hits + self.misses
        return self.hits / total if total else None


class Overviews:
    """The part of the registry that looks at everything at once."""

    _db: Database

    def overview(self, *, latest: int = 1000) -> Overview:
        """Return what goes on.

        Args:
            latest: How many ended runs are looked at for hits and bytes.
        """
        with self._db.read() as connection:
            ended = connection.execute(_ENDED.limit(latest)).all()
            now = self._db.now(connection)
            alive = readable(connection.execute(_AGENTS), agent_of)
            return Overview(
                now,
                tuple(alive),
                _counted(connection, runs.c.agent_id, runs.c.state == RunState.RUNNING),
                dict.fromkeys(RunState, 0) | _counted(connection, runs.c.state),
                {row.label: row.runs for row in connection.execute(select(label_limits))},
                _unserved(connection, working(alive, now)),
                **_warm_counts(ended),
            )


_AGENTS = select(*agents.c).where(agents.c.ended.is_(None)).order_by(agents.c.id)
_ENDED = (
    select(runs.c.outcome, versions.c.reference)
    .join_from(runs, versions, runs.c.version_id == versions.c.id)
    .where(runs.c.outcome.is_not(None))
    .order_by(runs.c.id.desc())
)


def _counted(connection: Connection, column: Any, *where: Any) -> dict[Any, int]:
    rows = connection.execute(select(column, func.count()).where(*where).group_by(column))
    return {key: count for key, count in rows if isinstance(key, int | RunState)}


def _unserved(connection: Connection, agents: list[Agent]) -> dict[tuple[str, ...], int]:
    waiting = (
        select(label_sets.c.labels, func.count())
        .select_from(runs.join(label_sets, runs.c.label_set_id == label_sets.c.id))
        .where(runs.c.state == RunState.SCHEDULED)
        .group_by(label_sets.c.id, label_sets.c.labels)
    )
    return {
        labels: count
        for labels, count in connection.execute(waiting)
        if is_labels(labels) and missing_labels(labels, agents) is not None
    }


def _warm_counts(ended: Iterable[Any]) -> dict[str, int]:
    found = {"hits": 0, "misses": 0, "saved": 0, "downloaded": 0}
    for outcome, reference in ended:
        if not isinstance(outcome, dict):
            continue
        if outcome.get("cache") == "hit":
            found["hits"] += 1
            found["saved"] += _count(reference, "size")
        elif outcome.get("cache") == "miss":
            found["misses"] += 1
            found["downloaded"] += _count(outcome, "downloaded_bytes")
    return found


def _count(form: object, key: str) -> int:
    value = form.get(key) if isinstance(form, dict) else None
    return value if isinstance(value, int) and value > 0 else 0
