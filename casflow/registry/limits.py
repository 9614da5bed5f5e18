"""How many runs with a label may run at a time, over all agents.

Owns the limits and what is free of them. Invariant: who claims runs holds the limits' rows
locked, so together agents never go beyond a limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, update

from casflow.errors import ConfigError
from casflow.registry.lookup import key_of
from casflow.registry.records import RunState, check_labels
from casflow.registry.schema import label_limits, label_sets, runs
from casflow.registry.validation import is_labels
from casflow.registry.versions import ensure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

    from casflow.registry.database import Database


class Limits:
    """The part of the registry that holds limits of labels."""

    _db: Database

    def limit_label(self, label: str, most: int | None) -> None:
        """Let at most so many runs with a label run at a time; any number when None.

        What runs already is not stopped.

        Raises:
            ConfigError: The label is malformed, or the number below 0.
        """
        (label,) = check_labels([label])
        if most is not None and most < 0:
            raise ConfigError("not a number of runs", where=str(most), hint="write 0 or more")
        with self._db.write() as connection:
            if most is None:
                connection.execute(delete(label_limits).where(label_limits.c.label == label))
                return
            names = {"key": key_of(label)}
            row = ensure(connection, label_limits, names, label=label, runs=most)
            connection.execute(
                update(label_limits).where(label_limits.c.id == row).values(runs=most)
            )

    def label_limits(self) -> dict[str, int]:
        """Return how many runs may run at a time, by label."""
        with self._db.read() as connection:
            rows = connection.execute(select(label_limits).order_by(label_limits.c.label)).all()
        return {row.label: row.runs for row in rows}


class Slots:
    """What is free of the limits, while a claim holds them.

    Args:
        free: How many more runs may run, by label.
    """

    def __init__(self, free: Mapping[str, int]) -> None:
        self._free = dict(free)

    def admits(self, labels: Iterable[str]) -> bool:
        """Tell whether one more run with these labels may run."""
        return all(self._free.get(label, 1) > 0 for label in labels)

    def take(self, labels: Iterable[str]) -> bool:
        """Count one more run with these labels, if it may run."""
        wanted = list(labels)
        if not self.admits(wanted):
            return False
        for label in wanted:
            if label in self._free:
                self._free[label] -= 1
        return True


def lock_limits(connection: Connection, carried: Iterable[str]) -> Slots:
    """Lock the limits of labels until the transaction ends; return what is free."""
    keys = [key_of(label) for label in carried]
    query = select(label_limits).where(label_limits.c.key.in_(keys)).order_by(label_limits.c.id)
    free = {row.label: row.runs for row in connection.execute(query.with_for_update())}
    if free:
        for labels, count in connection.execute(_RUNNING):
            for label in free.keys() & set(labels if is_labels(labels) else ()):
                free[label] -= count
    return Slots(free)


_RUNNING = (
    select(label_sets.c.labels, func.count())
    .select_from(runs.join(label_sets, runs.c.label_set_id == label_sets.c.id))
    .where(runs.c.state == RunState.RUNNING)
    .group_by(label_sets.c.id, label_sets.c.labels)
)
