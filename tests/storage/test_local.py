"""Local storage: flows in a folder of this machine."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import threading
from pathlib import Path

import pytest

from casflow import Flow, Parameter, config, task
from casflow.cache import Cache
from casflow.errors import (
    ConfigError,
    DuplicateFlowError,
    FlowNotInStorageError,
    IntegrityError,
    NotFoundError,
)
from casflow.results import LocalResult
from casflow.secrets import Secret, given
from casflow.storage import Local, Storage, load

SCRIPT = """\
from casflow import Flow, task

@task
def one():
    return 1

@task
def two():
    return 2

with Flow("first") as first:
    one()
with Flow("second") as second:
    two()
"""


def double(name="double"):
    @task
    def twice(number):
        return 2 * number

    with Flow(name) as flow:
        twice(Parameter("number", default=21))
    return flow


def value_of(state):
    assert state.is_successful()
    return list(state.result.values())[-1].result


def restored(storage):
    return load(storage.serialize())


def test_a_storage_is_abstract():
    with pytest.raises(TypeError):
        Storage()


def test_the_folder_is_below_home(home):
    assert Local().directory == str(home.path / "flows")
    assert Local().result.dir == str(home.path / "results")


def test_another_folder_is_made_absolute(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = Local("some/where")
    assert storage.directory == str(tmp_path / "some/where")
    assert Path(storage.directory).is_dir()
    assert storage.result.dir == storage.directory
    assert isinstance(storage.result, LocalResult)


def test_a_folder_of_another_system_is_kept_as_it_is(home):
    assert Local("C:\\flows", validate=False).directory == "C:\\flows"


def test_a_flow_is_stored_at_slug_and_timestamp(home):
    storage = Local()
    location = Path(storage.add_flow(double("My Flow!")))
    assert location.parent == home.path / "flows" / "my-flow"
    assert location.is_file()
    assert storage.flows == {"My Flow!": str(location)}


def test_what_was_stored_is_what_is_read(home):
    storage = Local()
    storage.add_flow(double())
    for each in (storage, restored(storage)):
        flow = each.get_flow("double")
        assert flow.storage is each
        assert value_of(flow.run()) == 42
        assert value_of(flow.run(parameters={"number": 2})) == 4


def test_adding_again_stores_nothing_new(home):
    first, second = Local(), Local()
    assert first.add_flow(double()) == second.add_flow(double())
    assert len(home.references()) == 1


def test_build_returns_the_storage(home):
    storage = Local()
    assert storage.build() is storage
    storage.add_flow(double())
    assert storage.build() is storage
    assert len(home.references()) == 1


def test_a_name_is_taken_once(home):
    storage = Local()
    storage.add_flow(double())
    with pytest.raises(DuplicateFlowError, match='"double" is already present') as caught:
        storage.add_flow(double())
    assert isinstance(caught.value, ValueError)


def test_an_unknown_name_is_refused(home):
    with pytest.raises(FlowNotInStorageError, match="not contained in this Storage") as caught:
        Local().get_flow("nope")
    assert isinstance(caught.value, ValueError)


def test_containment_is_by_name_only(home):
    storage, flow = Local(), double()
    storage.add_flow(flow)
    assert "double" in storage
    assert flow not in storage
    assert "other" not in storage


def test_labels(home, monkeypatch):
    here = socket.gethostname()
    assert Local().labels == [here]
    assert Local(labels=["b", "a", here]).labels == sorted({"a", "b", here})
    assert Local(labels=["a"], add_default_labels=False).labels == ["a"]
    monkeypatch.setenv("CASFLOW_DEFAULT_LABELS", "false")
    assert Local(labels=["a"]).labels == ["a"]
    assert Local(labels=["a"], add_default_labels=True).labels == sorted({"a", here})


def test_the_json_form_round_trips_and_holds_the_flows(home):
    storage = Local(secrets=["TOKEN"])
    storage.add_flow(double())
    form = storage.serialize()
    assert form["type"] == "Local"
    assert form["secrets"] == ["TOKEN"]
    again = load(form)
    assert again.serialize() == form
    assert again.flows == storage.flows


def test_an_unknown_storage_is_refused():
    with pytest.raises(ConfigError, match="Tape"):
        load({"type": "Tape"})
    with pytest.raises(ConfigError, match="JSON form"):
        load({})


def test_a_script_is_stored_as_its_bytes(home, tmp_path):
    path = tmp_path / "flows.py"
    path.write_text(SCRIPT)
    storage = Local(path=str(path), stored_as_script=True)
    for name in ("first", "second"):
        storage.add_flow(Flow(name))
    assert len(home.blobs()) == 1
    path.write_text(SCRIPT.replace("return 1", "return 100"))
    again = restored(storage)
    assert value_of(again.get_flow("first").run()) == 1
    assert value_of(again.get_flow("second").run()) == 2


def test_a_module_is_stored_as_its_script(home, tmp_path, monkeypatch):
    (tmp_path / "my_flows.py").write_text(SCRIPT)
    monkeypatch.syspath_prepend(tmp_path)
    storage = Local(path="my_flows", stored_as_script=True)
    storage.add_flow(Flow("second"))
    assert value_of(storage.get_flow("second").run()) == 2


def test_a_script_needs_a_path(home):
    with pytest.raises(ConfigError, match="A `path` must be provided"):
        Local(stored_as_script=True).add_flow(Flow("x"))


def test_a_script_that_is_not_there(home, tmp_path):
    storage = Local(path=str(tmp_path / "nope.py"), stored_as_script=True)
    with pytest.raises(NotFoundError, match=r"nope\.py"):
        storage.add_flow(Flow("x"))


def test_a_script_without_the_flow_is_named(home, tmp_path):
    (tmp_path / "flows.py").write_text(SCRIPT)
    storage = Local(path=str(tmp_path / "flows.py"), stored_as_script=True)
    storage.add_flow(Flow("third"))
    with pytest.raises(NotFoundError, match="'first', 'second'"):
        storage.get_flow("third")


def test_an_exact_path_is_a_mutable_name(home, tmp_path):
    path = tmp_path / "deep" / "flow.ref"
    for name in ("one", "one"):
        storage = Local(path=path)
        assert storage.add_flow(double(name)) == str(path)
    assert value_of(restored(storage).get_flow("one").run()) == 42


def test_a_path_without_a_folder_works(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Local(path="flow.ref").add_flow(double())
    assert (tmp_path / "flow.ref").is_file()


def test_a_warm_read_opens_no_file_of_the_store(home):
    storage = Local()
    storage.add_flow(double())
    form = storage.serialize()
    load(form).get_flow("double")
    shutil.move(home.path / "flows", home.path / "gone")
    opened = load(form).load_flow("double")
    assert opened.hit
    assert opened.downloaded == 0
    assert value_of(opened.flow.run()) == 42


def test_a_cold_read_downloads_the_blobs_side_by_side(home):
    storage = Local()
    storage.add_flow(double())
    shutil.rmtree(home.path / "cache", ignore_errors=True)
    meet = threading.Barrier(2, timeout=30)

    class Meeting(Local):
        concurrent_downloads = True

        def download(self, name, blob, target):
            meet.wait()
            seen.append(Secret("DOOR_CODE").get())
            return super().download(name, blob, target)

    seen = []
    meeting = Meeting.from_dict(storage.serialize())
    with given({"DOOR_CODE": "sesame"}):
        opened = meeting.load_flow("double")
    assert (opened.hit, seen) == (False, ["sesame", "sesame"])
    sizes = [blob.size for blob in storage.reference("double").blobs()]
    assert opened.downloaded == sum(sizes)
    assert value_of(opened.flow.run()) == 42
    assert meeting.load_flow("double").hit


def test_a_missing_reference_is_named(home):
    storage = Local()
    location = storage.add_flow(double())
    Path(location).unlink()
    storage.references.clear()
    with pytest.raises(NotFoundError, match="double"):
        storage.get_flow("double")


def blob_of(home):
    return max(home.path.glob("flows/.casflow/blobs/??/*"), key=lambda path: path.stat().st_size)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


DAMAGES = {
    "flipped bit": flip,
    "truncation": lambda path: os.truncate(path, path.stat().st_size - 1),
    "zero length": lambda path: os.truncate(path, 0),
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_in_the_store_is_never_loaded(home, damage, tmp_path):
    @task
    def explode():
        return 1

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    storage = Local()
    flow = double()
    storage.add_flow(flow)
    path = blob_of(home)
    DAMAGES[damage](path)
    with pytest.raises(IntegrityError) as caught:
        restored(storage).get_flow("double")
    assert str(path.parent) in str(caught.value)
    assert storage.references["double"].digest in str(caught.value)
    assert caught.value.actual is not None
    kept = [each.digest for each in Cache(home.path / "cache", 10**9).entries()]
    assert storage.references["double"].digest not in kept


def test_bytes_are_verified_before_they_are_unpickled(home, tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    storage = Local()
    storage.add_flow(double())
    blob_of(home).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(IntegrityError):
        restored(storage).get_flow("double")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_in_the_cache_heals(home, damage):
    storage = Local()
    storage.add_flow(double())
    restored(storage).get_flow("double")
    (digest,) = {storage.references["double"].digest}
    path = Cache(home.path / "cache", 10**9).path(digest)
    DAMAGES[damage](path)
    first, second = (restored(storage).load_flow("double") for _ in range(2))
    assert (first.hit, second.hit) == (False, True)
    assert value_of(first.flow.run()) == 42


def calls_of(work):
    """Return how many calls of functions a piece of work takes."""
    kinds = []
    sys.setprofile(lambda _, kind, __: kinds.append(kind))
    work()
    sys.setprofile(None)
    return sum(each in ("call", "c_call") for each in kinds)


def test_a_warm_read_does_little_beside_opening_hashing_and_loading(home):
    with Flow("Warm") as flow:
        task(int)()
    storage = Local()
    storage.add_flow(flow)
    form = storage.serialize()
    storage.get_flow("Warm")
    assert calls_of(lambda: storage.get_flow("Warm")) < 110
    assert calls_of(lambda: load(form).get_flow("Warm")) < 230


def test_settings_that_change_between_two_reads_are_seen(home, monkeypatch, tmp_path):
    before = config.load()
    assert config.load() is before
    monkeypatch.setenv("CASFLOW_CACHE_DIR", str(tmp_path / "elsewhere"))
    assert config.load().cache_dir == tmp_path / "elsewhere"
    monkeypatch.delenv("CASFLOW_CACHE_DIR")
    assert config.load() == before
    before.home.mkdir(exist_ok=True)
    (before.home / "config.toml").write_text("threshold = 2")
    assert config.load().threshold == 2
