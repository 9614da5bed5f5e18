"""Prefect 3 deployments whose code is a tree, with the real server and worker."""

from __future__ import annotations

import contextlib
import random
import socket
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

import casflow
from tests.integrations.conftest import host_of
from tests.integrations.walkthrough import type_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services import hosts

pytestmark = [pytest.mark.slow, pytest.mark.service, pytest.mark.xdist_group("prefect")]

FLOW = """
from prefect import flow
from helper import VERSION

@flow(log_prints=True)
def main():
    import lazy
    print("ran version", VERSION, lazy.NAME)
"""

DEPLOY = """
import sys
from prefect import flow
from casflow.integrations.prefect import CasflowStorage
storage = CasflowStorage("flows", sys.argv[1], follow=sys.argv[2] == "follow")
flow.from_source(storage, "flow.py:main").deploy(sys.argv[2], work_pool_name="machines")
print(storage.to_pull_step())
"""

CONFIGURE = """
import subprocess, sys
from casflow.integrations.prefect import CasflowResults
from casflow.integrations.prefect_bundle import configure
subprocess.run(["prefect", "work-pool", "create", "--type", "process", "bundles"], check=True)
CasflowResults(store=sys.argv[1]).save("results")
configure("bundles", sys.argv[1], launcher=["python"], results="results")
"""

SUBMIT = """
from pathlib import Path
from prefect import flow
from prefect.flows import bind_flow_to_infrastructure
from prefect.workers.process import ProcessWorker

@flow(log_prints=True)
def main():
    print("read", len(Path("assets/words").read_bytes()), "bytes")

bound = bind_flow_to_infrastructure(main, "bundles", ProcessWorker, include_files=["assets/"])
bound.submit_to_work_pool()
"""

PULL = """
import os, pathlib, sys
from casflow.integrations.prefect import pull
store, tree, work = sys.argv[1:]
os.chdir(work)
for is_down in (False, True):
    if is_down:
        pathlib.Path(store).rename(store + "-away")
    for shared in (False, True):
        pulled = pull(tree, store, shared=shared)
        print(os.path.exists(pulled["directory"] + "/flow.py") and tree.endswith(pulled["digest"]))
"""

RESULTS = """
import asyncio, sys
from casflow.integrations.prefect import CasflowResults
block = CasflowResults(store=sys.argv[1])
async def main():
    await block.write_path("a/b", b"one")
    await block.write_path("a/b", b"two")
    assert await block.read_path("a/b") == b"two"
    try:
        await block.read_path("nothing")
    except ValueError:
        print("done")
asyncio.run(main())
"""


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    folder = tmp_path / "flows"
    folder.mkdir()
    (folder / "flow.py").write_text(FLOW)
    (folder / "helper.py").write_text("VERSION = 1\n")
    (folder / "lazy.py").write_text("NAME = 'lazy'\n")
    return folder


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory):
    with serving("prefect", tmp_path_factory.mktemp("newest")) as host:
        yield host


@pytest.fixture(scope="module")
def old_prefect(tmp_path_factory: pytest.TempPathFactory):
    with serving("prefect-3.4", tmp_path_factory.mktemp("oldest")) as host:
        yield host


