"""The registry's HTTP API by a real registry: what is put, what is refused, what breaks."""

from __future__ import annotations

import io
import json
import uuid

import pytest

from casflow.errors import AccessError, IntegrityError, NotFoundError, UnavailableError
from casflow.storage.docker.auth import RegistryAuth
from casflow.storage.docker.layer import sha256
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.registry import OCI_MANIFEST, Manifest, Registry
from tests.docker import hub as fronts
from tests.services.process import free_port

pytestmark = pytest.mark.service

DATA = b"a blob" * 100


def manifest_of(data=DATA):
    blob = {"mediaType": "application/octet-stream", "size": len(data), "digest": sha256(data)}
    form = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": blob, "layers": [blob]}
    made = json.dumps(form).encode()
    return Manifest(made, OCI_MANIFEST, sha256(made))


READS = {
    "manifest": lambda registry, name: registry.get_manifest(name.at(manifest_of().digest)),
    "blob": lambda registry, name: registry.get_blob(name, manifest_of().layers[0]),
}


def fill(registry, name):
    registry.put_blob(name, DATA, sha256(DATA))
    registry.put_manifest(name, manifest_of())


@pytest.fixture
def name(oci_registry):
    """A repository of this test's own."""
    return ImageName(oci_registry.host, f"test/{uuid.uuid4().hex}", "one")


@pytest.fixture
def registry(oci_registry):
    return Registry(oci_registry.host)


@pytest.fixture
def front(oci_registry, tmp_path, monkeypatch):
    """Start a registry that asks for tokens; the docker client's settings are empty."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    ends = []

    def start(settings=None, scheme="Bearer"):
        hub, end = fronts.serve(oci_registry.host, scheme)
        ends.append(end)
        if settings is not None:
            (tmp_path / "config.json").write_text(json.dumps(settings(hub)))
        return hub

    yield start
    for end in ends:
        end()


def test_what_was_put_is_found_and_read(registry, name):
    assert registry.find_manifest(name) is None
    assert not registry.has_blob(name, sha256(DATA))
    fill(registry, name)
    found = registry.get_manifest(name)
    assert found == manifest_of()
    assert registry.get_blob(name, found.layers[0]) == DATA
    assert registry.get_manifest(name.at(found.digest)) == found


def test_a_blob_is_sent_once(registry, name):
    assert registry.put_blob(name, io.BytesIO(DATA), sha256(DATA))
    assert not registry.put_blob(name, io.BytesIO(DATA), sha256(DATA))


def test_a_blob_is_taken_over_from_another_repository(registry, name):
    fill(registry, name)
    other = ImageName(name.host, f"{name.repository}-other")
    assert registry.mount_blob(other, sha256(DATA), name)
    assert registry.has_blob(other, sha256(DATA))


def test_a_manifest_whose_blobs_are_not_there_does_not_resolve(registry, name):
    with pytest.raises(Exception, match=r"not understand|not found"):
        registry.put_manifest(name, manifest_of())
    assert registry.find_manifest(name) is None


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("403", AccessError),
        ("404", NotFoundError),
        ("429", UnavailableError),
        ("500", UnavailableError),
        ("503", UnavailableError),
        ("cut-before", UnavailableError),
        ("cut-after", UnavailableError),
        ("truncated", UnavailableError),
        ("wrong-body", IntegrityError),
    ],
)
@pytest.mark.parametrize("what", READS)
def test_an_answer_that_fails_is_the_right_error(
    registry, name, oci_registry, proxy_to, kind, error, what, monkeypatch
):
    monkeypatch.setattr("casflow.http.retry.sleep", lambda *_: True)
    fill(registry, name)
    proxy = proxy_to(oci_registry.url, dialect="plain")
    broken = Registry(proxy.host)
    proxy.fault(None, kind)
    with pytest.raises(error):
        READS[what](broken, name)


@pytest.mark.parametrize("kind", ["429", "503", "cut-before"])
def test_what_passes_is_tried_again(registry, name, oci_registry, proxy_to, kind, monkeypatch):
    monkeypatch.setattr("casflow.http.retry.sleep", lambda *_: True)
    fill(registry, name)
    proxy = proxy_to(oci_registry.url, dialect="plain")
    proxy.fault(1, kind)
    assert Registry(proxy.host).get_manifest(name).digest == manifest_of().digest


def test_nobody_listening_is_unavailable(name):
    with pytest.raises(UnavailableError, match="no answer"):
        Registry(f"127.0.0.1:{free_port()}").get_manifest(name)


# ---- who asks ------------------------------------------------------------------------------


def login(hub):
    auth = fronts.basic().removeprefix("Basic ")
    return {"auths": {hub.host: {"auth": auth}}}


def identity(hub):
    settings = login(hub)
    settings["auths"][hub.host]["identitytoken"] = fronts.PASSWORD
    return settings


def helper(hub):
    return {"credHelpers": {hub.host: "casflowtest"}}


def store(hub):
    del hub
    return {"credsStore": "casflowtest"}


@pytest.fixture
def credential_helper(tmp_path, monkeypatch):
    """A credential helper, as the docker client calls it; give it another answer by its result."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    program = tmp_path / "docker-credential-casflowtest"

    def say(answer, *, code=0):
        program.write_text(f"#!/bin/sh\ncat > /dev/null\necho '{answer}'\nexit {code}\n")
        program.chmod(0o755)

    say(json.dumps({"Username": fronts.USER, "Secret": fronts.PASSWORD, "ServerURL": "x"}))
    return say


