"""A registry behind TLS with an authority and a password of its own; images read by other tools."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import uuid

import pytest

from casflow import config, http, register
from casflow.digests import hex_of
from casflow.errors import AccessError
from casflow.redaction import forms_of
from casflow.registry import Registry as Runs
from casflow.secrets import Secret
from casflow.storage import Docker, load
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
def storage(home, base, tls_registry, oci_registry, monkeypatch, tmp_path):
    """Make a storage behind TLS; its user has logged in and trusts the authority."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    given = {
        "registry_url": f"https://{tls_registry.host}/{uuid.uuid4().hex}",
        "base_image": base.replace(oci_registry.host, tls_registry.host),
        "base_url": NOWHERE,
        "builder": "registry",
    }

    def make_storage(*, trusted=True, password=PASSWORD, **options):
        if trusted:
            tls_registry.trust_in(tmp_path)
        auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
        settings = {"auths": {tls_registry.host: {"auth": auth}}}
        (tmp_path / "config.json").write_text(json.dumps(settings))
        return Docker(**{**given, **options})

    return make_storage


def test_a_flow_goes_through_tls_by_the_authority_that_engines_trust(storage, capfd, caplog):
    with caplog.at_level("DEBUG"):
        done = register(make(storage()))
    with Runs(config.load().registry) as runs:
        found = load(runs.get_version("default", "Docker Flow").storage)
    found.engine.base_url = NOWHERE
    assert result(found.get_flow("Docker Flow")) == 42
    assert done.uploaded_bytes > 0
    assert PASSWORD not in caplog.text + "".join(capfd.readouterr()) + str(found.serialize())


def test_an_image_holds_neither_the_login_nor_a_secret(storage, home, monkeypatch):
    monkeypatch.setenv("TOKEN", SENTINEL)
    flow = make(storage(secrets=["TOKEN"], env_vars={"KEPT": "2"}))
    assert Secret("TOKEN").get() == SENTINEL
    done = register(flow)
    name = ImageName.parse(done.location)
    registry = Registry(name.api_host)
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
