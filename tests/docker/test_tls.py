"""A registry behind TLS with an authority and a password of its own; images read by other tools."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import subprocess
import uuid

import pytest

from casflow import config, http, register
from casflow.digests import hex_of
from casflow.errors import AccessError, CasflowError
from casflow.redaction import forms_of
from casflow.registry import Registry as Runs
from casflow.secrets import Secret
from casflow.storage import Docker, load
from casflow.storage.docker import trust
from casflow.storage.docker.image_store import config_of
from casflow.storage.docker.layer import sha256
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.registry import Registry
from tests.docker.flows import make, result
from tests.docker.images import put_base
from tests.services.images import busybox_root
from tests.services.presence import program, require
from tests.services.tls_registry import (
    PASSWORD,
    USER,
    DowngradingRegistry,
    require_tls_registry,
)

pytestmark = pytest.mark.service

SENTINEL = "s3nt1nel/image+w0rd"
NOWHERE = "unix:///nowhere.sock"


@pytest.fixture
def base(oci_registry, tmp_path):
    require("busybox image", "busybox", install="busybox-static")
    return put_base(oci_registry.host, "base/tls", busybox_root(tmp_path).read_bytes(), index=False)


@pytest.fixture
def alone(home, monkeypatch, tmp_path):
    """A user who has logged in nowhere and trusts nobody; return the folder of their settings."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


def log_in(folder, host, password=PASSWORD):
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))


@pytest.fixture
def storage(alone, base, tls_registry, oci_registry):
    """Make a storage behind TLS; its user has logged in and trusts the authority."""
    given = {
        "registry_url": f"https://{tls_registry.host}/{uuid.uuid4().hex}",
        "base_image": base.replace(oci_registry.host, tls_registry.host),
        "base_url": NOWHERE,
        "builder": "registry",
    }

    def make_storage(*, trusted=True, password=PASSWORD, **options):
        if trusted:
            tls_registry.trust_in(alone)
        log_in(alone, tls_registry.host, password)
        return Docker(**{**given, **options})

    return make_storage


def test_a_flow_goes_through_tls_by_the_authority_that_engines_trust(storage, capfd, caplog):
    with caplog.at_level("DEBUG"):
        done = register(make(storage()))
    found = read()
    assert done.uploaded_bytes > 0
    assert PASSWORD not in caplog.text + "".join(capfd.readouterr()) + str(found.serialize())


def read():
    """Run the flow that was registered, read without an engine; return its storage."""
    with Runs(config.load().registry) as runs:
        found = load(runs.get_version("default", "Docker Flow").storage)
    found.engine.base_url = NOWHERE
    assert result(found.get_flow("Docker Flow")) == 42
    return found


def test_an_image_holds_neither_the_login_nor_a_secret(storage, home, monkeypatch):
    monkeypatch.setenv("TOKEN", SENTINEL)
    flow = make(storage(secrets=["TOKEN"], env_vars={"KEPT": "2"}))
    assert Secret("TOKEN").get() == SENTINEL
    done = register(flow)
    name = ImageName.parse(done.location)
    registry = Registry(name.api_host, scheme="https")
    manifest = registry.get_manifest(name)
    parts = [json.dumps(config_of(registry, name, manifest)).encode()]
    for layer in manifest.layers:
        data = registry.get_blob(name, layer)
        parts += [data, gzip.decompress(data) if data[:2] == b"\x1f\x8b" else b""]
    parts += [path.read_bytes() for path in home.path.rglob("*") if path.is_file()]
    for form in {*forms_of(SENTINEL), *forms_of(PASSWORD), *forms_of(f"{USER}:{PASSWORD}")}:
        assert not [part for part in parts if form.encode() in part], form


def test_an_authority_that_nobody_trusts_and_a_wrong_password_are_said(storage):
    with pytest.raises(AccessError, match="certificate is not trusted"):
        register(make(storage(trusted=False)))
    with pytest.raises(AccessError):
        register(make(storage(password="wrong")))


def test_a_registry_that_leads_from_tls_to_plain_http_gets_nothing(
    home, oci_registry, monkeypatch, tmp_path
):
    require_tls_registry()
    monkeypatch.setenv("HOME", str(tmp_path))
    sent = []
    with DowngradingRegistry(oci_registry.host) as front:
        front.trust_in(tmp_path)
        login = {"username": USER, "password": PASSWORD}
        registry = Registry(front.host, scheme="https", credentials=login)
        send = http.send
        monkeypatch.setattr(
            http, "send", lambda verb, url, **rest: (sent.append(url), send(verb, url, **rest))[1]
        )
        name = ImageName.parse(f"{front.host}/{uuid.uuid4().hex}/x:1")
        with pytest.raises(AccessError, match=r"to plain HTTP.*X-Forwarded-Proto") as said:
            registry.upload_blob(name, b"layer", sha256(b"layer"))
    assert PASSWORD not in str(said.value)
    assert sent
    assert all(url.startswith("https://") for url in sent), sent


# ---- a token service -----------------------------------------------------------------------


@pytest.fixture
def behind_tokens(alone, token_registry, tmp_path):
    """Make a storage in a registry that takes tokens alone; its user may log in as they like."""
    require("busybox image", "busybox", install="busybox-static")
    token_registry.trust_in(alone)
    login = {"username": USER, "password": PASSWORD}
    registry = Registry(token_registry.host, scheme="https", credentials=login)
    archive = busybox_root(tmp_path).read_bytes()
    base = put_base(token_registry.host, "base/token", archive, index=False, registry=registry)
    token_registry.service.scopes.clear()

    def make_storage(**options):
        url = f"https://{token_registry.host}/{uuid.uuid4().hex}"
        given = {"base_image": base, "base_url": NOWHERE, "builder": "registry", **options}
        return Docker(url, image_name="flow", **given)

    return make_storage


