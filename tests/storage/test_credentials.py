"""Credentials reach the client and are written nowhere."""

from __future__ import annotations

import json
import logging
import pickle
import traceback

import cloudpickle
import pytest

from casflow import Flow, secrets, task
from casflow.errors import AccessError, CasflowError, ConfigError
from casflow.results import AzureResult, GCSResult, S3Result
from casflow.storage import GCS, S3, Azure, load
from tests.services.azure import KEY

pytestmark = pytest.mark.service

SENTINELS = ("SENTINELkey0001", "SENTINELsecret0002", "SENTINELtoken0003")


@pytest.fixture
def log(caplog):
    """Return what is logged: everything of casflow, all else from INFO on."""
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, logger="casflow")
    return caplog


def written(home, cloud):
    """Return every byte that was written: objects, registry, cache, home."""
    objects = [cloud.read(key) for key in cloud.objects()]
    files = [path.read_bytes() for path in home.path.rglob("*") if path.is_file()]
    return b"\n".join(objects + files)


def shown(storage, flow):
    """Return every form in which a storage leaves the process."""
    forms = [cloudpickle.dumps(storage), cloudpickle.dumps(flow), pickle.dumps(storage.result)]
    return b"\n".join([*forms, repr(storage).encode(), json.dumps(storage.serialize()).encode()])


def use(storage):
    @task
    def give():
        return 1

    with Flow("secretive", storage=storage) as flow:
        give()
    flow.register()
    flow.result.write("value")
    assert storage.get_flow("secretive").name == "secretive"
    return flow


def failures(*actions):
    """Return the full text of the errors that actions end with."""
    texts = []
    for action in actions:
        with pytest.raises(CasflowError) as caught:
            action()
        texts.append("".join(traceback.format_exception(caught.value)))
        texts.append(repr(vars(caught.value)))
    return "\n".join(texts)


def assert_absent(sentinels, *texts):
    for text in texts:
        data = text if isinstance(text, bytes) else text.encode()
        for sentinel in sentinels:
            assert sentinel.encode() not in data


def s3_with_options(server, bucket):
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    options = dict(zip(names, SENTINELS, strict=True))
    place = {"endpoint_url": server.url, "region_name": "us-east-1"}
    return S3(bucket, client_options={**options, **place})


@pytest.mark.parametrize("cloud", ["s3"], indirect=True)
@pytest.mark.parametrize("way", ["options", "secret"])
def test_keys_of_s3_are_written_nowhere(home, cloud, log, way):
    names = ("ACCESS_KEY", "SECRET_ACCESS_KEY", "SESSION_TOKEN")
    given = {"AWS_CREDENTIALS": json.dumps(dict(zip(names, SENTINELS, strict=True)))}
    with secrets.given(given if way == "secret" else {}):
        storage = (
            S3(cloud.bucket) if way == "secret" else s3_with_options(cloud.server, cloud.bucket)
        )
        flow = use(storage)
        elsewhere = storage.client_options | {"endpoint_url": "http://127.0.0.1:1"}
        texts = failures(
            lambda: list(S3("none", client_options=storage.client_options).open_store().list()),
            lambda: storage.open_store().get("x"),
            lambda: S3("b", client_options={**elsewhere, "no_such": 1}).open_store().get("x"),
        )
    assert_absent(SENTINELS, written(home, cloud), shown(storage, flow), texts, log.text)


@pytest.mark.parametrize("cloud", ["s3"], indirect=True)
def test_the_options_that_are_no_secret_are_kept(cloud):
    storage = s3_with_options(cloud.server, cloud.bucket)
    kept = load(storage.serialize()).client_options
    assert kept == {"endpoint_url": cloud.server.url, "region_name": "us-east-1"}
    hidden = S3("b", client_options={"endpoint_url": "https://me:SENTINEL@host"})
    assert hidden.serialize()["client_options"] == {}


@pytest.mark.parametrize("cloud", ["azure"], indirect=True)
@pytest.mark.parametrize("way", ["argument", "secret", "environment"])
def test_the_connection_string_is_written_nowhere(home, cloud, log, way, monkeypatch):
    connection = cloud.server.connection_string
    options = {"connection_string": connection} if way == "argument" else {}
    if way == "secret":
        options = {"connection_string_secret": "MY_ACCOUNT"}
        monkeypatch.setenv("MY_ACCOUNT", connection)
    if way != "environment":
        monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    storage = Azure(cloud.bucket, **options)
    flow = use(storage)
    wrong = connection.replace(KEY, "U0VOVElORUxzZW50aW5lbA==")
    texts = failures(
        lambda: list(Azure("none", connection).open_store().list()),
        lambda: Azure(cloud.bucket, wrong).open_store().get("x"),
    )
    sentinels = (KEY, "U0VOVElORUxzZW50aW5lbA")
    assert_absent(sentinels, written(home, cloud), shown(storage, flow), texts, log.text)


@pytest.mark.parametrize("cloud", ["azure"], indirect=True)
def test_a_wrong_key_of_azure_is_an_access_error(cloud):
    wrong = cloud.server.connection_string.replace(KEY, "U0VOVElORUxzZW50aW5lbA==")
    with pytest.raises(AccessError):
        Azure(cloud.bucket, wrong).open_store().find("x")


@pytest.mark.parametrize("cloud", ["gcs"], indirect=True)
def test_a_key_of_google_is_shown_nowhere(home, cloud, log):
    key = {"type": "service_account", "private_key": SENTINELS[1], "client_email": "a@b"}
    key |= {"token_uri": "http://127.0.0.1:1/token", "private_key_id": SENTINELS[0]}
    storage = GCS(cloud.bucket)
    with secrets.given({"GCP_CREDENTIALS": json.dumps(key)}):
        texts = failures(lambda: storage.open_store().get("x"))
    assert_absent(SENTINELS, texts, pickle.dumps(storage), repr(storage), log.text)


def test_no_credential_at_all_says_so(home, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    options = {"endpoint_url": "http://127.0.0.1:1", "region_name": "us-east-1"}
    with pytest.raises(AccessError, match="no credential was found"):
        S3("bucket", client_options=options).open_store().get("x")


def test_an_unknown_profile_is_the_users_to_correct(home, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="nobody"):
        S3("bucket", client_options={"profile_name": "nobody"}).open_store().get("x")


@pytest.mark.parametrize(
    "result",
    [
        S3Result("b", boto3_kwargs={"aws_secret_access_key": SENTINELS[1], "region_name": "r"}),
        AzureResult("c", connection_string=f"AccountName=a;AccountKey={SENTINELS[1]}"),
        GCSResult("b"),
    ],
)
def test_a_pickled_result_has_no_credential(result):
    assert SENTINELS[1].encode() not in pickle.dumps(result)
    assert SENTINELS[1] not in repr(result)
