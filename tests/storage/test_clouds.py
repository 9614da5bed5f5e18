"""Flows in object stores: registered and run, by API and by command line."""

from __future__ import annotations

import json
import pickle
import shutil

import pytest

from casflow import Flow, Parameter, task
from casflow.errors import (
    ConfigError,
    ConflictError,
    MissingSecretError,
    NotFoundError,
)
from casflow.storage import GCS, S3, Azure, load

pytestmark = pytest.mark.service

SCRIPT = """\
from casflow import Flow, Parameter, task
from casflow.storage import Azure, GCS, S3

@task
def twice(number):
    return 2 * number

with Flow("double", storage=STORAGE) as flow:
    twice(Parameter("number", default=21))
"""


def double(storage=None, factor=2):
    @task
    def times(number):
        return factor * number

    with Flow("double", storage=storage) as flow:
        times(Parameter("number", default=21))
    return flow


def outcome(flow):
    state = flow.run()
    assert state.is_successful(), state
    return sorted(each.result for each in state.result.values())


def script(home, cloud, storage=None):
    return home.script(text=SCRIPT.replace("STORAGE", storage or cloud.source))


def test_a_flow_goes_down_and_comes_back(cloud):
    flow = double(cloud.storage())
    registration = flow.register()
    assert registration.is_new
    assert registration.location in cloud.references()
    read = load(json.loads(json.dumps(flow.storage.serialize())))
    assert outcome(read.get_flow("double")) == [21, 42]


def test_a_script_goes_down_and_comes_back(cloud, home):
    file = script(home, cloud)
    flow = double(cloud.storage(stored_as_script=True, local_script_path=str(file)))
    assert flow.register().location in cloud.references()
    file.unlink()
    read = load(json.loads(json.dumps(flow.storage.serialize())))
    assert outcome(read.get_flow("double")) == [21, 42]
    (blob,) = cloud.blobs()
    assert b"return 2 * number" in cloud.read(blob)


@pytest.mark.parametrize("mode", [(), ("--as-script",)], ids=["pickle", "script"])
def test_the_command_line_registers_and_runs(cloud, home, mode):
    file = script(home, cloud)
    (first,) = home.json("register", "-p", file, *mode)
    (second,) = home.json("register", "-p", file, *mode)
    assert (first["status"], second["status"]) == ("registered", "unchanged")
    assert second["uploaded_bytes"] == 0
    assert len(cloud.references()) == 1
    file.unlink()
    assert home.json("run", "double", "--parameter", "number=4")["state"] == "Success"


def test_the_layout_is_that_of_every_store(cloud):
    flow = double(cloud.storage())
    digest = flow.register().digest.partition(":")[2]
    (reference,) = cloud.references()
    assert reference.startswith("double/")
    assert f".casflow/blobs/{digest[:2]}/{digest}-0" in cloud.blobs()
    assert json.loads(cloud.read(reference))["digest"] == f"blake3:{digest}"
    assert json.loads(cloud.read(".casflow/format")) == {"format": 2}


def test_a_fixed_key_is_a_mutable_name_of_the_same_blobs(cloud):
    options = {"overwrite": True} if cloud.name == "azure" else {}
    first = double(cloud.storage("flows/mine", **options))
    second = double(cloud.storage("flows/mine", **options), factor=3)
    assert first.register().location == second.register().location == "flows/mine"
    read = cloud.storage("flows/mine")
    read.flows["double"] = "flows/mine"
    assert outcome(read.get_flow("double")) == [21, 63]
    again = double(cloud.storage("flows/mine", **options), factor=3)
    assert again.register().uploaded_bytes == 0