@contextlib.contextmanager
def serving(name: str, folder: Path) -> Iterator[hosts.Host]:
    """Run a server with a pool of processes; give the environment that reaches it."""
    host = host_of(name, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host.env.update(
        PREFECT_HOME=str(folder / "prefect"),
        PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
    )
    server = host.start("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    try:
        _wait_for(f"http://127.0.0.1:{port}/api/health")
        host.run("prefect", "work-pool", "create", "--type", "process", "machines")
        yield host
    finally:
        server.terminate()
        server.communicate(timeout=60)


def _wait_for(url: str) -> None:
    for _ in range(3000):
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


def test_a_pinned_deployment_keeps_its_version_and_a_following_one_does_not(
    prefect, store, flows
) -> None:
    first = store.push(flows, "flows")
    assert first.digest in prefect.run("python", "-c", DEPLOY, store.url, "pinned")
    assert first.digest not in prefect.run("python", "-c", DEPLOY, store.url, "follow")
    (flows / "helper.py").write_text("VERSION = 2\n")
    store.push(flows, "flows")
    prefect.run("prefect", "deployment", "run", "main/pinned")
    prefect.run("prefect", "deployment", "run", "main/follow")
    output = prefect.run("prefect", "worker", "start", "--pool", "machines", "--run-once")
    assert "ran version 1 lazy" in output
    assert "ran version 2 lazy" in output


def test_as_the_page_says(prefect, store, tmp_path: Path) -> None:
    type_page("prefect", prefect, tmp_path, CASFLOW_STORE=store.url)


def test_an_older_release_runs_a_deployment(old_prefect, store, flows) -> None:
    version = store.push(flows, "flows")
    assert version.digest in old_prefect.run("python", "-c", DEPLOY, store.url, "pinned")
    old_prefect.run("prefect", "deployment", "run", "main/pinned")
    output = old_prefect.run("prefect", "worker", "start", "--pool", "machines", "--run-once")
    assert "ran version 1 lazy" in output


def test_bundles_of_submitted_flows_travel_by_the_store(
    prefect, store, flows, s3_server, proxy_to
) -> None:
    """Two submissions with the same files: the second archive costs no byte, results come back."""
    (flows / "assets").mkdir()
    (flows / "assets" / "words").write_bytes(random.Random(7).randbytes(100_000))
    (flows / "submit.py").write_text(SUBMIT)
    proxy = proxy_to(s3_server.url)
    url = f"s3://{s3_server.bucket()}/flows"
    environ = s3_server.through(proxy.url).environ
    prefect.run("python", "-c", CONFIGURE, url, **environ)
    sent = []
    for _ in range(2):
        proxy.reset()
        prefect.run("python", flows / "submit.py", **environ)
        sent.append(sum(each.up for each in proxy.requests if each.method in ("PUT", "POST")))
    assert sent[0] - sent[1] > 100_000
    assert sent[1] < 60_000
    output = prefect.run("prefect", "worker", "start", "--pool", "bundles", "--run-once", **environ)
    assert output.count("read 100000 bytes") == 2, output
    names = casflow.Store(url, **client_options(s3_server)).names()
    assert len([each for each in names if each.startswith("prefect/files/")]) == 1


def test_a_pinned_pull_needs_no_store_where_the_version_stands(
    prefect, store, flows, tmp_path: Path
) -> None:
    tree = f"flows@{store.push(flows, 'flows').digest}"
    (tmp_path / "work").mkdir()
    shown = prefect.run("python", "-c", PULL, store.url, tree, str(tmp_path / "work"))
    assert shown.split() == ["True", "True", "True", "True"]


def test_a_step_that_fails_says_why_in_one_line(prefect, store) -> None:
    step = ("python", "-m", "casflow.integrations.prefect_bundle", "--store", store.url)
    for arguments, code, line in (
        (("--key", "nothing"), 3, "no such name or version"),
        (("--key", "../x", "/etc/hostname"), 2, "not the key of a bundle"),
        (("--key", "x", "/nothing"), 3, "no such file"),
    ):
        failed = prefect.start(*step, *arguments)
        output, _ = failed.communicate(timeout=60)
        assert (failed.returncode, len(output.splitlines())) == (code, 1), output
        assert line in output.lower()


def client_options(server) -> dict[str, str]:
    keys = {"aws_access_key_id": "test-key", "aws_secret_access_key": "test-secret"}
    return {"endpoint_url": server.url, "region_name": "us-east-1", **keys}


def test_a_deployment_holds_no_credential(prefect, store) -> None:
    code = """
from casflow.integrations.prefect import CasflowStorage
CasflowStorage("flows", "s3://b", secret="hunter2")
"""
    failed = prefect.start("python", "-c", code)
    output, _ = failed.communicate(timeout=60)
    assert "a deployment would hold a credential" in output
    assert "hunter2" not in output.splitlines()[-1]


def test_results_are_kept_by_path(prefect, store) -> None:
    assert "done" in prefect.run("python", "-c", RESULTS, store.url)
