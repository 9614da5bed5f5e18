"""Results: locations, serializers, folders, and values that were damaged."""

from __future__ import annotations

import pickle
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from casflow.blobs.local import LocalBlobStore
from casflow.digests import digest_of
from casflow.errors import (
    CasflowError,
    ConfigError,
    IntegrityError,
    LoadError,
    NotFoundError,
)
from casflow.flow import Flow, Parameter, task
from casflow.results import JSONSerializer, LocalResult, PickleSerializer, Result, StoreResult
from casflow.results.location import NAMES
from casflow.storage import Local, load

MOMENT = datetime(2026, 11, 22, 23, 38, 15, tzinfo=UTC)


@pytest.fixture
def result(tmp_path):
    return LocalResult(tmp_path / "results")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CASFLOW_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_what_was_written_is_read(result):
    written = result.write({"a": [1, 2]})
    assert written.value == {"a": [1, 2]}
    assert written.read(written.location).value == {"a": [1, 2]}
    assert result.read(written.location, digest=written.digest).value == {"a": [1, 2]}
    assert Path(written.location).is_file()


def test_the_result_itself_stays_as_it_is(result):
    before = result.location
    written = result.write(1)
    assert written is not result
    assert (result.location, result.value) == (before, None)


def test_the_default_location_is_by_day_and_unique(result):
    one, two = result.write(1, date=MOMENT), result.write(1, date=MOMENT)
    assert one.location != two.location
    assert re.search(r"/2026/11/22/[0-9a-f-]{36}\.casflow_result$", one.location)


def test_the_random_part_can_be_given(result):
    assert result.write(1, date=MOMENT, uuid="u").location.endswith("/2026/11/22/u.casflow_result")


def test_a_location_is_a_template_or_a_function(tmp_path):
    template = LocalResult(tmp_path, location="{flow_name}/{parameters[n]}-{today}.bin")
    written = template.write(1, flow_name="f", parameters={"n": 7}, date=MOMENT)
    assert written.location == str(tmp_path / "f/7-2026-11-22.bin")
    function = LocalResult(tmp_path, location=lambda task_slug, **_: f"of/{task_slug}")
    assert function.write(1, task_slug="add-1").location == str(tmp_path / "of/add-1")


def test_a_location_is_read_as_key_and_as_path(tmp_path):
    result = LocalResult(tmp_path, location="a/b")
    digest = result.write(5).digest
    assert result.read("a/b", digest=digest).value == 5
    assert result.read(str(tmp_path / "a/b"), digest=digest).location == str(tmp_path / "a/b")


def test_exists_takes_a_location_or_a_template(tmp_path):
    result = LocalResult(tmp_path / "{odd}", location="{name}.bin")
    written = result.write(1, name="here")
    assert result.exists(written.location)
    assert result.exists("{name}.bin", name="here")
    assert not result.exists("{name}.bin", name="there")


def test_format_fills_the_location_only(result):
    formatted = LocalResult(location="{task_name}.bin").format(task_name="add")
    assert formatted.location == "add.bin"


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("{unknown}", "cannot make a result's location"),
        ("{date.nothing}", "cannot make a result's location"),
        ("{", "cannot make a result's location"),
        ("{0}", "cannot make a result's location"),
        ("../outside", "not a key"),
        ("{name}", "not a key"),
        ("/somewhere/else", "outside of the result's folder"),
        (lambda **_: None, "text and not empty"),
        (lambda **_: "", "text and not empty"),
    ],
)
def test_a_bad_location_is_one_line_and_writes_nothing(tmp_path, location, message):
    result = LocalResult(tmp_path / "results", location=location)
    with pytest.raises(ConfigError, match=message) as caught:
        result.write(1, name="a/../../b")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_an_absent_value_is_not_found(result):
    with pytest.raises(NotFoundError):
        result.read("nothing")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:-3],
        lambda data: b"",
        lambda data: pickle.dumps(1),
        lambda data: b"blake3:\xff\n" + data,
    ],
)
def test_a_damaged_pickle_is_never_loaded(result, damage):
    made = result.write("value")
    written = Path(made.location)
    written.write_bytes(damage(written.read_bytes()))
    for digest in (made.digest, digest_of(written.read_bytes())):
        with pytest.raises(IntegrityError, match=re.escape(str(written))):
            result.read(str(written), digest=digest)


def test_a_pickle_that_others_put_in_its_place_is_never_loaded(result, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path / "exploded").mkdir, ()

    made = result.write("value")
    forged = PickleSerializer().serialize(Bomb())  # whole, with the right digest at its head
    Path(made.location).write_bytes(forged)
    with pytest.raises(IntegrityError):
        result.read(made.location, digest=made.digest)
    with pytest.raises(IntegrityError):
        made.read(made.location)
    with pytest.raises(IntegrityError):
        result.read(made.location)
    with pytest.raises(ConfigError, match="only with its digest"):
        pickle.loads(pickle.dumps(result)).read(made.location)
    assert not (tmp_path / "exploded").exists()


