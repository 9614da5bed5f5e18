"""What is asked again and again reads no whole table, so that it costs the same as they grow."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from casflow.registry import Registry, RunState
from tests.registry.processes import _add

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GROWING = ("casflow_versions", "casflow_runs")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry on SQLite, which says how it will read."""
    with Registry(f"sqlite:///{tmp_path / 'registry.db'}") as registry:
        yield registry


def plans(registry: Registry, act: Callable[[], Any]) -> list[str]:
    """Return how the tables are read in what an act asks of the database."""
    engine, asked = registry._db.engine(), []

    def note(_: Any, cursor: Any, statement: str, parameters: Any, *more: Any) -> None:
        asked.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    act()
    event.remove(engine, "before_cursor_execute", note)
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        return [
            row[3]
            for statement, parameters in asked
            for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]


def test_nothing_that_is_asked_often_reads_a_whole_table(registry: Registry) -> None:
    version = _add(registry, "etl", b"code")
    agent = registry.add_agent(name="a", host="h", pid=1, labels=["x"])
    for _ in range(3):
        registry.create_run(version)
    (held,) = registry.claim(agent)
    acts: dict[str, Callable[[], Any]] = {
        "register": lambda: _add(registry, "etl", b"more", after=1),
        "find latest": lambda: registry.find_latest(None, "etl"),
        "get version": lambda: registry.get_version(None, "etl", 1),
        "get by digest": lambda: registry.get_by_digest(version.digest[:20]),
        "new versions": lambda: registry.versions_since(1),
        "list": registry.flows,
        "create run": lambda: registry.create_run(version),
        "heartbeat": lambda: registry.heartbeat(agent),
        "held": lambda: registry.held_by(agent),
        "recover": lambda: registry.recover(timedelta(seconds=60)),
        "finish": lambda: registry.finish(held, RunState.SUCCESS),
        "claim": lambda: registry.claim(agent),
    }
    for name, act in acts.items():
        read = plans(registry, act)
        assert read, name
        whole = [each for each in read if each.startswith("SCAN") and each.split()[1] in GROWING]
        assert (name, whole) == (name, [])
