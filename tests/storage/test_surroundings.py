"""Clouds behind what people have before them: TLS of their own, proxies, servers that are alike."""

from __future__ import annotations

import json
import traceback
from datetime import UTC, datetime, timedelta

import pytest

from casflow import Flow, config, task
from casflow.blobs import layout
from casflow.blobs.format import FORMAT_OBJECT
from casflow.blobs.gcs import GCSBlobStore
from casflow.blobs.s3 import S3BlobStore
from casflow.errors import (
    AccessError,
    CasflowError,
    ConfigError,
    ConflictError,
    UnavailableError,
)
from casflow.storage import GCS, S3, Azure, CodeCommit, Git, GitHub, GitLab, load
from casflow.storage.urls import open_url
from tests.services.azure import ACCOUNT, KEY
from tests.services.squid import Squid, require_squid
from tests.services.tls_registry import TlsFront, require_tls_registry
from tests.storage.conftest import enter

pytestmark = pytest.mark.service
AWS = {"region_name": "r", "aws_access_key_id": "k", "aws_secret_access_key": "secret"}
CA_SETTINGS = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO")


def flow_of(storage, name="f"):
    with Flow(name, storage=storage) as flow:
        task(lambda: 1)()
    return flow


@pytest.fixture
def front(cloud, monkeypatch):
    """Put TLS by a private authority before the cloud; return the cloud and the front."""
    require_tls_registry()
    for name in (*CA_SETTINGS, "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with TlsFront(cloud.server.url.partition("://")[2]) as before:
        behind = cloud.through(before)
        enter(behind, monkeypatch)
        yield behind, before


@pytest.mark.slow
def test_a_certificate_of_a_strange_authority_is_named_with_the_settings_that_count(
    front, monkeypatch
):
    cloud, before = front
    with pytest.raises(AccessError, match="certificate is not trusted") as caught:
        flow_of(cloud.storage()).register()
    assert "CN=casflow test authority" in str(caught.value)
    assert all(each in str(caught.value) for each in CA_SETTINGS)
    for setting in CA_SETTINGS:
        with monkeypatch.context() as patched:
            patched.setenv(setting, str(before.authority))
            storage = cloud.storage()
            flow_of(storage, setting).register()
            assert load(storage.serialize()).get_flow(setting).run().is_successful()
            assert list(storage.content.store.list())
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.crt")
    with pytest.raises(ConfigError, match="SSL_CERT_FILE names no file"):
        flow_of(cloud.storage()).register()


def test_git_and_the_hosts_of_scripts_say_the_same(git_http_server, home, monkeypatch):
    require_tls_registry()
    for name in (*CA_SETTINGS, "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with TlsFront(git_http_server.url.partition("://")[2]) as before:
        for storage in (
            Git("f.py", f"{before.url}/x/y.git"),
            GitHub("o/r", "f.py", base_url=before.url),
            GitLab("o/r", path="f.py", host=before.url),
            CodeCommit("r", "f.py", client_options={"endpoint_url": before.url, **AWS}),
        ):
            with pytest.raises(AccessError, match="certificate is not trusted") as caught:
                storage.resolve("f")
            said = str(caught.value)
            assert "CN=casflow test authority" in said
            assert all(each in said for each in CA_SETTINGS)
            for setting in CA_SETTINGS:
                with monkeypatch.context() as patched:
                    patched.setenv(setting, str(before.authority))
                    with pytest.raises(CasflowError) as caught:
                        storage.resolve("f")
                    assert "certificate" not in str(caught.value)


@pytest.fixture(scope="module")
def squid():
    require_squid()
    with Squid() as proxy:
        yield proxy


def test_the_proxy_of_the_environment_is_asked(cloud, squid, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, squid.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    before = len(squid.requests)
    storage = cloud.storage()
    flow_of(storage).register()
    assert load(storage.serialize()).get_flow("f").run().is_successful()
    assert list(storage.content.store.list())
    assert len(squid.requests) > before + 3


# ---- S3's relatives ------------------------------------------------------------------------


@pytest.fixture
def relative(s3_server, proxy_to, monkeypatch, home):
    """Return a bucket and the proxy that makes its server another one."""
    proxy = proxy_to(s3_server.url)
    enter(s3_server.through(proxy.url), monkeypatch)
    return s3_server.bucket(), proxy


def test_a_server_without_deletions_of_many_is_asked_for_each(relative):
    bucket, proxy = relative
    store = S3BlobStore(bucket)
    keys = [f"k{number}" for number in range(4)]
    for key in keys:
        store.create(key, b"x")
    proxy.rule = lambda method, path, headers: (
        (400, "MissingContentMD5") if method == "POST" and "delete" in path else None
    )
    store.delete_many(keys[:2])
    store.delete_many(keys[2:])
    assert list(store.list()) == []
    assert len([each for each in proxy.requests if each.method == "POST"]) == 1


def test_a_server_that_ignores_conditions_is_found_out_at_the_first_write(relative):
    bucket, proxy = relative
    proxy.dropped = frozenset({"if-none-match"})
    with pytest.raises(ConfigError, match=r"ignores conditional writes.*exclusive_writer"):
        flow_of(S3(bucket)).register()
    alone = S3(bucket, exclusive_writer=True)
    assert flow_of(alone).register().is_new
    assert not flow_of(S3(bucket, exclusive_writer=True)).register().is_new
    again = load(json.loads(json.dumps(alone.serialize())))
    assert again.exclusive_writer
    assert again.get_flow("f").run().is_successful()
    store = open_url(f"s3://{bucket}", exclusive_writer=True)
    store.create("once", b"x")
    with pytest.raises(ConflictError):
        store.create("once", b"y")


def test_a_store_that_is_there_is_found_out_when_its_server_is_changed(relative):
    bucket, proxy = relative
    flow_of(S3(bucket)).register()
    proxy.dropped = frozenset({"if-none-match"})
    with pytest.raises(ConfigError, match=r"ignores conditional writes.*exclusive_writer"):
        flow_of(S3(bucket), "g").register()


def test_the_promise_may_be_given_by_a_flag_and_by_the_settings(relative, home, monkeypatch):
    bucket, proxy = relative
    proxy.dropped = frozenset({"if-none-match"})
    folder = home.path.parent / "tree"
    folder.mkdir()
    (folder / "a").write_text("1")
    store, flag = ("--store", f"s3://{bucket}"), "--exclusive-writer"
    _, err = home.casflow("push", folder, "etl", *store, code=2)
    assert "--exclusive-writer" in err
    home.casflow("push", folder, "etl", *store, flag)
    home.casflow("tag", "etl", "prod", *store, flag)
    monkeypatch.setenv("CASFLOW_STORES", f'{{"s3://{bucket}": {{"exclusive_writer": true}}}}')
    assert flow_of(S3(bucket)).register().is_new


def test_a_server_that_ignores_conditions_on_parts_is_told_of_once(relative, caplog):
    bucket, proxy = relative
    assert flow_of(S3(bucket)).register().is_new
    assert "uploads in parts" not in caplog.text
    store = open_url(f"s3://{bucket}")
    assert store.creates_parts_once(layout.FORMAT, FORMAT_OBJECT)
    store.delete(layout.FORMAT)

    def drop_on_completion(method, _, headers):
        if method == "POST":
            del headers["If-None-Match"]

    proxy.rule = drop_on_completion
    for number in range(2):
        flow_of(S3(bucket), name=f"flow {number}").register()
    assert caplog.text.count("ignores conditions (If-None-Match) on uploads in parts") == 1
    assert store.get(layout.FORMAT) == FORMAT_OBJECT


def test_a_server_that_knows_no_conditions_is_not_asked_again(relative):
    bucket, proxy = relative
    proxy.rule = lambda method, path, headers: (
        (501, "NotImplemented") if "If-None-Match" in headers else None
    )
    with pytest.raises(ConfigError, match="does not know this kind of request") as caught:
        flow_of(S3(bucket)).register()
    assert "exclusive_writer" in str(caught.value)
    refused = [each for each in proxy.requests if each.status == 501]
    assert len(refused) == 1
    assert flow_of(S3(bucket, exclusive_writer=True)).register().is_new


@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (304, "", ConflictError, "already"),
        (412, "PreconditionFailed", ConflictError, "already"),
        (400, "XAmzContentSHA256Mismatch", ConfigError, "when_required"),
        (400, "InvalidTrailer", ConfigError, "when_required"),
        (400, "MissingContentMD5", ConfigError, "when_required"),
        (407, "", AccessError, "the proxy asks for a login"),
        (403, "AccessDenied", AccessError, "permissions"),
    ],
)
def test_each_refusal_of_a_write_is_what_it_is(relative, status, code, error, words):
    bucket, proxy = relative
    store = S3BlobStore(bucket)
    store.create("there", b"x")
    proxy.rule = lambda method, path, headers: (status, code) if method == "PUT" else None
    with pytest.raises(error, match=words):
        store.create("there", b"y")


@pytest.mark.slow
def test_a_proxy_is_not_asked_for_hosts_that_are_excepted_and_its_password_is_not_shown(
    cloud, monkeypatch
):
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://user:SENTINELpassword@127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UnavailableError) as caught:
        cloud.storage().content.store.get("x")
    assert "SENTINEL" not in "".join(traceback.format_exception(caught.value, chain=False))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert cloud.storage().content.store.find("x") is None


def test_a_bucket_whose_readers_pay_is_told_so_by_every_request(relative):
    bucket, proxy = relative
    proxy.rule = lambda method, path, headers: (
        None if headers.get("x-amz-request-payer") == "requester" else (403, "AccessDenied")
    )
    storage = S3(bucket, upload_options={"RequestPayer": "requester"})
    flow_of(storage).register()
    again = load(json.loads(json.dumps(storage.serialize())))
    assert again.get_flow("f").run().is_successful()
    store = again.content.store
    assert list(store.list())
    store.create("extra", b"x")
    store.delete_many(["extra"])
    assert again.result.write(5).value == 5
    assert list(open_url(f"s3://{bucket}", upload_options={"RequestPayer": "requester"}).list())


def test_a_bucket_that_wants_each_upload_encrypted_gets_it_whoever_writes(relative, monkeypatch):
    bucket, proxy = relative
    proxy.rule = lambda method, path, headers: (
        (403, "AccessDenied")
        if method == "PUT" and headers.get("x-amz-server-side-encryption") != "aws:kms"
        else None
    )
    options = {"ServerSideEncryption": "aws:kms"}
    storage = S3(bucket, upload_options=options)
    flow_of(storage).register()
    again = load(json.loads(json.dumps(storage.serialize())))
    again.result.write(5)
    with pytest.raises(AccessError):
        open_url(f"s3://{bucket}").create("a", b"x")
    monkeypatch.setenv("CASFLOW_S3_UPLOAD_OPTIONS", json.dumps(options))
    open_url(f"s3://{bucket}").create("a", b"x")
    open_url(f"s3://{bucket}").put("a", b"y")
    for text in ("[]", "x", "5"):
        monkeypatch.setenv("CASFLOW_S3_UPLOAD_OPTIONS", text)
        with pytest.raises(ConfigError, match="CASFLOW_S3_UPLOAD_OPTIONS"):
            open_url(f"s3://{bucket}")


def test_a_project_that_pays_is_named_in_every_request(gcs_server, proxy_to, monkeypatch, home):
    proxy = proxy_to(gcs_server.url, dialect="gcs")
    enter(gcs_server.through(proxy.url), monkeypatch)
    storage = GCS(gcs_server.bucket(), project="payer", requester_pays=True)
    flow_of(storage).register()
    again = load(json.loads(json.dumps(storage.serialize())))
    assert again.requester_pays
    assert again.get_flow("f").run().is_successful()
    assert list(again.content.store.list())
    again.result.write(5)
    unpaid = [each for each in proxy.requests if "userProject=payer" not in each.query]
    assert not unpaid
    assert "requester_pays" not in GCS("b").serialize()
    assert isinstance(again.content.store, GCSBlobStore)


# ---- credentials as people have them -------------------------------------------------------


def signature(container):
    """Return a shared access signature for a container."""
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    rights = ContainerSasPermissions(read=True, write=True, delete=True, list=True, create=True)
    until = datetime.now(UTC) + timedelta(hours=1)
    return generate_container_sas(
        ACCOUNT, container, account_key=KEY, permission=rights, expiry=until
    )


@pytest.mark.parametrize("form", ["{address}?{sas}", "{address}/?{sas}", "{address}/{name}?{sas}"])
def test_an_address_with_a_shared_access_signature_is_used_as_it_is(
    azure_server, home, form, monkeypatch
):
    name = azure_server.bucket()
    sas = signature(name)
    address = f"{azure_server.url}/{ACCOUNT}"
    monkeypatch.setenv(
        "AZURE_STORAGE_CONNECTION_STRING", form.format(address=address, name=name, sas=sas)
    )
    storage = Azure(name)
    flow_of(storage).register()
    form = json.dumps(storage.serialize())
    assert load(json.loads(form)).get_flow("f").run().is_successful()
    assert storage.content.store.url == f"{address}/{name}"
    assert "sig=" not in form


def test_a_newline_at_the_end_of_a_secret_counts_for_nothing(azure_server, home, monkeypatch):
    name = azure_server.bucket()
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure_server.connection_string + "\n")
    assert flow_of(Azure(name)).register().is_new


