"""Rows that others wrote: named, left out of lists, set aside; the rest goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, text

from casflow.errors import CasflowError, IntegrityError
from casflow.registry import Registry, RunState
from tests.registry.processes import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from casflow.registry import Version

DEEP = "[" * 100_000
VERSIONS = [
    ("storage", "{"),
    ("storage", "[]"),
    ("storage", '{"x": NaN}'),
    ("storage", DEEP),
    ("reference", "7"),
    ("reference", json.dumps({**REFERENCE, "created": "1.5"})),
    ("labels", '{"a": 1}'),
    ("labels", "[[1]]"),
    ("digest", "blake3:zz"),
    ("created", 2**62),
]
RUNS = [
    ("parameters", "["),
    ("parameters", "[]"),
    ("state", "Running?"),
    ("outcome", "1e999"),
    ("outcome", '"x"'),
    ("created", -(2**62)),
]


@pytest.fixture
def write(url: str) -> Any:
    """Write into a table behind the registry's back."""

    def written(table: str, column: str, value: object, row: int) -> None:
        engine = create_engine(url)
        with engine.begin() as connection:
            statement = f"UPDATE casflow_{table} SET {column} = :value WHERE id = :row"
            connection.execute(text(statement), {"value": value, "row": row})
        engine.dispose()

    return written


@pytest.mark.parametrize(("column", "value"), VERSIONS)
def test_a_damaged_version_stops_nothing_else(
    registry: Registry, add: Callable[..., Version], write: Any, column: str, value: object
) -> None:
    sound, bad = add("sound"), add("bad", b"other")
    write("versions", column, value, bad.id)
    assert [each.flow for each in registry.flows()] == ["sound"]
    assert registry.versions_since(0) == [sound]
    assert registry.get_version(None, "sound") == sound
    with pytest.raises(CasflowError) as caught:
        registry.find_latest(None, "bad")
    assert isinstance(caught.value, IntegrityError)
    assert "casflow registry check" in str(caught.value)
    (damage,) = registry.damage()
    assert (damage.kind, damage.id, damage.location) == ("version", bad.id, "etl/2026")
    registry.quarantine([damage])
    assert registry.find_latest(None, "bad") is None
    assert add("bad", b"other", after=0).number == 2
    assert [each.flow for each in registry.flows()] == ["bad", "sound"]
    (damage,) = registry.damage()
    assert damage.reason.endswith("set aside")


def test_a_version_behind_a_damaged_one_is_the_latest_again(
    registry: Registry, add: Callable[..., Version], write: Any
) -> None:
    first, second = add(), add(content=b"more")
    write("versions", "storage", "{", second.id)
    registry.quarantine(registry.damage())
    assert registry.find_latest(None, "etl") == first
    assert registry.flows() == [first]
    assert add(content=b"third", after=1).number == 3


@pytest.mark.parametrize(("column", "value"), RUNS)
def test_a_damaged_run_stops_no_other(
    registry: Registry, add: Callable[..., Version], agent: Any, write: Any, column: str, value: Any
) -> None:
    version = add()
    bad, sound = registry.create_run(version), registry.create_run(version)
    write("runs", column, value, bad.id)
    assert [each.id for each in registry.runs()] == [sound.id]
    registry.overview()
    with pytest.raises(IntegrityError):
        registry.get_run(bad.id)
    assert sound.id in [each.id for each in registry.claim(agent, limit=5)]
    registry.quarantine([each for each in registry.damage() if each.kind == "run"])
    assert registry.get_run(bad.id).state == RunState.FAILED


def test_a_damaged_agent_is_left_out(registry: Registry, agent: Any, write: Any) -> None:
    write("agents", "labels", "{", agent.id)
    assert registry.agents() == []
    assert registry.overview().agents == ()
    assert [each.kind for each in registry.damage()] == ["agent"]


@pytest.mark.parametrize(
    "change",
    [
        {"created": "1.5"},
        {"created": 7},
        {"created": "2026-11-22T23:38:15"},
        {"size": -1},
        {"digest": "x"},
        {"flow": "\x1b"},
        {"format": 2},
        {"attachments": []},
        {"labels": 7},
    ],
)
def test_a_malformed_reference_is_not_let_in(
    add: Callable[..., Version], registry: Registry, change: dict[str, Any]
) -> None:
    assert add("good", reference=REFERENCE).reference == REFERENCE
    with pytest.raises(IntegrityError):
        add(reference=json.loads(json.dumps({**REFERENCE, **change})))
    assert [each.flow for each in registry.flows()] == ["good"]
