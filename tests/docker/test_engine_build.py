"""Images that an engine builds: registered, found again, read back, the same everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid

import pytest

from casflow import register
from casflow.reference import SCRIPT as SCRIPT_TYPE
from casflow.storage import Docker, load
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.registry import Registry
from tests.docker.flows import SCRIPT, make, result
from tests.services.engine import DockerEngine

pytestmark = [
    pytest.mark.service,
    pytest.mark.slow,
    pytest.mark.xdist_group("docker"),
    pytest.mark.timeout(900),  # the first of them makes the images of all
]

SENTINEL = "sentinel-5d1f0c"


@pytest.fixture
def storage(docker_engine, oci_registry, pushed_base):
    """Make a storage in a folder of this test's own."""
    folder = uuid.uuid4().hex

    def make_storage(**options):
        given = {
            "registry_url": f"{oci_registry.host}/{folder}",
            "base_url": docker_engine.url,
            "base_image": pushed_base,
        }
        return Docker(**{**given, **options})

    return make_storage


@pytest.fixture
def local(docker_engine, ready_image):
    """Make a storage whose images stay in the engine."""

    def make_storage(**options):
        given = {"base_url": docker_engine.url, "base_image": ready_image, "local_image": True}
        return Docker(**{"image_name": f"local/{uuid.uuid4().hex}", **given, **options})

    return make_storage


def restored(flow, engine="unix:///nowhere.sock", **changes):
    """Return the storage as another machine gets it."""
    found = load({**flow.storage.serialize(), **changes})
    found.engine.base_url = engine
    return found


def inspect(engine, name):
    return json.loads(engine.docker("image", "inspect", str(name)).stdout)[0]


def test_a_flow_is_built_pushed_and_read_back_by_manifest_and_layer(
    home, storage, oci_registry, docker_engine, proxy_to
):
    flow = make(storage())
    done = register(flow)
    image = ImageName.parse(done.location)
    assert (image.host, image.tag[:2]) == (oci_registry.host, "20")
    layers = Registry(image.api_host).get_manifest(image).layers
    proxy = proxy_to(oci_registry.url, dialect="plain")
    form = json.loads(json.dumps(flow.storage.serialize()).replace(oci_registry.host, proxy.host))
    cold = restored(flow, **form).load_flow("Docker Flow")
    assert result(cold.flow) == 42
    assert len(proxy.requests) == 2
    assert proxy.down < sum(each["size"] for each in layers) * 0.02
    proxy.reset()
    warm = restored(flow, **form)
    assert warm.load_flow("Docker Flow").hit
    assert proxy.requests == []
    assert warm.engine._client is None  # nobody asked it


def test_registered_again_by_another_process_nothing_is_built_or_sent(
    home, oci_registry, docker_engine, pushed_base, proxy_to
):
    proxy = proxy_to(oci_registry.url, dialect="plain")
    text = SCRIPT.replace(
        'Flow("Scripted")',
        f"Flow('Again', storage=Docker({f'{proxy.host}/again'!r}, base_image={pushed_base!r}))",
    )
    script = home.script(text=f"from casflow.storage import Docker\n{text}")
    environment = {"DOCKER_HOST": docker_engine.url}
    command = ("register", "-p", script)
    (first,) = home.json(*command, environment=environment)
    images = sorted(docker_engine.docker("images", "-aq").stdout.split())
    proxy.reset()
    (again,) = home.json(*command, environment=environment)
    assert first["status"] == "registered"
    assert again["status"] == "unchanged"
    assert {key: again[key] for key in ("digest", "location")} == {
        key: first[key] for key in ("digest", "location")
    }
    assert sorted(docker_engine.docker("images", "-aq").stdout.split()) == images
    assert {each.method for each in proxy.requests} == {"GET"}


def test_a_second_flow_of_one_environment_costs_its_layer_only(home, storage, docker_engine):
    register(make(storage()))
    environments = docker_engine.docker("images", "-q", "casflow/environment").stdout
    flow = make(storage(), name="Second")
    register(flow)
    assert docker_engine.docker("images", "-q", "casflow/environment").stdout == environments
    assert result(restored(flow).get_flow("Second")) == 42


def test_without_a_registry_the_image_stays_in_the_engine(home, local, docker_engine):
    flow = make(local())
    done = register(flow)
    assert inspect(docker_engine, done.location)["Config"]["Labels"]["io.casflow.inputs"]
    there = restored(flow, engine=docker_engine.url)
    assert result(there.get_flow("Docker Flow")) == 42
    again = register(make(local(image_name=ImageName.parse(done.location).repository)))
    assert again.location.split(":")[0] == done.location.split(":")[0]
    assert again.uploaded_bytes == 0
    assert docker_engine.docker("ps", "-aq").stdout == ""


def test_values_files_and_ten_flows_arrive_as_they_were_meant(home, local, docker_engine, tmp_path):
    values = {"A": "quote\" 'q' $HOME \\ end", "B": "one\ntwo\n", "C": ""}
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.txt").write_text(folder)
    files = {str(tmp_path / each / "same.txt"): f"/data/{each} x.txt" for each in "ab"}
    shared = local(
        env_vars=values, files=files, extra_dockerfile_commands=["RUN echo extra > /data/e"]
    )
    names = ["my flow", "my_flow", *(f"flow {n}" for n in range(8))]
    for value, name in enumerate(names, 1):
        shared.add_flow(make(shared, name, value))
    shared.build()
    image = shared.name
    assert set(inspect(docker_engine, image)["Config"]["Env"]) >= {
        f"{name}={value}" for name, value in values.items()
    }
    shown = docker_engine.docker(
        "run", "--rm", "--network=none", image, "cat", "/data/a x.txt", "/data/b x.txt", "/data/e"
    )
    assert shown.stdout == "abextra\n"
    there = load(shared.serialize())
    there.engine.base_url = docker_engine.url
    assert [result(there.get_flow(name)) for name in names] == list(range(3, 13))


