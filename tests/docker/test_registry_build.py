"""Images that are put together in the registry; no engine runs or is asked."""

from __future__ import annotations

import io
import json
import tarfile
import uuid

import pytest

from casflow import register
from casflow.digests import hex_of
from casflow.errors import (
    AccessError,
    ConfigError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
)
from casflow.reference import SCRIPT as SCRIPT_TYPE
from casflow.storage import Docker, load
from casflow.storage.docker.image_store import config_of
from casflow.storage.docker.layer import sha256
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.recipe import PYTHON_LABEL, python_version
from casflow.storage.docker.registry import Registry
from tests.docker.flows import SCRIPT, make, result
from tests.docker.images import KINDS, put_base
from tests.services.images import busybox_root
from tests.services.presence import require
from tests.services.process import free_port

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def base(oci_registry, tmp_path_factory):
    """Name of a small image in the registry."""
    require("busybox image", "busybox", install="busybox-static")
    root = busybox_root(tmp_path_factory.mktemp("busybox"))
    return put_base(oci_registry.host, "base/busybox", root.read_bytes())


@pytest.fixture
def storage(oci_registry, base):
    """Make a storage in a folder of this test's own; its engine is not there."""
    folder = uuid.uuid4().hex

    def make_storage(**options):
        given = {
            "registry_url": f"{oci_registry.host}/{folder}",
            "base_image": base,
            "builder": "registry",
            "base_url": "unix:///nowhere.sock",
        }
        return Docker(**{**given, **options})

    return make_storage


def restored(flow, **changes):
    """Return the storage as an agent elsewhere gets it."""
    found = load({**flow.storage.serialize(), **changes})
    found.engine.base_url = "unix:///nowhere.sock"
    return found


def image_of(storage, flow="Docker Flow"):
    """Return an image's name, registry, manifest and configuration."""
    name = ImageName.parse(storage.flows[flow])
    registry = Registry(name.api_host)
    manifest = registry.get_manifest(name)
    return name, registry, manifest, config_of(registry, name, manifest)


def last_layer(storage, flow="Docker Flow"):
    name, registry, manifest, _ = image_of(storage, flow)
    return registry.get_blob(name, manifest.layers[-1])


def test_a_flow_is_registered_and_read_back_from_the_registry(home, storage, oci_registry):
    flow = make(storage())
    done = register(flow)
    name = ImageName.parse(done.location)
    assert name.host == oci_registry.host
    assert name.repository.endswith("/docker-flow")
    assert name.tag[:2] == "20"
    assert done.uploaded_bytes > 0
    assert result(restored(flow).get_flow("Docker Flow")) == 42


def test_the_flow_alone_is_the_last_layer_at_a_path_of_its_digest(home, storage):
    flow = make(storage())
    done = register(flow)
    with tarfile.open(fileobj=io.BytesIO(last_layer(flow.storage))) as layer:
        files = [each for each in layer if each.isfile()]
    assert f"opt/casflow/flows/{hex_of(done.digest)}" in {each.name for each in files}
    assert {(each.mtime, each.uid, each.mode) for each in files} == {(0, 0, 0o100644)}
    blobs = flow.storage.references["Docker Flow"].blobs()
    assert len(files) == len(blobs)


def test_the_configuration_keeps_the_base_and_names_the_flows(home, storage):
    flow = make(storage(env_vars={"A": "one\n'two'", "KEPT": "2"}))
    register(flow)
    _, _, manifest, config = image_of(flow.storage)
    assert config["config"]["Labels"]["kept"] == "yes"
    named = json.loads(config["config"]["Labels"]["io.casflow.flows"])
    assert named["Docker Flow"]["digest"] == flow.storage.references["Docker Flow"].digest
    home_line = "CASFLOW_HOME=/opt/casflow"
    assert set(config["config"]["Env"]) == {"PATH=/bin", home_line, "A=one\n'two'", "KEPT=2"}
    assert len(config["rootfs"]["diff_ids"]) == len(manifest.layers) == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("index", [False, True])
