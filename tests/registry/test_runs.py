"""What a registry of any kind promises about runs."""

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


def test_a_new_run_waits(registry: Registry, add: Add, clock: Clock) -> None:
    version = add("etl", labels=["linux"])
    run = registry.create_run(version, parameters={"n": (1, 2)})
    assert run == registry.get_run(run.id)
    assert (run.flow, run.version, run.digest) == ("etl", 1, version.digest)
    assert (run.state, run.parameters, run.labels) == ("Scheduled", {"n": [1, 2]}, ("linux",))
    assert run.created == run.scheduled == clock.moment
    assert run.agent is run.heartbeat is run.started is run.ended is run.outcome is None


def test_a_run_s_own_labels_replace_those_of_the_version(registry: Registry, add: Add) -> None:
    version = add(labels=["linux"])
    assert registry.create_run(version, labels=[]).labels == ()
    assert registry.create_run(version, labels=["b", "a"]).labels == ("a", "b")


def test_bad_parameters_make_no_run(registry: Registry, add: Add) -> None:
    with pytest.raises(ConfigError, match="'x'"):
        registry.create_run(add(), parameters={"x": object()})
    assert registry.runs() == []


def test_no_such_run(registry: Registry) -> None:
    with pytest.raises(NotFoundError, match="run 12"):
        registry.get_run(12)


def test_runs_are_listed_newest_first(registry: Registry, add: Add, agent: Agent) -> None:
    etl, other = add("etl"), add("other", project="p")
    first, second, third = (registry.create_run(each) for each in (etl, other, etl))
    assert [each.id for each in registry.runs()] == [third.id, second.id, first.id]
    assert [each.id for each in registry.runs(flow="etl", limit=1)] == [third.id]
    assert [each.id for each in registry.runs(project="p")] == [second.id]
    registry.claim(agent)
    assert [each.id for each in registry.runs(state=RunState.RUNNING)] == [first.id]


def test_claim_takes_the_oldest_and_tells_who_holds_it(
    registry: Registry, add: Add, agent: Agent, clock: Clock
) -> None:
    version = add()
    late = registry.create_run(version, scheduled=clock.moment - timedelta(seconds=1))
    early = registry.create_run(version, scheduled=clock.moment - timedelta(seconds=2))
    clock.tick()
    taken = registry.claim(agent, limit=5)
    assert [each.id for each in taken] == [early.id, late.id]
    assert {each.state for each in taken} == {RunState.RUNNING}
    assert taken[0].started == taken[0].heartbeat == clock.moment
    assert (taken[0].attempt, taken[0].agent) == (1, "first")
    assert registry.claim(agent) == []


def test_claim_takes_no_more_than_it_wants(registry: Registry, add: Add, agent: Agent) -> None:
    for _ in range(3):
        registry.create_run(add())
    assert len(registry.claim(agent, limit=2)) == 2
    assert len(registry.claim(agent, limit=2)) == 1


def test_a_run_of_the_future_waits(
    registry: Registry, add: Add, agent: Agent, clock: Clock
) -> None:
    registry.create_run(add(), scheduled=clock.moment + MINUTE)
    assert registry.claim(agent) == []
    clock.tick(60)
    assert len(registry.claim(agent)) == 1


@pytest.mark.parametrize(
    ("labels", "taken"),
    [
        ([], True),
        (["gpu"], True),
        (["gpu", "linux"], True),
        (["gpu", "windows"], False),
        (["g"], False),
        (["GPU"], False),
        (["gpu linux"], False),
    ],
)
def test_an_agent_carries_all_labels_of_its_runs(
    registry: Registry, add: Add, agent: Agent, labels: list[str], taken: bool
) -> None:
    registry.create_run(add(), labels=labels)
    assert bool(registry.claim(agent)) is taken


def test_finish_keeps_what_was_measured(
    registry: Registry, run: Run, agent: Agent, clock: Clock
) -> None:
    (held,) = registry.claim(agent)
    clock.tick()
    outcome = {"cache": "miss", "downloaded_bytes": 3, "load_seconds": 0.5}
    done = registry.finish(held, RunState.SUCCESS, message=" two\nlines\0 ", outcome=outcome)
    assert done == registry.get_run(run.id)
    assert (done.state, done.outcome, done.message) == ("Success", outcome, "two lines")
    assert (done.ended, done.agent) == (clock.moment, "first")


def test_a_run_ends_once(registry: Registry, run: Run, agent: Agent) -> None:
    (held,) = registry.claim(agent)
    done = registry.finish(held, RunState.FAILED)
    for act in (registry.release, registry.cancel, lambda each: registry.finish(each, "Success")):
        with pytest.raises(ConflictError, match="Failed"):
            act(held)
    assert registry.get_run(run.id) == done


def test_a_run_that_nobody_holds_cannot_finish(registry: Registry, run: Run) -> None:
    with pytest.raises(ConflictError, match="it is Scheduled"):
        registry.finish(run, RunState.SUCCESS)


@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.SCHEDULED])
def test_only_a_final_state_ends_a_run(
    registry: Registry, run: Run, agent: Agent, state: RunState
) -> None:
    (held,) = registry.claim(agent)
    with pytest.raises(ConfigError, match=f"cannot end as {state}"):
        registry.finish(held, state)


def test_a_waiting_run_can_be_cancelled(registry: Registry, run: Run, agent: Agent) -> None:
    assert registry.cancel(run).state == RunState.CANCELLED
    assert registry.claim(agent) == []
    with pytest.raises(ConflictError, match="ended as Cancelled"):
        registry.cancel(run)


def test_cancel_of_an_unknown_run(registry: Registry, run: Run) -> None:
    with pytest.raises(NotFoundError):
        registry.cancel(replace(run, id=99))


def test_the_holder_of_a_cancelled_run_learns_of_it(
    registry: Registry, run: Run, agent: Agent
) -> None:
    (held,) = registry.claim(agent)
    assert registry.heartbeat(agent) == {run.id: 1}
    registry.cancel(run)
    assert registry.heartbeat(agent) == {}
    with pytest.raises(ConflictError, match="it is Cancelled"):
        registry.finish(held, RunState.SUCCESS)


def test_a_released_run_waits_again_and_counts_no_loss(
    registry: Registry, run: Run, agent: Agent
) -> None:
    for attempt in range(1, 6):
        (held,) = registry.claim(agent)
        assert (held.attempt, held.losses) == (attempt, 0)
        back = registry.release(held)
        assert (back.state, back.agent, back.started) == (RunState.SCHEDULED, None, None)


def test_a_run_that_was_put_off_waits_behind_the_others_and_says_why(
    registry: Registry, run: Run, add: Add, agent: Agent, clock: Clock
) -> None:
    clock.tick(1)
    other = registry.create_run(add())
    clock.tick(1)
    (held,) = registry.claim(agent)
    assert held.id == run.id
    back = registry.put_off(held, "the registry\ndoes not answer")
    assert (back.state, back.message) == (RunState.SCHEDULED, "the registry does not answer")
    assert [each.id for each in registry.claim(agent, limit=2)] == [other.id, run.id]
    with pytest.raises(ConflictError):
        registry.put_off(held, "too late")


def test_a_clock_that_was_set_back_holds_no_run_back(
    registry: Registry, add: Add, agent: Agent, clock: Clock
) -> None:
    now, later = registry.create_run(add()), clock.moment + timedelta(minutes=1)
    registry.create_run(add(), scheduled=later)
    clock.tick(-3600)
    assert [each.id for each in registry.claim(agent, limit=5)] == [now.id]
