"""What a podman that a user runs must do like the others: build, push, be read from, start runs."""

from __future__ import annotations

import uuid

import pytest

from casflow import config, register
from casflow.agents.containers import ContainerOptions
from casflow.registry import Registry as Runs
from casflow.storage import Docker, load
from casflow.storage.docker.engine import Engine
from casflow.storage.docker.names import ImageName
from tests.docker.flows import make, result
from tests.services.images import busybox_root
from tests.services.presence import require

pytestmark = [
    pytest.mark.service,
    pytest.mark.slow,
    pytest.mark.xdist_group("docker"),
    pytest.mark.timeout(600),
]

PYTHON = "#!/bin/sh\nexit 0\n"


@pytest.fixture(scope="module")
def engine(rootless_podman_engine, oci_registry, tmp_path_factory):
    """The engine, with an image whose Python does nothing but succeed."""
    require("busybox image", "busybox", install="busybox-static")
    root = busybox_root(tmp_path_factory.mktemp("root"), {"bin/python": PYTHON})
    rootless_podman_engine.small = f"{oci_registry.host}/base/small:rootless"
    rootless_podman_engine.load_root(root, rootless_podman_engine.small)
    rootless_podman_engine.docker("push", rootless_podman_engine.small)
    return rootless_podman_engine


def read(url):
    """Return the result of the latest version, read from an engine or past it."""
    with Runs(config.load().registry) as runs:
        storage = load(runs.get_version("default", "Docker Flow").storage)
    storage.engine.base_url = url
    return result(storage.get_flow("Docker Flow"))


def test_a_user_builds_pushes_and_starts_what_was_pushed(home, engine, oci_registry):
    url = f"{oci_registry.host}/{uuid.uuid4().hex}"
    done = register(make(Docker(url, base_image=engine.small, base_url=engine.url)))
    assert read("unix:///nowhere.sock") == 42
    name = ImageName.parse(done.location).pinned
    assert engine.docker("image", "inspect", name, check=False).returncode != 0
    of_user = Engine(engine.url)
    of_user.check_options(ContainerOptions(network="none", user="1000:1000").host_config, "none")
    of_user.pull(name)
    assert of_user.run(name, ["python"], network="none")[0] == 0
    assert engine.docker("ps", "-aq").stdout == ""


def test_an_image_that_stays_with_a_user_is_read_from_there(home, engine):
    options = {"base_image": engine.small, "local_image": True, "base_url": engine.url}
    register(make(Docker(image_name=f"local/{uuid.uuid4().hex}", **options)))
    assert read(engine.url) == 42
    assert engine.docker("ps", "-aq").stdout == ""
