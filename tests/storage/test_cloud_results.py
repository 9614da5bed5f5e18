"""Results in object stores."""

from __future__ import annotations

import pickle

import pytest

from casflow import Flow, task
from casflow.errors import ConfigError, IntegrityError, NotFoundError
from casflow.results import JSONSerializer, PickleSerializer

pytestmark = pytest.mark.service


def test_a_value_is_written_and_read(cloud):
    result = cloud.result("{flow_name}/{task_name}.value")
    facts = {"flow_name": "flow", "task_name": "task"}
    assert not result.exists(result.location, **facts)
    written = result.write({"a": [1, 2]}, **facts)
    assert written.location == "flow/task.value"
    assert result.exists("flow/task.value")
    assert cloud.result().read("flow/task.value", digest=written.digest).value == {"a": [1, 2]}
    with pytest.raises(ConfigError, match="only with its digest"):
        cloud.result().read("flow/task.value")


def test_a_location_may_be_a_function(cloud):
    result = cloud.result(lambda **facts: f"of-{facts['task_name']}")
    assert result.write(1, task_name="mine").location == "of-mine"


def test_each_value_has_a_location_of_its_own_by_default(cloud):
    locations = {cloud.result().write(number).location for number in range(3)}
    assert len(locations) == 3


def test_what_is_absent_is_not_found(cloud):
    with pytest.raises(NotFoundError, match="nothing/here"):
        cloud.result().read("nothing/here")
    assert not cloud.result().exists("nothing/here")


def test_bytes_that_were_tampered_with_are_not_unpickled(cloud):
    written = cloud.result("name").write("value")
    forged = PickleSerializer().serialize("what another wrote, whole and with a digest of its own")
    for data in (cloud.read(written.location)[:-1] + b"!", forged):
        cloud.write(written.location, data)
        with pytest.raises(IntegrityError):
            cloud.result().read(written.location, digest=written.digest)


def test_other_serializers_are_used(cloud):
    cloud.result("name", serializer=JSONSerializer()).write([1, None])
    assert cloud.read("name") == b"[1, null]"


def test_a_pickled_result_reads_the_same_place(cloud):
    result = cloud.result("name").write("value")
    again = pickle.loads(pickle.dumps(result))
    assert again.read("name").value == "value"  # a result that was written knows its digest


def test_a_bucket_that_is_not_there_is_not_an_absent_result(cloud):
    result = type(cloud.result())("no-such-bucket-at-all")
    with pytest.raises(ConfigError, match="no such bucket or container"):
        result.read("name")


def test_results_of_a_storage_are_kept_in_its_bucket(cloud):
    @task
    def give():
        return "kept"

    with Flow("keeps", storage=cloud.storage()) as flow:
        give()
    flow.register()
    assert type(flow.storage.result) is type(cloud.result())
    kept = flow.storage.result.write("kept")
    assert cloud.result().read(kept.location, digest=kept.digest).value == "kept"
