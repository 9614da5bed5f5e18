"""The Docker agent by real containers: started, warm, limited, ended, and after its engine fell."""

from __future__ import annotations

import json
import shutil
import signal
import time
import uuid

import pytest

from casflow import Flow, register, task
from casflow.digests import hex_of
from casflow.storage import Docker
from casflow.storage.docker.names import ImageName
from tests.docker import revival
from tests.docker.flows import make
from tests.store.conftest import write

pytestmark = [
    pytest.mark.service,
    pytest.mark.slow,
    pytest.mark.xdist_group("docker"),
    pytest.mark.timeout(900),  # the first of them makes the images of all
]

TOKEN = "sentinel-agent-91ab"


@pytest.fixture(scope="session")
def casflow_base(docker_engine, oci_registry, pushed_base, tmp_path_factory):
    """Name of an image in the registry that casflow is installed in."""
    made = Docker(
        f"{oci_registry.host}/base", image_name="casflow", image_tag="1", base_image=pushed_base,
        base_url=docker_engine.url,
    )  # fmt: skip
    made.add_flow(make(name="first"))
    made.build()
    return made.name


@pytest.fixture
def storage(docker_engine, oci_registry, pushed_base):
    folder = uuid.uuid4().hex

    def make_storage(**options):
        url = f"{oci_registry.host}/{folder}"
        given = {"base_url": docker_engine.url, "base_image": pushed_base}
        return Docker(**{"registry_url": url, **given, **options})

    return make_storage


def ask(home, name="Docker Flow"):
    return home.json("runs", "create", name)["run"]


def run_once(home, engine, *options):
    """Let an agent run what waits; return what it said."""
    command = ("agent", "start", "docker", "--once", "--network", "none", "--engine", engine.url)
    return home.casflow(*command, *options)[1]


def show(home, run):
    return home.json("runs", "show", run)


def wait_for(probe, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return found


def containers(engine):
    return engine.docker("ps", "-q", "--filter", "label=io.casflow.run").stdout.split()


def sleeping(storage, seconds, name="Sleeper"):
    @task
    def rest():
        import time

        print("resting", flush=True)
        time.sleep(seconds)

    with Flow(name, storage=storage) as flow:
        rest()
    return flow


def test_the_seed_pages_example_runs_in_its_image_and_then_warm(home, storage, docker_engine):
    flow = make(storage(image_name="my_flow"), name="docker-flow")
    register(flow)
    runs = [ask(home, "docker-flow")]
    said = run_once(home, docker_engine)
    runs.append(ask(home, "docker-flow"))
    run_once(home, docker_engine)
    first, second = (show(home, run) for run in runs)
    assert (first["state"], second["state"]) == ("Success", "Success"), said
    assert (first["outcome"]["cache"], second["outcome"]["cache"]) == ("miss", "hit")
    assert "run 1: INFO" in said  # what the container wrote
    assert "run 1: INFO" in home.casflow("runs", "logs", runs[0])[0]
    assert docker_engine.docker("ps", "-aq").stdout == ""


def test_put_together_without_an_engine_it_is_pulled_once_and_runs(
    home, storage, casflow_base, docker_engine
):
    nowhere = {"base_url": "unix:///nowhere.sock", "base_image": casflow_base}
    done = register(make(storage(builder="registry", **nowhere)))
    image = ImageName.parse(done.location).pinned
    assert docker_engine.docker("image", "inspect", image, check=False).returncode != 0
    run = ask(home)
    said = run_once(home, docker_engine)
    assert show(home, run)["state"] == "Success", said
    assert "once pulled" in said
    run = ask(home)
    assert "once pulled" not in run_once(home, docker_engine)
    assert show(home, run)["state"] == "Success"


def test_a_local_agent_runs_it_from_the_registry_alone(home, storage, docker_engine):
    register(make(storage()))
    run = ask(home)
    environment = {"DOCKER_HOST": "unix:///nowhere.sock"}
    home.casflow("agent", "start", "--once", environment=environment)
    assert show(home, run)["state"] == "Success"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--allow-registry", "reg.example"), "not allowed"),
        (("--allow-registry", "reg.example", "--image", "other:1"), "not allowed"),
    ],
)
def test_a_registry_that_is_not_allowed_is_refused(home, storage, docker_engine, options, message):
    register(make(storage()))
    run = ask(home)
    run_once(home, docker_engine, *options)
    assert show(home, run)["state"] == "Failed"
    assert message in show(home, run)["message"]
    assert docker_engine.docker("ps", "-aq").stdout == ""


def test_an_image_that_is_nowhere_fails_the_run_and_says_so(home, storage, docker_engine):
    done = register(make(storage(), name="Gone"))
    image = ImageName.parse(done.location)
    for name in docker_engine.docker("images", "-q", image.untagged).stdout.split():
        docker_engine.docker("rmi", "-f", name)
    gone = image.at(f"sha256:{'0' * 64}")
    with Database(home) as database:
        database.execute("UPDATE casflow_versions SET location = ?", (str(gone),))
    run = ask(home, "Gone")
    run_once(home, docker_engine)
    assert show(home, run)["state"] == "Failed"
    assert "does not have it" in show(home, run)["message"]


def test_a_flow_without_an_image_runs_in_the_agents(home, casflow_base, docker_engine):
    script = home.script()
    home.casflow("register", "-p", script)
    first = ask(home, "Plain")
    run_once(home, docker_engine)
    second = ask(home, "Plain")
    flows = str(home.path / "flows")
    run_once(home, docker_engine, "--image", casflow_base, "--volume", f"{flows}:{flows}")
    assert show(home, first)["state"] == "Failed"
    assert "--image" in show(home, first)["message"]
    assert show(home, second)["state"] == "Success", show(home, second)