def test_a_serializer_that_says_nothing_of_its_bytes_needs_a_digest(tmp_path):
    class Other:
        def serialize(self, value):
            return pickle.dumps(value)

        def deserialize(self, data, *, where):
            return pickle.loads(data)

    result = LocalResult(tmp_path, serializer=Other(), location="x")
    digest = result.write(1).digest
    stranger = LocalResult(tmp_path, serializer=Other())
    with pytest.raises(ConfigError, match="only with its digest"):
        stranger.read("x")
    assert stranger.read("x", digest=digest).value == 1
    assert result.read("x").value == 1


def explode():
    raise RuntimeError("cannot be made again")


class Explosive:
    def __reduce__(self):
        return explode, ()


def test_a_pickle_that_cannot_be_loaded_says_so(result):
    written = result.write(Explosive())
    with pytest.raises(LoadError, match="cannot be made again"):
        written.read(written.location)


@pytest.mark.parametrize("serializer", [PickleSerializer(), JSONSerializer()])
def test_a_value_without_a_form_writes_nothing(tmp_path, serializer):
    result = LocalResult(tmp_path / "results", serializer=serializer)
    with pytest.raises(ConfigError, match="generator"):
        result.write(each for each in "abc")
    assert not (tmp_path / "results").exists()


def test_json_is_json(tmp_path):
    result = LocalResult(tmp_path, serializer=JSONSerializer(), location="x.json")
    result.write({"ä": 1})
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == '{"ä": 1}'
    assert result.read("x.json").value == {"ä": 1}
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(IntegrityError, match="not JSON"):
        result.read("x.json")


def test_a_value_replaces_the_one_before_whole(tmp_path):
    result = LocalResult(tmp_path, location="x")
    result.write("a" * 1000)
    digest = result.write("b").digest
    assert result.read("x", digest=digest).value == "b"
    assert [info.key for info in LocalBlobStore(tmp_path).list()] == ["x"]


def test_the_folder_defaults_to_the_home(home):
    assert LocalResult().dir == str(home / "results")
    assert LocalResult(home / "flows").dir == str(home / "results")
    assert LocalResult(home / "results" / "etl").dir == str(home / "results" / "etl")


def test_the_default_folder_is_not_pickled(home, monkeypatch, tmp_path):
    data = pickle.dumps(LocalResult())
    assert str(home).encode() not in data
    monkeypatch.setenv("CASFLOW_HOME", str(tmp_path / "other"))
    assert pickle.loads(data).dir == str(tmp_path / "other" / "results")