@pytest.mark.parametrize(
    "text",
    [
        *("plain", "[]", "5", "{}", '{"ACCESS_KEY": "a"}', '{"ACCESS_KEY": "a", "SECRET": "b"}'),
        *(
            '{"ACCESS_KEY": 1, "SECRET_ACCESS_KEY": "b"}',
            '{"ACCESS_KEY": "", "SECRET_ACCESS_KEY": "b"}',
        ),
        '{"ACCESS_KEY": "a", "SECRET_ACCESS_KEY": "b", "SESSION_TOKEN": 5}',
    ],
)
def test_keys_that_are_malformed_are_a_wrong_request(home, monkeypatch, text):
    monkeypatch.setenv("AWS_CREDENTIALS", text)
    with pytest.raises(ConfigError, match=r"AWS_CREDENTIALS.*write it as JSON") as caught:
        flow_of(S3("bucket")).register()
    assert "SENTINEL" not in str(caught.value)


@pytest.mark.parametrize("text", ["plain", "[]", "{}", '{"type": 5}'])
def test_a_key_of_google_that_is_malformed_is_a_wrong_request(home, monkeypatch, text):
    monkeypatch.setenv("GCP_CREDENTIALS", text)
    with pytest.raises(ConfigError, match="GCP_CREDENTIALS"):
        flow_of(GCS("bucket")).register()


def test_the_settings_of_certificates_are_asked_in_one_order(tmp_path, monkeypatch):
    for name in (*CA_SETTINGS, "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    assert config.ca_bundle() is None
    for name in reversed(CA_SETTINGS):
        (tmp_path / name).touch()
        monkeypatch.setenv(name, str(tmp_path / name))
        assert config.ca_bundle() == str(tmp_path / name)
