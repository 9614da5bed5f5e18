"""Many processes at one registry at the same moment."""

from __future__ import annotations

import time

import pytest

from casflow.registry import Registry, RunState
from tests.registry.processes import (
    add_if_new,
    add_one,
    at_once,
    claim_all,
    claim_and_hang,
    hold_turn,
    in_background,
    recover_all,
)


def test_a_new_registry_is_made_once_and_versions_have_no_gaps(url: str) -> None:
    assert sorted(at_once(16, add_one, url, "etl")) == list(range(1, 17))


@pytest.mark.parametrize("lock", [True, False], ids=["in turn", "without a turn"])
def test_the_same_content_becomes_one_version(url: str, lock: bool) -> None:
    said = at_once(16, add_if_new, url, "etl", lock)
    assert sorted(said) == [False] * 15 + [True]
    with Registry(url) as registry:
        assert len(registry.versions(None, "etl")) == 1


def test_no_run_is_taken_twice_and_none_is_lost(url: str) -> None:
    add_one(url, "etl", 1)
    with Registry(url) as registry:
        version = registry.get_version(None, "etl")
        wanted = [registry.create_run(version).id for _ in range(100)]
        taken = [each for ids in at_once(16, claim_all, url) for each in ids]
        assert sorted(taken) == wanted
        assert len(registry.runs(state=RunState.SUCCESS, limit=None)) == 100


def test_the_run_of_a_killed_agent_returns_once(url: str) -> None:
    add_one(url, "etl", 1)
    with Registry(url) as registry:
        run = registry.create_run(registry.get_version(None, "etl"))
        doomed = in_background(claim_and_hang, url)
        while registry.get_run(run.id).state != RunState.RUNNING:
            time.sleep(0.01)
        doomed.kill()
        doomed.join()
        time.sleep(0.25)
        said = at_once(8, recover_all, url)
        assert [each for ids in said for each in ids] == [run.id]
        assert registry.get_run(run.id).losses == 1


def test_a_killed_holder_gives_its_turn_back(url: str) -> None:
    with Registry(url) as registry:
        holder = in_background(hold_turn, url, "etl")
        while registry.find_latest(None, "turn taken") is None:
            time.sleep(0.01)
        began = time.monotonic()
        with registry.lock(None, "etl", timeout=0.3):
            assert time.monotonic() - began >= 0.29, "two held one turn"
        with registry.lock(None, "other", timeout=10):
            assert time.monotonic() - began < 5, "flows wait for one another"
        holder.kill()
        holder.join()
        began = time.monotonic()
        with registry.lock(None, "etl", timeout=20):
            assert time.monotonic() - began < 10
