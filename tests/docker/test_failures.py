"""What goes wrong while an engine builds, pushes or is read from: the right error, no half."""

from __future__ import annotations

import subprocess
import threading
import uuid

import pytest

from casflow import register
from casflow.errors import (
    AccessError,
    ConfigError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
)
from casflow.storage import Docker, load
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.registry import Registry
from tests.docker import revival
from tests.docker.flows import make
from tests.services.engine import DockerEngine
from tests.services.images import busybox_root
from tests.services.process import free_port

pytestmark = [
    pytest.mark.service,
    pytest.mark.slow,
    pytest.mark.xdist_group("docker"),
    pytest.mark.timeout(900),  # the first of them makes the images of all
]


@pytest.fixture
def options(docker_engine, oci_registry, pushed_base):
    """Parameters of a storage whose image has a name of this test's own."""
    return {
        "registry_url": oci_registry.host,
        "base_url": docker_engine.url,
        "base_image": pushed_base,
        "image_name": f"failing/{uuid.uuid4().hex}",
    }


def refused(home, error, **options):
    """Register, be refused, and return what was said; nothing is registered or resolves."""
    storage = Docker(image_tag="t", **options)
    with pytest.raises(error) as caught:
        register(make(storage))
    assert home.json("ls") == []
    home.casflow("verify")
    return storage, str(caught.value)


def tags(host, name):
    """Return the tags that a registry has of a repository, but for its environments."""
    found = Registry(host).tags(ImageName(host, name))
    return [tag for tag in found if not tag.startswith("environment-")]


def names(engine):
    """Return the names of images, without the steps that an engine keeps for its next build."""
    found = engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    return sorted(each for each in found if "<none>" not in each)


def unnamed(engine):
    return engine.docker("images", "-q", "--filter", "dangling=true").stdout.split()


def test_no_engine_is_unavailable_and_said_in_a_line(home, options):
    options["base_url"] = "unix:///nowhere.sock"
    _, said = refused(home, UnavailableError, **options)
    assert said == (
        "cannot reach the Docker engine: unix:///nowhere.sock; is it running, and may you use it?"
    )
    options["base_url"] = f"tcp://127.0.0.1:{free_port()}"
    refused(home, UnavailableError, **options)


def test_no_registry_is_noticed_before_anything_is_built(home, options, docker_engine):
    before = names(docker_engine)
    options["registry_url"] = f"127.0.0.1:{free_port()}"
    refused(home, UnavailableError, **options)
    assert names(docker_engine) == before


@pytest.mark.parametrize("is_local", [True, False])
def test_a_base_image_that_is_not_there_is_not_found(home, options, oci_registry, is_local):
    options |= {"base_image": f"{oci_registry.host}/no/such:1", "local_image": is_local}
    refused(home, NotFoundError, **options)


def test_a_step_that_fails_is_a_value_error_with_its_last_words(
    home, options, docker_engine, oci_registry
):
    before = set(names(docker_engine))
    options["extra_dockerfile_commands"] = ["RUN echo last line; false"]
    _, said = refused(home, ConfigError, **options)
    assert "Your docker image failed to build!" in said
    assert "last line" in said
    assert set(names(docker_engine)) == before
    assert docker_engine.docker("ps", "-aq").stdout == ""
    assert tags(oci_registry.host, options["image_name"]) == []


def test_a_dockerfile_that_cannot_be_read_is_a_value_error(home, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Bad").write_text("FROM scratch\nNONSENSE\n")
    options |= {"base_image": None, "dockerfile": tmp_path / "Bad"}
    refused(home, ConfigError, **options)
    options["dockerfile"] = tmp_path / "none"
    refused(home, NotFoundError, **options)


def test_a_health_check_that_fails_is_a_value_error_and_nothing_is_pushed(
    home, options, docker_engine, oci_registry
):
    options["extra_dockerfile_commands"] = ["RUN python -m pip uninstall -y blake3"]
    dangling = set(unnamed(docker_engine))
    _, said = refused(home, ConfigError, **options)
    assert "No module named 'blake3'" in said
    assert "health check" in said
    assert tags(oci_registry.host, options["image_name"]) == []
    assert not [each for each in names(docker_engine) if options["image_name"] in each]
    assert set(unnamed(docker_engine)) <= dangling
    register(make(Docker(ignore_healthchecks=True, **options)))


def test_a_push_that_is_refused_leaves_nothing_and_the_next_one_only_pushes(
    home, options, docker_engine, oci_registry, proxy_to
):
    proxy = proxy_to(oci_registry.url, dialect="plain")
    options["registry_url"] = proxy.host
    for number in range(2, 60):
        proxy.fault(number, "403")
    refused(home, AccessError, **options)
    assert tags(oci_registry.host, options["image_name"]) == []
    proxy.reset()
    options["extra_dockerfile_commands"] = []
    flow = make(Docker(image_tag="t", **options))
    register(flow)
    assert "t" in tags(oci_registry.host, options["image_name"])


def test_a_full_disk_is_unavailable(home, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    engine = DockerEngine("vfs")
    root = engine.folder / "root"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(root)], check=True)
    try:
        with engine:
            base = engine.load_root(busybox_root(tmp_path), "small:1")
            dockerfile = tmp_path / "Big"
            dockerfile.write_text(f"FROM {base}\nRUN busybox dd if=/dev/zero of=/big bs=1M\n")
            given = {"base_url": engine.url, "base_image": None, "local_image": True}
            _, said = refused(
                home, UnavailableError, **{**options, **given, "dockerfile": dockerfile}
            )
            assert "disk is full" in said
    finally:
        subprocess.run(["umount", "-l", str(root)], check=False)


def test_an_image_with_other_bytes_is_an_integrity_error(home, options, docker_engine, tmp_path):
    given = {**options, "registry_url": None}
    flow = make(Docker(image_tag="t", **given))
    done = register(flow)
    container = docker_engine.docker("create", done.location, "true").stdout.strip()
    path = f"/opt/casflow/flows/{done.digest.removeprefix('blake3:')}"
    (tmp_path / "other").write_bytes(b"other")
    docker_engine.docker("cp", str(tmp_path / "other"), f"{container}:{path}")
    docker_engine.docker("commit", container, done.location)
    docker_engine.docker("rm", container)
    found = load(flow.storage.serialize())
    found.engine.base_url = docker_engine.url
    with pytest.raises(IntegrityError):
        found.get_flow("Docker Flow")
    docker_engine.docker("rmi", "-f", done.location)
    with pytest.raises(NotFoundError, match="never pushed"):
        found.get_flow("Docker Flow")


def test_an_engine_that_dies_while_it_builds_is_unavailable(home, options, docker_engine):
    options["extra_dockerfile_commands"] = ["RUN sleep 9"]
    storage = Docker(image_tag="t", **options)
    died = threading.Event()

    def show(line):
        if "RUN sleep 9" in line and not died.is_set():
            died.set()
            revival.kill(docker_engine)

    storage.engine._show = show
    try:
        with pytest.raises(UnavailableError):
            register(make(storage))
    finally:
        revival.revive(docker_engine)
    assert died.is_set()
    assert home.json("ls") == []
    assert ImageName.parse(storage.name).tag == "t"
