"""The same flow, registered again and again, is stored once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from casflow import Flow, task
from casflow.errors import ConfigError
from casflow.storage import Local

MODES = {"pickle": (), "script": ("--as-script",)}


def statuses(results):
    return sorted(result["status"] for (result,) in results)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_hundred_processes_register_one_version(home, mode):
    script = home.script()
    homes = [replace(home, forks=bool(number % 10)) for number in range(100)]  # ten new processes
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda h: h.json("register", "-p", script, *MODES[mode]), homes))
    assert statuses(results) == ["registered"] + ["unchanged"] * 99
    assert len({result["digest"] for (result,) in results}) == 1
    assert len({result["location"] for (result,) in results}) == 1
    assert {result["version"] for (result,) in results} == {1}
    assert len(home.references()) == 1
    digests = {name.rpartition("-")[0] for name in home.blobs()}
    assert len(digests) == len(home.blobs()) <= 2  # the flow, and its source map if it has one


@pytest.mark.parametrize("mode", ["pickle", pytest.param("script", marks=pytest.mark.slow)])
def test_sixteen_processes_at_the_same_moment(home, mode):
    script = home.script()
    homes = [replace(home, forks=bool(number % 4)) for number in range(16)]  # four new processes
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda h: h.json("register", "-p", script, *MODES[mode]), homes))
    assert statuses(results) == ["registered"] + ["unchanged"] * 15
    assert len(home.references()) == 1


def make(value, name="Flow"):
    @task
    def give():
        return value

    with Flow(name) as flow:
        give()
    return flow


def test_changed_code_is_a_new_version(home):
    first = make(1).register()
    second = make(2).register()
    assert (first.version, second.version) == (1, 2)
    assert first.is_new
    assert second.is_new
    assert first.digest != second.digest


def test_going_back_is_a_new_version_on_the_old_blob(home):
    first, _, third = (make(value).register() for value in (1, 2, 1))
    assert third.is_new
    assert third.version == 3
    assert third.digest == first.digest
    assert third.uploaded_bytes == 0


def test_other_labels_are_a_new_version_on_the_same_blob(home):
    first = make(1).register()
    second = make(1).register(labels=["gpu"])
    assert second.is_new
    assert (second.digest, second.uploaded_bytes) == (first.digest, 0)
    assert not make(1).register(labels=["gpu"]).is_new


def test_another_folder_is_a_new_version(home, tmp_path):
    make(1).register()
    flow = make(1)
    flow.storage = Local(tmp_path / "elsewhere")
    again = flow.register()
    assert again.is_new
    assert again.location.startswith(str(tmp_path / "elsewhere"))


def test_force_makes_a_version_of_an_unchanged_flow(home):
    script = home.script()
    home.json("register", "-p", script)
    (forced,) = home.json("register", "-p", script, "--force")
    assert (forced["status"], forced["version"]) == ("registered", 2)


def test_an_equal_idempotency_key_stops_at_once(home):
    make(1).register(idempotency_key="build 7")
    again = make(2).register(idempotency_key="build 7")
    assert (again.version, again.is_new) == (1, False)
    assert make(2).register(idempotency_key="build 8").version == 2


def test_projects_have_versions_of_their_own(home):
    assert make(1).register("one").version == 1
    assert make(2).register("two").version == 1
    assert make(1).register("two").version == 2


def test_flows_of_one_slug_are_told_apart(home):
    for name, value in (("my flow", 1), ("my_flow", 2)):
        make(value, name).register()
    for name, value in (("my flow", 1), ("my_flow", 2)):
        assert not make(value, name).register().is_new
    assert len(home.references()) == 2


def test_a_flow_is_not_registered_while_it_is_built(home):
    with pytest.raises(ConfigError, match="while"), Flow("x") as flow:
        flow.register()


def test_options_go_to_the_default_storage(home, tmp_path):
    flow = make(1)
    flow.register(directory=tmp_path / "there")
    assert flow.storage.directory == str(tmp_path / "there")
    with pytest.raises(ConfigError, match="already"):
        flow.register(directory=tmp_path / "here")


def test_what_was_stored_before_it_is_registered_is_not_uploaded_again(home):
    flow = make(1)
    flow.storage = Local()
    flow.storage.add_flow(flow)  # stored, but never recorded
    done = make(1).register()
    assert done.is_new
    assert done.uploaded_bytes == 0
    assert len(home.references()) == 2, "one of no project, and one of its own"


def test_a_blob_that_was_lost_is_stored_again(home):
    first = make(1).register()
    for path in home.path.glob("flows/.casflow/blobs/??/*"):
        path.unlink()
    again = make(1).register()
    assert again.uploaded_bytes > 0
    assert again.digest == first.digest
    home.casflow("verify")


def test_a_flow_that_was_made_anew_takes_its_place_in_a_storage_that_is_shared(home):
    """As in a notebook whose storage stands in another cell."""
    storage, flows = Local(), [make(1), make(2), make(2)]
    for flow in flows:
        flow.storage = storage
    done = [flow.register() for flow in flows]
    assert [(each.version, each.is_new) for each in done] == [(1, True), (2, True), (2, False)]
    assert done[0].digest != done[1].digest == done[2].digest
    read = storage.get_flow("Flow")
    assert read.run().result[read.tasks[0]].result == 2