def test_a_folder_is_made_absolute_unless_told_not_to(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert LocalResult("here").dir == str(tmp_path / "here")
    assert LocalResult("here", validate_dir=False).dir == "here"
    written = LocalResult("here", validate_dir=False).write(1)
    assert written.read(written.location).value == 1


def test_a_pickled_result_holds_no_store(result):
    result.write(1)
    assert b"LocalBlobStore" not in pickle.dumps(result)
    assert pickle.loads(pickle.dumps(result)).write(2).value == 2


def test_copies_in_this_process_share_the_store(result):
    assert result.write(1).store is result.store


def test_a_refused_folder_is_an_error_of_ours(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CasflowError):
        LocalResult(tmp_path / "file").write(1)


def test_results_have_no_meaning_without_a_place():
    for kind in (Result, StoreResult):
        with pytest.raises(TypeError, match="abstract"):
            kind()


def test_a_flow_writes_what_its_tasks_return(tmp_path):
    result = LocalResult(tmp_path, location="{flow_name}/{task_slug}.bin")
    with Flow("etl", result=result) as flow:
        seven = task(lambda: 7, name="seven")()
    state = flow.run()
    ended = state.result[seven]
    assert ended.location == str(tmp_path / "etl/seven-1.bin")
    assert result.read(ended.location, digest=ended.digest).value == 7


@task
def give():
    return 1


def written(flow, monkeypatch, **environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    state = flow.run()
    assert state.is_successful()
    return [each.location for each in state.result.values() if each.location]


def test_results_are_written_only_when_asked(home, tmp_path, monkeypatch):
    storage = Local(tmp_path / "flows", result=LocalResult(tmp_path / "kept"))

    def made(flow_result=None, **options):
        with Flow("Asked", storage=storage, result=flow_result) as flow:
            task(**options)(give.run)()
        return flow

    here, there = str(tmp_path / "kept"), str(tmp_path / "named")
    assert written(made(), monkeypatch) == []
    assert not home.exists()
    assert written(made(checkpoint=True), monkeypatch)[0].startswith(here)
    assert written(made(result=LocalResult(there)), monkeypatch)[0].startswith(there)
    assert written(made(LocalResult(there)), monkeypatch)[0].startswith(there)
    assert written(made(LocalResult(there), checkpoint=False), monkeypatch) == []
    assert written(made(), monkeypatch, CASFLOW_CHECKPOINTING="1")[0].startswith(here)
    assert written(made(checkpoint=False), monkeypatch, CASFLOW_CHECKPOINTING="1") == []


def test_a_registered_flow_writes_what_it_named_and_nothing_else(home, tmp_path, monkeypatch):
    def loaded(name, **options):
        with Flow(name, storage=Local(tmp_path / "flows"), **options) as flow:
            give()
        flow.register()
        return load(flow.storage.serialize()).get_flow(name)

    assert written(loaded("Plain"), monkeypatch) == []
    named = written(loaded("Named", result=LocalResult(tmp_path / "named")), monkeypatch)
    assert named[0].startswith(str(tmp_path / "named"))


def test_a_result_that_cannot_be_located_is_not_tried_again(tmp_path):
    runs = []

    class Never(LocalResult):
        def write(self, value, **context):
            runs.append(value)
            return super().write(value, **context)

    with Flow("Wrong") as flow:
        task(max_retries=3, result=Never(tmp_path, location="{flow_nam}"))(give.run)()
    state = flow.run(sleep=lambda _: None)
    assert state.is_failed()
    assert len(runs) == 1
    assert "it may use" in str(state.exception)


PREFECT = {  # what a template could name in Prefect 1.4.1, besides parameters and inputs
    *("date", "today", "today_nodash", "yesterday", "yesterday_nodash", "tomorrow"),
    *("tomorrow_nodash", "logger", "config", "map_index", "map_states", "flow_name"),
    *("flow_run_id", "flow_run_name", "flow_run_version", "flow_id", "parameters", "task_name"),
    *("task_slug", "task_full_name", "task_tags", "task_run_id", "task_run_name", "resume"),
    *("task_run_count", "task_run_version", "task_loop_count", "task_loop_result", "project_name"),
    *("scheduled_start_time", "checkpointing", "backend", "caches", "image", "project_id"),
}


@pytest.mark.parametrize("name", sorted(PREFECT | {"uuid", "n", "x"}))
def test_every_name_of_prefect_works_or_is_refused_at_registration(home, tmp_path, name):
    result = LocalResult(tmp_path / "kept", location=f"{{{name}}}/x")
    with Flow("Named", storage=Local(tmp_path / "flows"), result=result) as flow:
        task(name="double")(lambda x: x * 2)(Parameter("n", default=3))
    if name in {*NAMES, "n", "x"}:
        flow.register()
        assert flow.run().is_successful()
        assert len([each for each in (tmp_path / "kept").rglob("*") if each.is_file()]) == 1
    else:
        with pytest.raises(ConfigError, match="double-1") as caught:
            flow.register()
        assert all(each in str(caught.value) for each in (*NAMES, "n", "x"))
        assert not list((tmp_path / "flows").iterdir())


@pytest.mark.parametrize("template", ["{parameters[m]}", "{date.nothing}", "{0}", "{", "{date:%Q"])
@pytest.mark.parametrize("place", ["task", "flow", "storage"])
def test_a_wrong_template_is_refused_wherever_it_stands(home, tmp_path, template, place):
    wrong = LocalResult(tmp_path / "kept", location=template)
    at = {place: wrong}
    with Flow("W", Local(tmp_path / "flows", result=at.get("storage")), at.get("flow")) as flow:
        task(result=at.get("task"))(give.run)()
    with pytest.raises(ConfigError, match="cannot make a result's location"):
        flow.register()


def test_a_template_may_go_into_what_is_not_known_yet(home, tmp_path):
    result = LocalResult(tmp_path / "kept", location="{parameters[n][a]}-{x[b].real:04d}")
    with Flow("Deep", storage=Local(tmp_path / "flows"), result=result) as flow:
        task(name="take")(lambda x: 1)(Parameter("n", default={"a": "k", "b": 7}))
    flow.register()
    flow.run()
    assert (tmp_path / "kept" / "k-0007").is_file()


def test_a_value_that_cannot_be_kept_fails_its_task_with_one_line(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with Flow("Full", result=LocalResult(tmp_path / "file")) as flow:
        one = task(give.run)()
    state = flow.run()
    assert state.result[one].is_failed()
    assert "Traceback" not in caplog.text
    assert len([each for each in caplog.records if each.levelname == "ERROR"]) == 1
