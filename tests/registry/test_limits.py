"""Limits of labels: over all agents, also when they claim at the same moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from casflow.errors import ConfigError
from casflow.registry import Agent, Registry, RunState

if TYPE_CHECKING:
    from collections.abc import Callable

    from casflow.registry import Version


@pytest.fixture
def waiting(registry: Registry, add: Callable[..., Version]) -> list[int]:
    """Six runs: of every two one needs `gpu`, the other nothing."""
    version = add()
    return [
        registry.create_run(version, labels=labels).id for _ in range(3) for labels in (["gpu"], [])
    ]


def test_no_more_runs_of_a_label_are_claimed_than_its_limit(
    registry: Registry, agent: Agent, waiting: list[int]
) -> None:
    registry.limit_label("gpu", 2)
    taken = registry.claim(agent, limit=6)
    assert [run.labels for run in taken].count(("gpu",)) == 2
    assert len(taken) == 5
    assert registry.claim(agent, limit=6) == []
    registry.finish(taken[0], RunState.SUCCESS)
    assert [run.id for run in registry.claim(agent, limit=6)] == [waiting[4]]


def test_a_full_label_does_not_keep_others_waiting(
    registry: Registry, agent: Agent, waiting: list[int]
) -> None:
    registry.limit_label("gpu", 0)
    taken = [run.id for _ in range(3) for run in registry.claim(agent)]
    assert taken == waiting[1::2]


def test_a_limit_is_changed_and_taken_away(
    registry: Registry, agent: Agent, waiting: list[int]
) -> None:
    registry.limit_label("gpu", 0)
    registry.limit_label("gpu", 1)
    registry.limit_label("cpu", 4)
    assert registry.label_limits() == {"cpu": 4, "gpu": 1}
    registry.limit_label("gpu", None)
    registry.limit_label("absent", None)
    assert registry.label_limits() == {"cpu": 4}
    assert len(registry.claim(agent, limit=6)) == 6


@pytest.mark.parametrize(("label", "most"), [("a,b", 1), ("", 1), ("gpu", -1)])
def test_a_limit_that_is_none_is_refused(registry: Registry, label: str, most: int) -> None:
    with pytest.raises(ConfigError):
        registry.limit_label(label, most)


def test_agents_that_claim_at_once_stay_within_a_limit(
    registry: Registry, add: Callable[..., Version]
) -> None:
    registry.limit_label("gpu", 3)
    for _ in range(20):
        registry.create_run(add(), labels=["gpu"])
    agents = [
        registry.add_agent(name="a", host="h", pid=number, labels=["gpu"]) for number in range(8)
    ]
    with ThreadPoolExecutor(8) as pool:
        taken: list[Any] = [run for runs in pool.map(registry.claim, agents) for run in runs]
    assert len(taken) == 3
