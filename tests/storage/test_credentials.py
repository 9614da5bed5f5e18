"""Credentials reach the client and are written nowhere."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from urllib.parse import parse_qs, quote

import cloudpickle
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from casflow import Flow, secrets, task
from casflow.errors import AccessError, CasflowError, ConfigError
from casflow.results import AzureResult, GCSResult, S3Result
from casflow.storage import GCS, S3, Azure, load
from tests.services.azure import ACCOUNT, KEY

pytestmark = pytest.mark.service

SENTINELS = ("SENTINELkey0001", "SENTINELsecret0002", "SENTINELtoken0003")


class TokenServer(HTTPServer):
    """Gives everyone a token that is a sentinel."""

    asked = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/token"


class GiveToken(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.asked += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps({"access_token": SENTINELS[2], "expires_in": 3600}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture
def token_server():
    with TokenServer(("127.0.0.1", 0), GiveToken) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


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
    flow.storage.result.write("value")
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


def s3_by(way, cloud, monkeypatch, folder):
    """Return the storage of a bucket whose keys come in one of the ways that boto3 knows."""
    if way == "options":
        return s3_with_options(cloud.server, cloud.bucket)
    variables = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    for name, value in zip(variables, SENTINELS, strict=True):
        if way == "environment":
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name, raising=False)
    if way != "profile":
        return S3(cloud.bucket)
    lines = (f"{name.lower()} = {key}" for name, key in zip(variables, SENTINELS, strict=True))
    (folder / "credentials").write_text("\n".join(["[mine]", *lines]))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
    return S3(cloud.bucket, client_options={"profile_name": "mine"})


@pytest.mark.parametrize("cloud", ["s3"], indirect=True)
@pytest.mark.parametrize("way", ["options", "secret", "environment", "profile"])
def test_keys_of_s3_are_written_nowhere(home, cloud, log, way, monkeypatch, tmp_path):
    names = ("ACCESS_KEY", "SECRET_ACCESS_KEY", "SESSION_TOKEN")
    given = {"AWS_CREDENTIALS": json.dumps(dict(zip(names, SENTINELS, strict=True)))}
    with secrets.given(given if way == "secret" else {}):
        storage = s3_by(way, cloud, monkeypatch, tmp_path)
        flow = use(storage)
        elsewhere = storage.client_options | {"endpoint_url": "http://127.0.0.1:1"}
        texts = failures(
            lambda: list(S3("none", client_options=storage.client_options).open_store().list()),
            lambda: storage.open_store().get("x"),
            lambda: S3("b", client_options={**elsewhere, "no_such": 1}).open_store().get("x"),
        )
    assert_absent(SENTINELS, written(home, cloud), shown(storage, flow), texts, log.text)


@pytest.mark.parametrize("cloud", ["s3"], indirect=True)
def test_a_given_secret_reaches_a_registration_that_asks_twice_at_once(home, cloud, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home.path / "none"))
    given = {"ACCESS_KEY": SENTINELS[0], "SECRET_ACCESS_KEY": SENTINELS[1]}
    with secrets.given({"AWS_CREDENTIALS": given}):
        use(S3(cloud.bucket))
        again = use(S3(cloud.bucket))
    assert again.storage.uploaded == {"secretive": 0}


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
        lambda: list(Azure("none", connection_string=connection).open_store().list()),
        lambda: Azure(cloud.bucket, connection_string=wrong).open_store().get("x"),
    )
    sentinels = (KEY, "U0VOVElORUxzZW50aW5lbA")
    assert_absent(sentinels, written(home, cloud), shown(storage, flow), texts, log.text)


@pytest.mark.parametrize("cloud", ["azure"], indirect=True)
def test_a_wrong_key_of_azure_is_an_access_error(cloud):
    wrong = cloud.server.connection_string.replace(KEY, "U0VOVElORUxzZW50aW5lbA==")
    with pytest.raises(AccessError):
        Azure(cloud.bucket, connection_string=wrong).open_store().find("x")


@pytest.mark.parametrize("cloud", ["azure"], indirect=True)
def test_a_shared_access_signature_is_written_nowhere(home, cloud, log):
    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    everything = AccountSasPermissions.from_string("rwdlac")
    until = datetime.now(UTC) + timedelta(hours=1)
    kinds = ResourceTypes(container=True, object=True)
    signed = generate_account_sas(ACCOUNT, KEY, kinds, everything, until)
    place = f"BlobEndpoint={cloud.server.url}/{ACCOUNT};SharedAccessSignature="
    storage = Azure(cloud.bucket, connection_string=place + signed)
    flow = use(storage)
    wrong = place + signed.replace("sig=", f"sig={SENTINELS[1]}")
    texts = failures(
        lambda: storage.open_store().get("x"),
        lambda: Azure(cloud.bucket, connection_string=wrong).open_store().get("x"),
    )
    (signature,) = parse_qs(signed)["sig"]
    sentinels = (signature, quote(signature, safe=""), SENTINELS[1])
    assert_absent(sentinels, written(home, cloud), shown(storage, flow), texts, log.text)


@pytest.mark.parametrize("cloud", ["gcs"], indirect=True)
def test_a_key_of_google_and_its_token_are_written_nowhere(home, cloud, log, token_server):
    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    key = {"type": "service_account", "private_key": pem, "client_email": "a@b"}
    key |= {"token_uri": token_server.url, "private_key_id": SENTINELS[0]}
    with secrets.given({"GCP_CREDENTIALS": json.dumps(key)}):
        storage = GCS(cloud.bucket)
        flow = use(storage)
        texts = failures(
            lambda: storage.open_store().get("x"), lambda: GCS("none").open_store().get("x")
        )
    assert token_server.asked
    sentinels = (*SENTINELS, pem.splitlines()[5])
    assert_absent(sentinels, written(home, cloud), shown(storage, flow), texts, log.text)


@pytest.mark.parametrize("cloud", ["gcs"], indirect=True)
def test_a_key_of_google_that_is_none_is_shown_nowhere(home, cloud, log):
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