def test_a_flow_goes_to_a_registry_by_tokens_of_its_service(
    behind_tokens, alone, token_registry, capfd, caplog
):
    log_in(alone, token_registry.host)
    storage = behind_tokens()
    with caplog.at_level("DEBUG"):
        done = register(make(storage))
    found = read()
    folder = ImageName.parse(done.location).repository
    own = {each for each in token_registry.service.scopes if folder in each}
    assert own == {f"repository:{folder}:pull", f"repository:{folder}:pull,push"}
    assert set(token_registry.service.scopes) - own == {"repository:base/token:pull"}
    again = make(storage, value=41)
    assert register(again).is_new
    shown = caplog.text + "".join(capfd.readouterr()) + str(found.serialize())
    assert PASSWORD not in shown
    assert "eyJ" not in shown  # what every token begins with


@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_token_service_that_does_not_know_us_is_an_access_error(
    behind_tokens, alone, token_registry, password
):
    if password is not None:
        log_in(alone, token_registry.host, password)
    with pytest.raises(AccessError, match=r"token service answered 401.*docker login"):
        register(make(behind_tokens()))


def test_a_token_for_another_repository_is_refused_by_the_registry(
    behind_tokens, alone, token_registry, monkeypatch
):
    log_in(alone, token_registry.host)
    token = token_registry.service.token
    monkeypatch.setattr(token_registry.service, "token", lambda _: token(["repository:x/y:pull"]))
    with pytest.raises(AccessError):
        register(make(behind_tokens()))


# ---- without TLS, or without an authority --------------------------------------------------


PODMAN = '[[registry]]\nlocation = "{host}"\ninsecure = true\n'
INSECURE = {
    "docker": (".config/docker/daemon.json", '{{"insecure-registries": ["{host}"]}}'),
    "podman": (".config/containers/registries.conf", PODMAN),
    "podman's folder": (".config/containers/registries.conf.d/own.conf", PODMAN),
}


@pytest.mark.parametrize("where", INSECURE)
@pytest.mark.parametrize("is_tls", [False, True])
def test_a_registry_that_engines_speak_to_without_tls_is_spoken_to_so(
    alone, base, tls_registry, oci_registry, monkeypatch, where, is_tls
):
    port = (tls_registry if is_tls else oci_registry).port
    host = f"reg.example:{port}"
    look_up = socket.getaddrinfo
    own = lambda name, *rest, **named: look_up(  # noqa: E731
        "127.0.0.1" if name == "reg.example" else name, *rest, **named
    )
    monkeypatch.setattr(socket, "getaddrinfo", own)
    monkeypatch.setattr("casflow.http.retry.sleep", lambda *_: False)
    log_in(alone, host)

    def storage():
        url = f"{host}/{uuid.uuid4().hex}"
        image = base.replace(oci_registry.host, host)
        return Docker(url, base_image=image, base_url=NOWHERE, builder="registry")

    with pytest.raises(CasflowError):
        register(make(storage()))
    file, text = INSECURE[where]
    (alone / file).parent.mkdir(parents=True)
    (alone / file).write_text(text.format(host=host))
    register(make(storage()))
    read()


@pytest.mark.parametrize(
    ("entry", "host", "is_covered"),
    [
        ("reg.example:5000", "reg.example:5000", True),
        ("reg.example:5000", "reg.example:5001", False),
        ("reg.example", "reg.example:5000", True),
        ("reg.example", "reg.example.evil.io", False),
        ("reg.example", "evil-reg.example", False),
        ("*.reg.example", "a.reg.example:5000", True),
        ("*.reg.example", "reg.example", False),
        ("10.1.0.0/16", "10.1.2.3:5000", True),
        ("10.1.0.0/16", "10.2.2.3:5000", False),
        ("10.1.0.0/16", "reg.example", False),
        ("reg.example/team", "reg.example", False),
        ("", "reg.example", False),
    ],
)
def test_an_entry_of_the_settings_is_about_its_host_alone(entry, host, is_covered):
    assert trust._covers(entry, host) is is_covered


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"insecure-registries": "a"}', "registry = 1"]
)
def test_settings_that_cannot_be_read_say_nothing(alone, text):
    for file, _ in INSECURE.values():
        (alone / file).parent.mkdir(parents=True, exist_ok=True)
        (alone / file).write_text(text)
    assert not trust.is_insecure("reg.example")


def test_other_tools_read_the_image_and_find_the_flow_in_it(home, base, oci_registry, tmp_path):
    require("image tools", "skopeo", "umoci", install="skopeo umoci")
    url = f"{oci_registry.host}/{uuid.uuid4().hex}"
    done = register(make(Docker(url, base_image=base, base_url=NOWHERE, builder="registry")))
    source = f"docker://{ImageName.parse(done.location).pinned}"
    copy = ["copy", "--src-tls-verify=false", source, f"oci:{tmp_path / 'oci'}:t"]
    run(program("skopeo"), "--insecure-policy", *copy)
    layout = f"{tmp_path / 'oci'}:t"
    run(program("umoci"), "unpack", "--rootless", "--image", layout, str(tmp_path / "out"))
    path = tmp_path / "out" / "rootfs" / "opt/casflow/flows" / hex_of(done.digest)
    assert path.stat().st_size > 0


def run(*command):
    subprocess.run(command, check=True, capture_output=True)