def test_the_image_speaks_the_dialect_of_its_base(
    home, storage, oci_registry, tmp_path, kind, index
):
    root = busybox_root(tmp_path).read_bytes()
    base = put_base(oci_registry.host, f"base/{kind}-{index}".lower(), root, kind=kind, index=index)
    flow = make(storage(base_image=base))
    register(flow)
    assert image_of(flow.storage)[2].media_type == KINDS[kind][0]
    assert result(restored(flow).get_flow("Docker Flow")) == 42


def test_the_same_flow_in_two_places_gives_one_layer_and_one_digest(home, storage):
    first, second = make(storage()), make(storage(image_name="other"))
    assert register(first).digest == register(second).digest
    assert sha256(last_layer(first.storage)) == sha256(last_layer(second.storage))


def test_registered_again_nothing_is_sent(home, storage, oci_registry, proxy_to):
    proxy = proxy_to(oci_registry.url, dialect="plain")
    url = storage().registry_url.replace(oci_registry.host, proxy.host)
    first = register(make(storage(registry_url=url)))
    proxy.reset()
    again = register(make(storage(registry_url=url)))
    assert (again.status, again.location) == ("unchanged", first.location)
    assert again.uploaded_bytes == 0
    assert {each.method for each in proxy.requests} == {"GET"}
    assert proxy.up == 0


def test_what_is_there_by_another_registration_only_gets_a_tag(home, storage, oci_registry):
    first = register(make(storage()))
    second = register(make(storage()), project="other")
    assert second.is_new
    names = [ImageName.parse(each.location) for each in (first, second)]
    assert names[0].digest == names[1].digest
    assert names[0].tag != names[1].tag
    assert second.uploaded_bytes == 0


def test_another_environment_is_another_version_of_the_same_digest(home, storage):
    first = register(make(storage()))
    second = register(make(storage(env_vars={"A": "1"})))
    assert (second.version, second.digest) == (2, first.digest)
    assert second.location != first.location


def test_cold_it_reads_the_manifest_and_one_layer_and_warm_nothing(
    home, storage, oci_registry, proxy_to
):
    flow = make(storage())
    register(flow)
    proxy = proxy_to(oci_registry.url, dialect="plain")
    form = json.loads(json.dumps(flow.storage.serialize()).replace(oci_registry.host, proxy.host))
    cold = restored(flow, **form).load_flow("Docker Flow")
    assert not cold.hit
    assert [each.method for each in proxy.requests] == ["GET", "GET"]
    assert ["/manifests/" in proxy.requests[0].path, "/blobs/" in proxy.requests[1].path] == [1, 1]
    size = sum(each["size"] for each in image_of(flow.storage)[2].layers)
    assert proxy.down < size / 50
    proxy.reset()
    assert restored(flow, **form).load_flow("Docker Flow").hit
    assert proxy.requests == []


@pytest.mark.parametrize(
    ("request_number", "kind", "error"),
    [
        (1, "404", NotFoundError),
        (1, "wrong-body", IntegrityError),
        (2, "404", NotFoundError),
        (2, "wrong-body", IntegrityError),
    ],
)
def test_a_flow_that_cannot_be_read_is_the_right_error_and_nothing_is_kept(
    home, storage, oci_registry, proxy_to, request_number, kind, error
):
    flow = make(storage())
    register(flow)
    proxy = proxy_to(oci_registry.url, dialect="plain")
    form = json.loads(json.dumps(flow.storage.serialize()).replace(oci_registry.host, proxy.host))
    proxy.fault(request_number, kind)
    with pytest.raises(error):
        restored(flow, **form).get_flow("Docker Flow")
    assert list((home.path / "cache").glob("blobs/??/*")) == []
    assert result(restored(flow, **form).get_flow("Docker Flow")) == 42


@pytest.mark.parametrize(("number", "kind"), [(1, "503"), (2, "503"), (2, "truncated")])
def test_a_fault_that_passes_is_ridden_out(home, storage, oci_registry, proxy_to, number, kind):
    flow = make(storage())
    register(flow)
    proxy = proxy_to(oci_registry.url, dialect="plain")
    form = json.loads(json.dumps(flow.storage.serialize()).replace(oci_registry.host, proxy.host))
    proxy.fault(number, kind)
    assert result(restored(flow, **form).get_flow("Docker Flow")) == 42
    assert len(proxy.requests) == 3


