"""Every host, from registration to a run on another machine, and what each run costs."""

from __future__ import annotations

import logging

import pytest

from casflow.errors import NotFoundError
from tests.sources.conftest import GITS, PATH, restored, script

CONDITIONAL = ("github", "gitlab", "bitbucket-cloud")  # the others send no ETag


def test_a_moving_branch_is_followed_and_its_end_is_an_error(world):
    first = world.commit("one", "work")
    form = world.register("work")
    assert form["references"]["my-flow"]["environment"]["commit"] == first

    world.use("second")
    cold = world.run(form)
    assert (cold.flow.mark, cold.hit) == ("one", False)
    warm = world.run(form)
    assert (warm.flow.mark, warm.hit, warm.downloaded) == ("one", True, 0)

    second = world.commit("two", "work")
    newer = world.run(form)
    assert (newer.flow.mark, newer.hit) == ("two", False)
    assert newer.reference.environment["commit"] == second

    world.commit("unrelated")
    world.repository.delete("work")
    with pytest.raises(NotFoundError, match="check"):
        world.run(form)


def test_the_default_branch_is_asked_for(world):
    world.commit("trunk")
    world.commit("other", "other")
    form = world.register()
    world.repository.default("other")
    assert world.run(form).flow.mark == "other"


def test_a_tag_is_a_ref_too(world):
    first = world.commit("tagged")
    world.repository.tag("v1", first, annotated=True)
    world.commit("newer")
    storage = world.storage(tag="v1") if world.kind in GITS else world.storage("v1")
    storage.flows["my-flow"] = PATH
    opened = storage.load_flow("my-flow")
    assert (opened.flow.mark, opened.reference.environment["commit"]) == ("tagged", first)


def test_a_branch_with_a_slash_is_found(world):
    world.commit("trunk")
    world.commit("slash", "feature/one")
    for number in range(15):
        world.repository.branch(f"feature/a{number:02}", world.repository.resolve("trunk"))
    assert world.run(world.register("feature/one")).flow.mark == "slash"


def test_pinned_and_warm_asks_nothing(world):
    commit = world.commit("one")
    form = world.register(commit)
    world.run(form)
    world.commit("two")
    world.host.forget()
    assert world.run(form).flow.mark == "one"
    assert world.host.asked == []


def test_a_pinned_branch_runs_what_was_registered_on_any_machine(world):
    first = world.commit("one", "work")
    form = world.register("work", pin=True)
    world.commit("two", "work")
    world.repository.delete("work")
    world.commit("three")
    world.use("second")
    opened = world.run(form)
    assert (opened.flow.mark, opened.reference.environment["commit"]) == ("one", first)


def test_floating_and_warm_asks_once(world):
    world.commit("one")
    form = world.register()
    world.run(form)
    world.host.forget()
    assert world.run(form).hit
    if world.kind in GITS:
        assert world.host.asked == ["ls-refs"]
    else:
        assert world.host.statuses == [304 if world.kind in CONDITIONAL else 200]


def test_cold_asks_at_most_twice(world):
    world.commit("one")
    form = world.register()
    world.use("second")
    world.host.forget()
    assert not world.run(form).hit
    if world.kind in GITS:
        assert world.host.asked == ["ls-refs", "fetch"]
    else:
        assert len(world.host.log) == 2


def test_a_commit_that_leaves_the_file_alone_downloads_no_more_than_it(world):
    world.commit("one")
    form = world.register()
    before = world.run(form).reference
    world.repository.commit({"other.txt": "x"})
    after = world.run(form).reference
    assert after.digest == before.digest
    assert after.environment["commit"] != before.environment["commit"]


def test_the_commit_that_runs_is_logged_and_kept(world, caplog):
    commit = world.commit("one")
    storage = restored(world.register())
    with caplog.at_level(logging.INFO, "casflow"):
        storage.get_flow("my-flow")
    assert storage.resolved == {"my-flow": commit}
    assert commit in caplog.text


def test_an_evicted_blob_is_downloaded_again_from_its_commit(world):
    commit = world.commit("one")
    form = world.register(commit)
    storage = restored(form)
    storage.cache.clean()
    opened = storage.load_flow("my-flow")
    assert (opened.flow.mark, opened.hit) == ("one", False)


def test_content_that_changed_on_its_way_is_an_integrity_error(world):
    from casflow.errors import IntegrityError

    commit = world.commit("one")
    form = world.register(commit)
    world.use("second")
    if world.kind in GITS:
        pytest.skip("git itself checks every object that it receives")
    world.host.change = lambda data: data.replace(b"one", b"two")
    with pytest.raises(IntegrityError):
        world.run(form)


def test_two_flows_of_one_file_are_told_apart(world):
    both = script("first", "first") + script("second", "second").replace("flow", "other")
    both = both.replace("casother.other import Flow", "casflow.flow import Flow")
    world.repository.commit({PATH: both})
    storage = world.storage()
    storage.flows.update({"first": PATH, "second": PATH})
    assert storage.get_flow("second").mark == "second"
    assert storage.get_flow("first").mark == "first"
