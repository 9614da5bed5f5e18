"""A bucket in which Prefect 1 stored flows under the same keys, and casflow beside it."""

from __future__ import annotations

import base64
import json
import sys

import cloudpickle
import pytest

from casflow import Flow, task
from casflow.cli import main
from casflow.registry import Registry

OLD = "double/2021-02-02t10-11-12-{:06d}-00-00"


class OldFlow:
    """Stands for a flow of Prefect 1: a name, a storage of its own, a `run` with a schedule."""

    def __init__(self, name, number):
        self.name, self.number = name, number
        self.storage = {"flows": {name: str(number)}}

    def run(self, parameters=None, run_on_schedule=None):
        assert run_on_schedule is False
        return self.number


def envelope(flow):
    pickled = base64.b64encode(cloudpickle.dumps(flow, protocol=4)).decode()
    versions = {"cloudpickle": "2.2.0", "prefect": "1.4.1", "python": "3.10.13"}
    return json.dumps({"flow": pickled, "versions": versions}).encode()


@pytest.fixture
def mixed(cloud):
    """Return a cloud's bucket with old objects of each kind: envelopes, a bare pickle, a script."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    first, second = OldFlow("double", 1), OldFlow("double", 2)
    objects = {
        OLD.format(1): envelope(first),
        OLD.format(2): cloudpickle.dumps(second),
        OLD.format(3): b"from prefect import Flow\nflow = Flow('double')\n",
        OLD.format(4): envelope(first),
        "double/2021-02-02t10-11-12-00-00": envelope(second),
        OLD.format(6): envelope(first),
        "double/2021-02-02t10-11-12-000005-00-00": b"\x80\x04csubprocess\nnothing\n.",
    }
    for key, data in objects.items():
        cloud.write(key, data)
    yield cloud, objects
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def casflow(capsys, *words, code=0):
    with pytest.raises(SystemExit) as left:
        main(words)
    out, err = capsys.readouterr()
    assert (left.value.code or 0) == code, f"{out}{err}"
    return out


def url(cloud):
    return {"s3": "s3", "gcs": "gs", "azure": "az"}[cloud.name] + f"://{cloud.bucket}"


def untouched(cloud, objects):
    return all(cloud.read(key) == data for key, data in objects.items())


def test_every_command_works_beside_the_old_objects(mixed, capsys):
    cloud, objects = mixed
    with Flow("double", storage=cloud.storage()) as flow:
        task(lambda: 4)()
    assert flow.register().version == 1
    assert not flow.register().is_new
    where = url(cloud)
    casflow(capsys, "verify", where)
    casflow(capsys, "pin", "double", "--as", "kept")
    casflow(capsys, "gc", where, "--keep-last", "1", "--yes")
    (counted,) = json.loads(casflow(capsys, "stats", where, "--json"))["stores"]
    assert counted["foreign"] == len([key for key in objects if len(key) == len(OLD.format(1))])
    assert (counted["references"], counted["pins"], counted["unreadable"]) == (1, 1, 0)
    casflow(capsys, "run", "double")
    assert untouched(cloud, objects)


def test_the_old_flows_become_versions_and_stay_where_they_are(mixed, home, capsys):
    cloud, objects = mixed
    where = url(cloud)
    listed = json.loads(casflow(capsys, "import", "prefect", where, "--json"))
    assert [each.get("prefect") for each in listed] == [
        "1.4.1",
        "1.4.1",
        None,
        "1.4.1",
        None,
        "1.4.1",
    ]
    assert not cloud.blobs()
    out = casflow(capsys, "import", "prefect", where, "--unpickle", "--json", code=1)
    done = json.loads(out)
    assert [each["version"] for each in done] == [1, 2, 3, 4, 4]
    assert len({each["digest"] for each in done}) == 2
    assert len(cloud.blobs()) == 3  # and what tells where their code stood
    assert untouched(cloud, objects)
    again = json.loads(casflow(capsys, "import", "prefect", where, "--unpickle", "--json", code=1))
    assert {each["status"] for each in again} == {"unchanged"}
    assert "double: unchanged" in casflow(capsys, "import", "prefect", where, "--unpickle", code=1)
    assert len([key for key in cloud.references() if key not in objects]) == 4
    with Registry(f"sqlite:///{home.path / 'registry.db'}") as registry:
        assert [each.number for each in registry.versions("default", "double")] == [4, 3, 2, 1]
    casflow(capsys, "run", "double", "--version", "1")
    casflow(capsys, "verify", where)


def test_in_another_store_the_keys_stay_the_same(mixed, tmp_path, capsys):
    cloud, _ = mixed
    words = ("import", "prefect", url(cloud), "--unpickle", "--to", str(tmp_path / "new"), "--json")
    done = json.loads(casflow(capsys, *words, code=1))
    first = done[1]
    assert first["location"] == str(tmp_path / "new" / OLD.format(1))
    assert done[0]["location"] == str(tmp_path / "new" / OLD.format(0))


def test_a_store_without_old_flows_says_so(home, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    casflow(capsys, "import", "prefect", str(tmp_path / "empty"), "--unpickle", code=3)