def test_a_script_that_the_user_put_under_a_key_is_stored_as_it_was_registered(cloud, home, caplog):
    cloud.write("scripts/mine.py", script(home, cloud).read_bytes())
    flow = double(cloud.storage("scripts/mine.py", stored_as_script=True))
    registration = flow.register()
    assert registration.location in cloud.references()
    assert not double(cloud.storage("scripts/mine.py", stored_as_script=True)).register().is_new
    read = load(json.loads(json.dumps(flow.storage.serialize())))
    assert outcome(read.get_flow("double")) == [21, 42]
    cloud.write("scripts/mine.py", script(home, cloud).read_bytes() + b"# edited\n")
    assert outcome(read.get_flow("double")) == [21, 42]
    assert "edited since it was registered" in caplog.text
    follower = double(cloud.storage("scripts/mine.py", stored_as_script=True, follow=True))
    version = follower.register()
    cloud.write("scripts/mine.py", script(home, cloud).read_bytes() + b"# edited again\n")
    following = load(json.loads(json.dumps(follower.storage.serialize())))
    assert following.load_flow("double").reference.digest != version.digest
    assert load(follower.storage.serialize()).load_flow("double", digest=version.digest)
    caplog.clear()
    shutil.rmtree(home.path / "cache")
    cold = load(json.loads(json.dumps(flow.storage.serialize())))
    assert outcome(cold.get_flow("double")) == [21, 42]


def test_azure_overwrites_a_fixed_name_only_on_request(azure_server, home):
    container = azure_server.bucket()
    options = {"connection_string": azure_server.connection_string, "blob_name": "mine"}
    double(Azure(container, **options)).register()
    assert not double(Azure(container, **options)).register().is_new
    with pytest.raises(ConflictError, match="overwrite=True"):
        double(Azure(container, **options), factor=3).register()


def test_what_is_missing_is_named(cloud):
    storage = cloud.storage()
    storage.flows["gone"] = "gone/2026-01-01t00-00-00-000000-00-00"
    with pytest.raises(NotFoundError, match="gone/2026"):
        storage.get_flow("gone")


def test_a_bucket_that_is_not_there_is_the_users_to_correct(cloud):
    storage = type(cloud.storage())("no-such-bucket-at-all")
    storage.add_flow(double())
    with pytest.raises(ConfigError, match=r"no such bucket or container.*no-such-bucket-at-all"):
        storage.build()


def test_a_pickled_storage_is_the_same_place(cloud):
    flow = double(cloud.storage())
    flow.register()
    copy = pickle.loads(pickle.dumps(load(flow.storage.serialize())))
    assert outcome(copy.get_flow("double")) == [21, 42]


def test_the_examples_of_the_manual_construct_as_written():
    S3(bucket="<my-bucket>")
    GCS(bucket="<my-bucket>")
    Azure(container="<my-container>", connection_string="<my-connection-string>")


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (S3, ("b", "key", True, "script.py", {"use_ssl": False}, {"ACL": "private"})),
        (GCS, ("b", "key", "project", True, "script.py")),
    ],
)
def test_signatures_take_the_originals_parameters_in_order(kind, arguments):
    storage = kind(*arguments, labels=["x"], add_default_labels=False, secrets=["S"])
    assert storage.labels == ["x"]
    form = load(storage.serialize()).serialize()
    assert form == storage.serialize()
    assert form["stored_as_script"] is True


@pytest.mark.parametrize(
    ("storage", "word"),
    [(S3("b"), "key"), (GCS("b"), "key"), (Azure("c", connection_string="x"), "blob_name")],
)
def test_a_script_needs_a_key_or_a_file(storage, word):
    storage.stored_as_script = True
    with pytest.raises(ConfigError, match=f"A `{word}` must be provided"):
        storage.add_flow(double())


def test_azure_without_a_connection_string_names_the_secret(home, monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)
    storage = Azure("container")
    storage.add_flow(double())
    with pytest.raises(MissingSecretError, match="AZURE_STORAGE_CONNECTION_STRING"):
        storage.build()
    named = Azure("container", connection_string_secret="MY_ACCOUNT")
    named.add_flow(double())
    with pytest.raises(MissingSecretError, match="MY_ACCOUNT"):
        named.build()
