"""The files for CI and for plain machines: carried out, or read by what reads them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docker.conftest import indexes, ready_image
from tests.docs.pages import ROOT
from tests.home import home
from tests.integrations.walkthrough import EXAMPLES
from tests.services.presence import require

__all__ = ["home", "ready_image"]

MACHINES = EXAMPLES / "machines"
BIN = Path(sys.executable).parent


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text())
    return loaded


def steps_of(name: str) -> list[str]:
    """Return the commands of a job, without the one that installs casflow."""
    if name == "github.yml":
        steps = read("ci/github.yml")["jobs"]["push"]["steps"]
        found = [each["run"] for each in steps if "run" in each]
    else:
        job = read("ci/gitlab-ci.yml")["push"]
        found = [*job["before_script"], *job["script"]]
    install, *rest = found
    assert install == 'pip install "casflow[s3] @ $CASFLOW"'
    return ["\n".join(rest)] if name == "gitlab-ci.yml" else rest


class Job:
    """Runs a job's commands as its service does: each step a shell, variables by a file."""

    def __init__(self, steps: list[str], folder: Path, env: dict[str, str]) -> None:
        self._steps = steps
        self._folder = folder
        self._env = {**env, "PATH": f"{BIN}:/usr/bin:/bin", "GITHUB_ENV": f"{folder}.env"}

    def run(self) -> str:
        """Run it; return what it printed, fail with that."""
        variables = Path(self._env["GITHUB_ENV"])
        variables.write_text("")
        printed = ""
        for step in self._steps:
            known = dict(line.split("=", 1) for line in variables.read_text().splitlines())
            done = subprocess.run(
                ["bash", "-eo", "pipefail", "-c", step],
                cwd=self._folder, env=self._env | known, text=True, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            printed += done.stdout
            assert done.returncode == 0, printed
        return printed


@pytest.mark.slow
@pytest.mark.service
@pytest.mark.parametrize("name", ["github.yml", "gitlab-ci.yml"])
def test_a_merge_pushes_and_moves_the_tag(name, home, s3_server, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "steps.py").write_text("ROWS = 3\n")
    environ = {**s3_server.environ, "CASFLOW_STORE": f"s3://{s3_server.bucket()}/flows"}
    job = Job(steps_of(name), project, {**home.environment, **environ})
    shown = f"--store={environ['CASFLOW_STORE']}"
    versions = []
    for rows in (3, 3, 4):
        (project / "steps.py").write_text(f"ROWS = {rows}\n")
        job.run()
        out = subprocess.run(
            [sys.executable, "-m", "casflow", "log", "etl", shown, "--json"],
            env={**home.environment, **environ}, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        versions = json.loads(out)
    assert [each["tags"] for each in versions] == [["prod"], []]


@pytest.mark.service
def test_systemd_reads_the_unit_and_the_timer(tmp_path: Path) -> None:
    require("systemd", "systemd-analyze", install="systemd")
    for name in ("casflow-etl.service", "casflow-etl.timer"):
        text = (MACHINES / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/casflow/bin", str(BIN)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.iterdir())],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_unit_runs_is_a_command_of_ours(home, tmp_path: Path) -> None:
    text = (MACHINES / "casflow-etl.service").read_text()
    (command,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    (tmp_path / "etl").mkdir()
    (tmp_path / "etl" / "__main__.py").write_text("print('ran')")
    home.casflow("push", str(tmp_path), "etl")
    home.casflow("tag", "etl", "prod")
    words = command.replace("/opt/casflow/bin", str(BIN)).split()
    done = subprocess.run(
        words, env=home.environment, cwd="/", capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("ran\n", 0), done.stderr


def test_the_kubernetes_client_takes_the_job() -> None:
    kubernetes = pytest.importorskip("kubernetes.client")
    job = read("machines/job.yaml")
    with kubernetes.ApiClient() as client:
        made = client.deserialize(json.dumps(job), "V1Job", "application/json")
        assert client.sanitize_for_serialization(made) == job  # no key that it does not know
    pod = made.spec.template.spec
    (checkout,), (main,) = pod.init_containers, pod.containers
    assert checkout.args[:2] == ["checkout", "etl@prod"]
    assert main.working_dir == checkout.args[2]
    assert checkout.volume_mounts == main.volume_mounts


def test_the_parts_of_the_compose_file_fit_together() -> None:
    compose = read("machines/compose.yaml")
    services = compose["services"]
    agent, database, store = services["agent"], services["db"], services["s3"]
    assert set(agent["depends_on"]) == {"db", "s3"} == set(services) - {"agent"}
    place = MACHINES / agent["build"]["context"]
    assert (place / agent["build"]["dockerfile"]).samefile(MACHINES / "Dockerfile")
    who, password = (database["environment"][f"POSTGRES_{each}"] for each in ("USER", "PASSWORD"))
    registry = agent["environment"]["CASFLOW_REGISTRY"]
    assert registry == f"postgresql+psycopg://{who}:{password}@db:5432/{who}"
    assert agent["environment"]["AWS_SECRET_ACCESS_KEY"] in store["environment"].values()
    for each in services.values():
        named = {volume.partition(":")[0] for volume in each["volumes"]}
        assert named <= set(compose["volumes"])


FLOW = """
from casflow import Flow, task

@task
def load():
    print("ran in the container")

with Flow("Nightly") as flow:
    load()
"""


@pytest.mark.slow
@pytest.mark.service
@pytest.mark.timeout(900)
def test_the_agents_image_takes_a_run_from_database_and_store(
    docker_engine, ready_image, postgres_server, s3_server, home, tmp_path: Path
) -> None:
    """What the compose file brings up, by hand: neither its plug-in nor its images can be had."""
    docker_engine.docker(
        "build", "--network=host", "-f", str(MACHINES / "Dockerfile"), "-t", "casflow-agent",
        "--build-arg", f"BASE={ready_image}", *indexes(), str(build_context(tmp_path)),
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
    )  # fmt: skip
    database = postgres_server.database()
    bucket = s3_server.bucket()
    given = read("machines/compose.yaml")["services"]["agent"]["environment"]
    environ = {
        **given,
        **s3_server.environ,
        "CASFLOW_REGISTRY": postgres_server.url_of(database),
        "CASFLOW_STORE": f"s3://{bucket}",
    }
    assert set(environ) == set(given)
    flow = tmp_path / "flow.py"
    flow.write_text(FLOW)
    run(home, environ, "register", str(flow), "--storage", f"s3://{bucket}")
    variables = [part for pair in environ.items() for part in ("-e", "=".join(pair))]
    started = docker_engine.docker("run", "-d", "--network=host", *variables, "casflow-agent")
    name = started.stdout.strip()
    try:
        run(home, environ, "runs", "create", "Nightly", "--wait")  # fails if the run does
    finally:
        printed = docker_engine.docker("logs", name)
        docker_engine.docker("stop", "-t", "20", name)
    assert "Nightly" in printed.stdout + printed.stderr
    user = docker_engine.docker("inspect", "-f", "{{.Config.User}}", "casflow-agent").stdout
    assert user.strip() == "casflow"


def run(home, environ: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "casflow", *arguments],
        env={**home.environment, **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def build_context(folder: Path) -> Path:
    """Return a folder with what the Dockerfile copies, as a clone has it."""
    context = folder / "clone"
    context.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, context)
    shutil.copytree(ROOT / "casflow", context / "casflow", ignore=lambda *_: ["__pycache__"])
    return context
