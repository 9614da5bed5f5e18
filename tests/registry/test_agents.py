"""What a registry of any kind promises about agents that live, stop and die."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from casflow.errors import ConfigError, ConflictError, NotFoundError
from casflow.registry import Agent, Registry, Run, RunState, Version

if TYPE_CHECKING:
    from tests.registry.processes import Clock

Add = Callable[..., Version]
MINUTE = timedelta(minutes=1)


def test_agents_are_listed_until_they_end(registry: Registry, agent: Agent) -> None:
    other = registry.add_agent(name="second", host="there", pid=2, labels=[])
    assert registry.agents() == [agent, other]
    assert agent.labels == ("gpu", "linux")
    registry.end_agent(agent)
    assert registry.agents() == [other]


def test_an_agent_s_labels_are_checked(registry: Registry) -> None:
    with pytest.raises(ConfigError, match="not a label"):
        registry.add_agent(name="x", host="h", pid=1, labels=["a,b"])


def test_heartbeat_moves_agent_and_runs(
    registry: Registry, run: Run, agent: Agent, clock: Clock
) -> None:
    registry.claim(agent)
    clock.tick(5)
    registry.heartbeat(agent)
    assert registry.agents()[0].heartbeat == clock.moment
    assert registry.get_run(run.id).heartbeat == clock.moment


def test_heartbeat_of_a_stranger(registry: Registry, agent: Agent) -> None:
    with pytest.raises(NotFoundError, match="agent 99"):
        registry.heartbeat(replace(agent, id=99))


def test_a_heartbeat_moves_no_other_agent_s_run(
    registry: Registry, run: Run, agent: Agent, clock: Clock
) -> None:
    registry.claim(agent)
    other = registry.add_agent(name="second", host="there", pid=2, labels=[])
    clock.tick(61)
    assert registry.heartbeat(other) == {}
    assert [each.id for each in registry.recover(MINUTE)] == [run.id]


def test_runs_of_living_agents_are_left_alone(
    registry: Registry, run: Run, agent: Agent, clock: Clock
) -> None:
    registry.claim(agent)
    clock.tick(60)
    assert registry.recover(MINUTE) == []


def test_a_silent_agent_s_run_returns_once(
    registry: Registry, run: Run, agent: Agent, clock: Clock
) -> None:
    registry.claim(agent)
    clock.tick(61)
    (back,) = registry.recover(MINUTE)
    assert (back.id, back.state, back.losses, back.agent) == (run.id, "Scheduled", 1, None)
    assert back.message == "its agent died"
    assert registry.recover(MINUTE) == []


def test_an_agent_that_comes_back_has_lost_its_run(
    registry: Registry, run: Run, agent: Agent, clock: Clock
) -> None:
    (before,) = registry.claim(agent)
    clock.tick(61)
    registry.recover(MINUTE)
    assert registry.heartbeat(agent) == {}
    (again,) = registry.claim(agent)
    assert registry.heartbeat(agent) == {run.id: 2}
    with pytest.raises(ConflictError, match="no longer held by attempt 1"):
        registry.finish(before, RunState.SUCCESS)
    assert registry.finish(again, RunState.SUCCESS).state == RunState.SUCCESS


def test_a_run_that_lost_three_agents_fails(
    registry: Registry, run: Run, agent: Agent, clock: Clock
) -> None:
    for losses in (1, 2):
        registry.claim(agent)
        clock.tick(61)
        assert registry.recover(MINUTE)[0].losses == losses
    registry.claim(agent)
    clock.tick(61)
    (failed,) = registry.recover(MINUTE)
    assert (failed.state, failed.losses, failed.ended) == ("Failed", 3, clock.moment)
    assert failed.message == "3 agents died while they ran it"
    assert registry.claim(agent) == []


def test_recover_tells_the_spared_and_the_failed(
    registry: Registry, add: Add, agent: Agent, clock: Clock
) -> None:
    old = registry.create_run(add())
    for _ in range(2):
        registry.claim(agent)
        clock.tick(61)
        registry.recover(MINUTE)
    new = registry.create_run(add())
    registry.claim(agent, limit=2)
    clock.tick(61)
    states = {each.id: each.state for each in registry.recover(MINUTE)}
    assert states == {old.id: RunState.FAILED, new.id: RunState.SCHEDULED}


def test_a_silent_agent_is_given_up_until_it_speaks(
    registry: Registry, agent: Agent, clock: Clock
) -> None:
    clock.tick(61)
    registry.recover(MINUTE)
    assert registry.agents() == []
    registry.heartbeat(agent)
    assert [each.id for each in registry.agents()] == [agent.id]


def test_held_by_tells_what_heartbeat_tells(registry: Registry, run: Run, agent: Agent) -> None:
    assert registry.held_by(agent) == {}
    registry.claim(agent)
    assert registry.held_by(agent) == registry.heartbeat(agent) == {run.id: 1}