def test_a_script_is_stored_as_its_bytes_and_found_at_its_path(
    home, local, docker_engine, tmp_path
):
    script = tmp_path / "flow.py"
    script.write_text(SCRIPT)
    path = "/flows/flow.py"
    for options in ({"files": {str(script): path}}, {"local_script_path": script}):
        flow = make(local(stored_as_script=True, path=path, **options), name="Scripted")
        done = register(flow)
        assert flow.storage.references["Scripted"].media_type == SCRIPT_TYPE
        assert result(restored(flow, engine=docker_engine.url).get_flow("Scripted")) == 42
        run = ("run", "--rm", "--network=none", done.location)
        assert docker_engine.docker(*run, "cat", path).stdout == SCRIPT


def test_a_dockerfile_of_the_users_own_sees_the_current_folder(
    home, local, docker_engine, ready_image, tmp_path, monkeypatch
):
    (tmp_path / "here.txt").write_text("seen")
    (tmp_path / "secret.txt").write_text(SENTINEL)
    (tmp_path / ".ignored").write_text("secret.txt\nhome\n")
    dockerfile = tmp_path / "Start"
    dockerfile.write_text(f"FROM {ready_image}\nCOPY . /seen/\n")
    monkeypatch.chdir(tmp_path)
    options = {"base_image": None, "dockerfile": dockerfile, "dockerignore": ".ignored"}
    done = register(make(local(**options)))
    shown = docker_engine.docker("run", "--rm", "--network=none", done.location, "ls", "/seen")
    assert "here.txt" in shown.stdout.split()
    assert "secret.txt" not in shown.stdout.split()


def test_no_secret_is_in_an_image_or_what_is_said_of_it(
    home, storage, docker_engine, monkeypatch, caplog, capfd, tmp_path
):
    monkeypatch.setenv("MY_TOKEN", SENTINEL)
    (home.path).mkdir(exist_ok=True)
    secrets_file = home.path / "secrets.toml"
    secrets_file.write_text(f'OTHER = "{SENTINEL}"\n')
    secrets_file.chmod(0o600)
    flow = make(storage(secrets=["MY_TOKEN", "OTHER"]))
    with caplog.at_level("DEBUG"):
        done = register(flow)
    name = str(ImageName.parse(done.location).tagged())
    saved = tmp_path / "image.tar"
    docker_engine.docker("pull", name)
    docker_engine.docker("save", "-o", str(saved), name)
    said = "".join(
        docker_engine.docker(*command).stdout
        for command in (("inspect", name), ("history", "--no-trunc", name))
    )
    found = subprocess.run(["grep", "-c", SENTINEL, str(saved)], capture_output=True, check=False)
    assert found.returncode == 1
    said += caplog.text + "".join(capfd.readouterr()) + str(flow.storage.serialize())
    assert SENTINEL not in said
    assert b"MY_TOKEN" not in saved.read_bytes()


def test_two_engines_and_no_engine_give_one_flow_layer(
    home, storage, local, docker_engine, busybox_image, tmp_path
):
    options = {"ignore_healthchecks": True, "local_image": True, "base_image": busybox_image}
    no_python = {**options, "dockerfile": None}
    layers = set()
    with DockerEngine("vfs") as other:
        archive = tmp_path / "b.tar"
        docker_engine.docker("save", "-o", str(archive), busybox_image)
        other.docker("load", "-i", str(archive))
        for engine in (docker_engine, other):
            # An image without pip: the environment is there already, under the name it would get.
            here = Docker(base_url=engine.url, image_name="same", image_tag="t", **no_python)
            here.add_flow(make(here))
            digest = here._open_builder().environment.removeprefix("blake3:")[:32]
            engine.docker("tag", busybox_image, f"casflow/environment:{digest}")
            here.build()
            layers.add(inspect(engine, here.name)["RootFS"]["Layers"][-1])
    assert len(layers) == 1
    register(flow := make(storage(builder="registry", ignore_healthchecks=True)))
    image = ImageName.parse(flow.storage.flows["Docker Flow"])
    docker_engine.docker("pull", image.pinned)
    assert inspect(docker_engine, image.pinned)["RootFS"]["Layers"][-1] in layers


def test_what_is_built_shows_on_a_terminal_only(home, local, capfd):
    register(make(local()))
    assert "Step" not in "".join(capfd.readouterr())
    program = f"import pty, sys; sys.exit(pty.spawn([sys.executable, '-c', {SHOWN!r}]) >> 8)"
    said = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        env=os.environ,
        stdin=subprocess.DEVNULL,
    )
    assert b"Step 1/2" in said.stdout


SHOWN = """
from casflow.storage.docker.stream import read_stream, show_on_terminal
read_stream([{"stream": "Step 1/2"}], show_on_terminal)
"""