@pytest.mark.parametrize(
    ("scheme", "settings"),
    [
        ("Bearer", login),
        ("Bearer", identity),
        ("Bearer", helper),
        ("Bearer", store),
        ("Basic", login),
        ("Basic", helper),
        ("Basic", store),
    ],
)
def test_a_registry_that_asks_who_we_are_is_answered(
    front, name, credential_helper, settings, scheme
):
    hub = front(settings, scheme)
    registry = Registry(hub.host)
    fill(registry, name)
    assert registry.get_manifest(name).digest == manifest_of().digest
    asked = len(hub.seen)
    registry.get_manifest(name)
    assert len(hub.seen) == asked + 1  # the token is kept
    if scheme == "Bearer":
        assert {each.split(":")[-1] for each in hub.tokens.values()} == {"pull", "pull,push"}


def test_without_a_credential_it_is_refused(front, name):
    registry = Registry(front(lambda _: {}).host)
    with pytest.raises(AccessError, match="docker login"):
        registry.get_manifest(name)


def test_a_wrong_password_is_refused_and_not_told(front, name):
    registry = Registry(front().host, credentials={"username": "casflow", "password": "sentinel"})
    with pytest.raises(AccessError) as caught:
        registry.get_manifest(name)
    assert "sentinel" not in str(caught.value)


def test_a_password_does_not_go_to_a_token_service_in_the_open(front, name):
    access = RegistryAuth("reg.example", {"username": "a", "password": "b"})
    assert not access._is_safe("http://tokens.example/token")
    assert access._is_safe("https://tokens.example/token")
    assert access._is_safe("http://127.0.0.1:80/token")


def test_a_helper_that_fails_is_an_access_error(front, name, credential_helper, tmp_path):
    (tmp_path / "docker-credential-casflowtest").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(AccessError, match="credential"):
        Registry(front(helper).host).get_manifest(name)


def test_an_identity_token_of_a_helper_is_one(front, name, credential_helper):
    credential_helper(json.dumps({"Username": "<token>", "Secret": fronts.PASSWORD}))
    registry = Registry(front(store).host)
    fill(registry, name)
    assert registry.get_manifest(name).digest == manifest_of().digest


def test_what_a_store_does_not_have_is_looked_for_in_the_settings(front, name, credential_helper):
    credential_helper("credentials not found in native keychain", code=1)
    registry = Registry(front(lambda hub: {**login(hub), **store(hub)}).host)
    fill(registry, name)
    assert registry.get_manifest(name).digest == manifest_of().digest


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "no JSON",
        "[]",
        "{}",
        "null",
        '{"Username": 1}',
        '{"Username": "a", "Secret": 5}',
        '{"Secret": "sentinel"}',
    ],
)
def test_an_answer_of_a_helper_that_is_none_is_an_access_error(
    front, name, credential_helper, answer
):
    credential_helper(answer)
    with pytest.raises(AccessError, match="credential") as caught:
        Registry(front(store).host).get_manifest(name)
    assert "sentinel" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"credsStore": "nowhere"},
        {"credsStore": ["casflowtest"]},
        {"credHelpers": ["casflowtest"]},
        {"auths": ["a"]},
        {"auths": {"HOST": {"auth": "no base64"}}},
        {"auths": {"HOST": {"auth": "c2VudGluZWw="}}},
        {"auths": {"HOST": 1}},
    ],
)
def test_settings_that_cannot_be_understood_are_an_access_error(front, name, settings):
    def of(hub):
        return json.loads(json.dumps(settings).replace("HOST", hub.host))

    with pytest.raises(AccessError) as caught:
        Registry(front(of).host).get_manifest(name)
    assert "sentinel" not in str(caught.value)