def test_a_build_that_breaks_at_any_request_leaves_nothing_that_resolves(
    home, storage, oci_registry, proxy_to
):
    proxy = proxy_to(oci_registry.url, dialect="plain")
    url = storage().registry_url.replace(oci_registry.host, proxy.host)
    there = Registry(oci_registry.host)
    for number in range(1, 40):
        proxy.reset()
        proxy.fault(number, "403")
        name = f"try-{number}"
        broken = Docker(url, image_name=name, image_tag="t", base_image=storage().base_image,
                        builder="registry")  # fmt: skip
        flow = make(broken, value=number)
        tag = ImageName.parse(f"{storage().registry_url}/{name}:t")
        try:
            register(flow)
        except AccessError:
            found = there.find_manifest(tag)
            if found is not None:  # only the name by inputs was still missing
                assert all(there.has_blob(tag, each["digest"]) for each in found.layers)
        else:
            break
    assert 5 < number < 39
    proxy.reset()
    assert result(restored(flow).get_flow("Docker Flow")) == number + 2


def test_scripts_and_several_flows_are_read_by_name(home, storage, tmp_path):
    script = tmp_path / "flow.py"
    script.write_text(SCRIPT)
    options = {"files": {str(script): "/flows/flow.py"}, "path": "/flows/flow.py"}
    flow = make(storage(stored_as_script=True, **options), name="Scripted")
    register(flow)
    assert flow.storage.references["Scripted"].media_type == SCRIPT_TYPE
    assert result(restored(flow).get_flow("Scripted")) == 42


def test_two_flows_of_one_slug_and_eight_more_share_an_image(home, storage):
    shared = storage()
    names = ["my flow", "my_flow", *(f"flow {n}" for n in range(8))]
    flows = [make(shared, name, value) for value, name in enumerate(names, 1)]
    for flow in flows:
        shared.add_flow(flow)
    digests = {ImageName.parse(register(flow).location).digest for flow in flows}
    assert len(digests) == 1
    again = restored(flows[0])
    assert [result(again.get_flow(name)) for name in names] == list(range(3, 13))
    with pytest.raises(ValueError, match="Name conflict"):
        shared.add_flow(make(None, "my flow"))


def test_an_image_alone_tells_what_it_holds(home, storage, oci_registry):
    flow = make(storage())
    done = register(flow)
    found = restored(flow, references={})
    assert found.reference("Docker Flow").digest == done.digest
    assert result(found.get_flow("Docker Flow")) == 42


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ({}, {}, "does not say that casflow is in it"),
        ({PYTHON_LABEL: "2.7"}, {}, "has Python 2.7, the flow is pickled by"),
        (
            {PYTHON_LABEL: python_version()},
            {"build_kwargs": {"platform": "linux/s390x"}},
            "not for",
        ),
    ],
)
def test_a_base_image_that_cannot_run_the_flow_is_refused(
    home, storage, oci_registry, tmp_path, labels, options, message
):
    root = busybox_root(tmp_path).read_bytes()
    base = put_base(oci_registry.host, f"base/{uuid.uuid4().hex}", root, index=False, labels=labels)
    with pytest.raises(ConfigError, match=message):
        register(make(storage(base_image=base, **options)))
    register(make(storage(base_image=base, ignore_healthchecks=True)))


@pytest.mark.parametrize(
    "options",
    [
        {"python_dependencies": ["numpy"]},
        {"extra_dockerfile_commands": ["RUN true"]},
        {"casflow_version": "1"},
    ],
)
def test_what_needs_an_engine_is_refused(home, storage, options):
    with pytest.raises(ConfigError, match="needs a Docker engine"):
        register(make(storage(**options)))


def test_a_base_image_that_is_not_there_and_a_registry_that_is_down(home, storage, oci_registry):
    with pytest.raises(NotFoundError):
        register(make(storage(base_image=f"{oci_registry.host}/no/such:1")))
    with pytest.raises(UnavailableError):
        register(make(storage(registry_url=f"127.0.0.1:{free_port()}")))
    assert home.json("ls") == []
