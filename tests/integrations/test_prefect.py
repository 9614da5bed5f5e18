"""Prefect 3 deployments whose code is a tree, with the real server and worker."""

from __future__ import annotations

import contextlib
import socket
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.integrations.conftest import host_of

if TYPE_CHECKING:
    from pathlib import Path

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
flow.from_source(storage, "flow.py:main").deploy(sys.argv[2], work_pool_name="machine")
print(storage.to_pull_step())
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


@pytest.fixture
def prefect(tmp_path: Path):
    host = host_of("prefect", tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host.env.update(
        PREFECT_HOME=str(tmp_path / "prefect"),
        PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
    )
    server = host.start("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    try:
        _wait_for(f"http://127.0.0.1:{port}/api/health")
        host.run("prefect", "work-pool", "create", "--type", "process", "machine")
        yield host
    finally:
        server.terminate()
        server.communicate(timeout=60)


def _wait_for(url: str) -> None:
    for _ in range(1200):
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
    output = prefect.run("prefect", "worker", "start", "--pool", "machine", "--run-once")
    assert "ran version 1 lazy" in output
    assert "ran version 2 lazy" in output


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
