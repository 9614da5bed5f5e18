"""Registrations of flows that stand in a repository."""

from __future__ import annotations

import pytest

from casflow import config
from casflow.agents.execute import execute
from casflow.errors import IntegrityError
from casflow.flow import Flow
from casflow.registration import register
from casflow.registry import Registry
from casflow.storage import load


def versions_of(name):
    with Registry(config.load().registry) as registry:
        return registry.find_latest("default", name)


def test_an_unchanged_script_is_no_new_version_and_a_changed_one_is(world):
    world.commit("one")
    first = register(Flow("my-flow", world.storage()))
    assert (first.status, first.uploaded_bytes) == ("registered", 0)
    world.repository.commit({"unrelated.txt": "x"})
    assert register(Flow("my-flow", world.storage())).status == "unchanged"
    world.commit("two")
    again = register(Flow("my-flow", world.storage()))
    assert (again.status, again.version) == ("registered", 2)
    assert again.digest != first.digest


def test_a_pinned_registration_is_what_another_machine_runs(world):
    commit = world.commit("one")
    register(Flow("my-flow", world.storage(pin=True)))
    form = versions_of("my-flow").storage
    world.commit("two")
    world.use("second")
    opened = load(form).load_flow("my-flow")
    assert opened.flow.mark == "one"
    assert opened.reference.environment["commit"] == commit


def test_a_registration_asks_the_host_no_more_than_a_cold_run(open_world):
    world = open_world("github")
    world.commit("one")
    register(Flow("my-flow", world.storage()))
    assert len(world.host.log) == 2


def test_a_run_follows_a_moving_branch_and_keeps_the_commit(open_world):
    world = open_world("github")
    world.commit("one")
    register(Flow("my-flow", world.storage()))
    second = world.commit("two")
    outcome = {}
    execute("my-flow", versions_of("my-flow").storage, {}, outcome)
    assert (outcome["commit"], outcome["cache"]) == (second, "miss")


def test_a_run_of_a_pinned_flow_keeps_its_commit(open_world):
    world = open_world("github")
    first = world.commit("one")
    register(Flow("my-flow", world.storage(pin=True)))
    world.commit("two")
    outcome = {}
    execute("my-flow", versions_of("my-flow").storage, {}, outcome)
    assert (outcome["commit"], outcome["cache"]) == (first, "hit")


def test_a_digest_that_was_asked_for_binds(world):
    world.commit("one")
    first = register(Flow("my-flow", world.storage()))
    form = versions_of("my-flow").storage
    world.commit("two")
    assert load(form).load_flow("my-flow").flow.mark == "two"
    bound = load(form).load_flow("my-flow", digest=first.digest)
    assert (bound.flow.mark, bound.reference.digest) == ("one", first.digest)
    world.use("second")
    assert load(form).load_flow("my-flow", digest=first.digest).flow.mark == "one"
    with pytest.raises(IntegrityError, match="asked for"):
        load(form).load_flow("my-flow", digest="blake3:" + "0" * 64)