PROJECT = """\
from pathlib import Path
from casflow import Flow, task
import beside

@task
def check():
    import late
    assert (beside.VALUE, late.VALUE) == (1, 2)
    assert str(Path(__file__).parent).startswith("/var/cache/casflow/trees/")

with Flow("Project") as flow:
    check()
"""


def test_a_project_runs_from_the_checkout_that_containers_share(
    home, casflow_base, docker_engine, tmp_path
):
    files = {"flow.py": PROJECT, "beside.py": "VALUE = 1", "late.py": "VALUE = 2"}
    project, flows = write(tmp_path / "project", files), str(home.path / "flows")
    digest = home.json("register", "-p", project / "flow.py", "--tree", project)[0]["digest"]
    shutil.rmtree(project)
    folder = home.path / "cache" / "trees" / hex_of(digest)
    inodes = set()
    for _ in range(2):
        run = ask(home, "Project")
        run_once(home, docker_engine, "--image", casflow_base, "--volume", f"{flows}:{flows}")
        assert show(home, run)["state"] == "Success", show(home, run)
        inodes.add(folder.stat().st_ino)
    assert len(inodes) == 1


def test_secrets_are_in_the_environment_and_not_in_what_is_said(home, storage, docker_engine):
    @task
    def look():
        import os

        print(os.environ["MY_TOKEN"], flush=True)
        if len(os.environ["MY_TOKEN"]) != 19:  # an assert would bring pytest along
            raise ValueError

    with Flow("Secretive", storage=storage(secrets=["MY_TOKEN"])) as flow:
        look()
    done = register(flow)
    run = ask(home, "Secretive")
    command = ("agent", "start", "docker", "--once", "--network", "none")
    environment = {"MY_TOKEN": TOKEN, "DOCKER_HOST": docker_engine.url}
    out, err = home.casflow(*command, environment=environment)
    assert show(home, run)["state"] == "Success", err
    image = docker_engine.docker("image", "inspect", ImageName.parse(done.location).pinned)
    assert TOKEN not in out + err + image.stdout + json.dumps(show(home, run))
    assert "***" in err
    kept, _ = home.casflow("runs", "logs", run)
    assert "***" in kept
    assert TOKEN not in kept


def test_limits_labels_and_the_cache_are_the_containers(home, storage, docker_engine):
    register(sleeping(storage(), 60))
    run = ask(home, "Sleeper")
    options = ("--memory", "256m", "--cpus", "0.5", "--network", "none", "--env", "A=b=c")
    with agent(home, docker_engine, *options) as process:
        (container,) = wait_for(lambda: containers(docker_engine))
        found = json.loads(docker_engine.docker("inspect", container).stdout)[0]
        home.casflow("runs", "cancel", run)
        wait_for(lambda: not containers(docker_engine))
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    assert found["HostConfig"]["Memory"] == 256 << 20
    assert found["HostConfig"]["NanoCpus"] == 500_000_000
    assert found["Config"]["Labels"]["io.casflow.run"] == str(run)
    assert found["Config"]["Labels"]["io.casflow.flow"] == "Sleeper"
    assert "A=b=c" in found["Config"]["Env"]
    assert f"{home.path / 'cache'}:/var/cache/casflow" in found["HostConfig"]["Binds"]
    assert show(home, run)["state"] == "Cancelled", said
    assert docker_engine.docker("ps", "-aq").stdout == ""


def test_a_container_does_not_outlive_its_agent_and_the_next_one_tidies_up(
    home, storage, docker_engine
):
    register(sleeping(storage(), 60))
    ask(home, "Sleeper")
    with agent(home, docker_engine, "--network", "none") as process:
        wait_for(lambda: containers(docker_engine))
        process.kill()
    wait_for(lambda: not containers(docker_engine))
    left = docker_engine.docker("ps", "-aq").stdout.split()
    assert len(left) == 1
    with agent(home, docker_engine, "--network", "none") as process:
        wait_for(lambda: left[0] not in docker_engine.docker("ps", "-aq").stdout)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_run_whose_engine_restarts_runs_again(home, storage, docker_engine, how):
    register(sleeping(storage(), 6))
    run = ask(home, "Sleeper")
    with agent(home, docker_engine, "--network", "none", "--once") as process:
        wait_for(lambda: containers(docker_engine))
        if how == "kill":
            revival.kill(docker_engine)
            revival.revive(docker_engine)
        else:
            docker_engine.restart()
        said = process.communicate(timeout=120)[1]
    shown = show(home, run)
    assert shown["state"] == "Success", said
    assert shown["attempt"] >= 2
    wait_for(lambda: not containers(docker_engine))


class agent:  # noqa: N801 - it is called like a function
    """A Docker agent that works in the background."""

    def __init__(self, home, engine, *options):
        command = ("agent", "start", "docker", "--engine", engine.url, *options)
        self.process = home.start(*command)

    def __enter__(self):
        return self.process

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


class Database:
    """The registry's file, past the registry."""

    def __init__(self, home):
        import sqlite3

        self.connection = sqlite3.connect(home.path / "registry.db")

    def __enter__(self):
        return self.connection

    def __exit__(self, *_):
        self.connection.commit()
        self.connection.close()
