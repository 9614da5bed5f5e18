"""Airflow 3 with DAGs from a store, by the real `airflow`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import casflow
from casflow.errors import NotFoundError
from casflow.gc import Collector, Limits, Policy
from casflow.storage.urls import open_url
from tests.integrations.conftest import host_of
from tests.integrations.walkthrough import type_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.slow, pytest.mark.service, pytest.mark.xdist_group("airflow")]

DAG = """
from airflow.sdk import dag, task
from helper import VERSION

@dag(schedule=None)
def etl():
    @task
    def show():
        import lazy
        print("ran version", VERSION, lazy.NAME)
    show()

etl()
"""

TWO_TASKS = """
import os, pathlib, time
from airflow.sdk import dag, task

MARKS = pathlib.Path(os.environ["MARKS"])

@dag(schedule="@once", catchup=False)
def etl():
    @task
    def begin():
        from helper import VERSION
        (MARKS / "part").write_text(str(VERSION))
        (MARKS / "part").rename(MARKS / "begun")
        while not (MARKS / "go").exists():
            time.sleep(0.1)

    @task
    def end():
        import helper
        version = pathlib.Path(helper.__file__).parent.name
        (MARKS / "part").write_text(f"{helper.VERSION} {version}")
        (MARKS / "part").rename(MARKS / "ended")

    begin() >> end()

etl()
"""

OPEN = """
import sys
from casflow.integrations.airflow import CasflowDagBundle
bundle = CasflowDagBundle(name="flows", tree="dags", store=sys.argv[1], version=sys.argv[2] or None)
bundle.initialize()
version = bundle.get_current_version()
print(getattr(version, "version", version), (bundle.path / "helper.py").read_text().strip())
"""


# Kills children at random moments, and counts what stands under the version's name after each.
KILLS = """
import collections, os, pathlib, random, shutil, signal, sys, time
from casflow.integrations.airflow import CasflowDagBundle

store, version, folder = sys.argv[1:]
folder = pathlib.Path(folder)
cache = pathlib.Path(os.environ["CASFLOW_HOME"], "cache")
draw, kinds = random.Random(7), collections.Counter()

def child(cold):
    shutil.rmtree(folder, ignore_errors=True)
    if cold:
        shutil.rmtree(cache, ignore_errors=True)
    pid = os.fork()
    if not pid:
        CasflowDagBundle(name="flows", tree="dags", store=store, version=version).initialize()
        os._exit(0)
    return pid

took = {}
for cold in (True, False):
    began = time.monotonic()
    assert os.waitpid(child(cold), 0)[1] == 0
    took[cold] = time.monotonic() - began
for number in range(50):
    cold = number % 2 == 0
    pid = child(cold)
    time.sleep(took[cold] * draw.uniform(0, 1.1))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    kinds[str(len(list(folder.iterdir()))) if folder.exists() else "absent"] += 1
print(*(f"{kind}={count}" for kind, count in kinds.items()))
"""

# Children of one process that imported Airflow, as its executors start tasks.
FORKS = """
import os, sys
from casflow.integrations.airflow import CasflowDagBundle

start, go = os.pipe()
pids = []
for _ in range(20):
    pid = os.fork()
    if not pid:
        os.close(go)
        os.read(start, 1)
        bundle = CasflowDagBundle(
            name="flows", tree="dags", version=sys.argv[1], casflow_conn_id="lake"
        )
        bundle.initialize()
        os._exit(len(list(bundle.path.iterdir())))
    pids.append(pid)
os.close(go)
print(sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3 for pid in pids))
"""

PATHS = """
import sys
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from casflow.integrations.airflow import CasflowDagBundle
from casflow.integrations.fsspec import CasflowFileSystem

path = ObjectStoragePath("casflow://lake@dags%40prod/helper.py")
print(path.read_text().strip())
print(*sorted(each.name for each in path.parent.iterdir()))
attach(protocol="casflow", conn_id="other", fs=CasflowFileSystem(sys.argv[1]))
print(ObjectStoragePath("casflow://other@dags/helper.py").read_text().strip())

options = {"name": "sub", "tree": "dags", "store": sys.argv[1]}
url = "https://example.org/{version}"
bundle = CasflowDagBundle(**options, subdir="pkg", view_url_template=url)
bundle.initialize()
print(bundle.view_url_template(), *(each.name for each in bundle.path.iterdir()))
again = CasflowDagBundle(**options, subdir="pkg")  # reads without a refresh, as `dags test` does
print(again.path == bundle.path)
try:
    CasflowDagBundle(**options, subdir="../x")
except ValueError as error:
    print(error)
"""


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "etl.py").write_text(DAG)
    (folder / "helper.py").write_text("VERSION = 1\n")
    (folder / "lazy.py").write_text("NAME = 'lazy'\n")
    return folder


@pytest.fixture
def airflow(tmp_path: Path, store, request: pytest.FixtureRequest):
    host = host_of(getattr(request, "param", "airflow"), tmp_path)
    options = {"tree": "dags", "store": store.url, "refresh_interval": 1}
    path = "casflow.integrations.airflow.CasflowDagBundle"
    bundles = [{"name": "flows", "classpath": path, "kwargs": options}]
    host.env.update(
        AIRFLOW_HOME=str(tmp_path / "airflow"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__CORE__UNIT_TEST_MODE="False",
        AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST=json.dumps(bundles),
        AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH=str(tmp_path / "bundles"),
    )
    return host


def test_as_the_page_says(airflow, store, tmp_path: Path) -> None:
    del airflow.env["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"]
    work = tmp_path / "work"
    work.mkdir()
    type_page("airflow", airflow, work, CASFLOW_STORE=store.url)


@pytest.mark.parametrize("airflow", ["airflow-3.0"], indirect=True)
def test_the_oldest_release_reads_and_runs_dags(airflow, store, dags) -> None:
    # `airflow dags test` of 3.0 and 3.1 finds no module beside the DAG, whatever the bundle.
    text = DAG.replace("from helper import VERSION", "VERSION = 1")
    (dags / "etl.py").write_text(text.replace("import lazy", "lazy = dag; lazy.NAME = 'lazy'"))
    store.push(dags, "dags")
    airflow.run("airflow", "db", "migrate")
    airflow.run("airflow", "dags", "reserialize")
    assert "ran version 1 lazy" in airflow.run("airflow", "dags", "test", "etl")


@pytest.mark.timeout(900)
def test_a_run_ends_on_the_version_that_it_began_on(airflow, store, dags, tmp_path: Path) -> None:
    """Under `airflow standalone`: scheduler, processor and API server, a version pushed between."""
    marks = tmp_path / "marks"
    marks.mkdir()
    (dags / "etl.py").unlink()
    store.push(dags, "dags")
    with free_ports(2) as (api, logs):
        airflow.env.update(
            MARKS=str(marks),
            AIRFLOW__API__PORT=str(api),
            AIRFLOW__API__WORKERS="1",
            AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT="120",  # a machine may be loaded
            AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT=str(logs),
            AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"http://127.0.0.1:{api}/execution/",
            AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION="False",
            AIRFLOW__CORE__PARALLELISM="1",
            AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES="1",
            AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL="1",
            AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME="0.2",
        )
    standalone = airflow.start("airflow", "standalone")
    try:
        wait_for_port(api, standalone)  # a task that is started earlier fails
        (dags / "etl.py").write_text(TWO_TASKS)
        first = store.push(dags, "dags")
        wait_for(marks / "begun", standalone)
        assert (marks / "begun").read_text() == "1"
        (dags / "helper.py").write_text("VERSION = 2\n")
        second = store.push(dags, "dags")
        wait_for(tmp_path / "bundles" / "flows" / "latest" / second.path_safe, standalone)
        (marks / "go").touch()
        wait_for(marks / "ended", standalone)
    finally:
        end(standalone)
    assert (marks / "ended").read_text() == f"1 {first.path_safe}"


@pytest.mark.parametrize("airflow", ["airflow-3.1"], indirect=True)
def test_a_run_keeps_the_version_that_it_began_on(airflow, store, dags) -> None:
    first = store.push(dags, "dags")
    shown = airflow.run("python", "-c", OPEN, store.url, "").splitlines()[-1]
    assert shown == f"{first.path_safe} VERSION = 1"
    (dags / "helper.py").write_text("VERSION = 2\n")
    second = store.push(dags, "dags")
    assert "VERSION = 1" in airflow.run("python", "-c", OPEN, store.url, first.path_safe)
    assert second.path_safe in airflow.run("python", "-c", OPEN, store.url, "")


def test_a_version_that_stands_needs_no_store(airflow, store, dags, tmp_path: Path) -> None:
    version = store.push(dags, "dags").path_safe
    airflow.run("python", "-c", OPEN, store.url, version)
    Path(store.url).rename(tmp_path / "away")
    assert version in airflow.run("python", "-c", OPEN, store.url, version)


def test_killed_while_it_is_made_a_version_is_whole_or_absent(
    airflow, store, dags, tmp_path: Path
) -> None:
    """50 processes, killed at random moments: half of them with an empty cache."""
    for number in range(60):
        (dags / f"m{number}.py").write_text(f"X = {number}\n" * 200)
    version = store.push(dags, "dags").path_safe
    versions = tmp_path / "bundles" / "flows" / "versions"
    shown = airflow.run("python", "-c", KILLS, store.url, version, versions / version)
    kinds = dict(each.split("=") for each in shown.split())
    assert set(kinds) <= {"absent", "63"}, kinds
    assert int(kinds["absent"]) >= 10
    assert sum(map(int, kinds.values())) == 50
    assert "VERSION = 1" in airflow.run("python", "-c", OPEN, store.url, version)


def test_20_task_processes_cost_one_download(airflow, s3_server, proxy_to, dags) -> None:
    """Credentials come from an Airflow connection."""
    url = f"s3://{s3_server.bucket()}/flows"
    casflow.Store(url, **client(s3_server.url)).push(dags, "dags")
    proxy = proxy_to(s3_server.url)
    extra = {"store": url, **client(proxy.url)}
    connection = json.dumps({"conn_type": "generic", "extra": extra})
    version = casflow.Store(url, **client(s3_server.url)).resolve("dags").path_safe
    shown = airflow.run("python", "-c", FORKS, version, AIRFLOW_CONN_LAKE=connection)
    assert shown.split() == ["20"]
    blobs = [each.path for each in proxy.requests if each.method == "GET" and "blobs" in each.path]
    assert blobs
    assert len(blobs) == len(set(blobs))


def test_a_run_of_a_month_ago_is_retried_after_gc(airflow, store, dags, tmp_path: Path) -> None:
    first = store.push(dags, "dags")
    airflow.run("python", "-c", OPEN, store.url, first.path_safe)  # holds a lease of today
    (dags / "helper.py").write_text("VERSION = 2\n")
    store.push(dags, "dags")
    age_leases(store, days=29)
    collect(store)
    shutil.rmtree(tmp_path / "bundles")
    shutil.rmtree(airflow.env["CASFLOW_HOME"])
    assert "VERSION = 1" in airflow.run("python", "-c", OPEN, store.url, first.path_safe)
    age_leases(store, days=31)
    collect(store)
    with pytest.raises(NotFoundError):
        store.resolve(first.path_safe)


def test_object_storage_paths_and_bundles_of_a_folder(airflow, store, dags) -> None:
    (dags / "pkg").mkdir()
    (dags / "pkg" / "inner.py").touch()
    store.push(dags, "dags")
    store.tag("dags", "prod")
    connection = json.dumps({"conn_type": "generic", "extra": {"store": store.url}})
    shown = airflow.run("python", "-c", PATHS, store.url, AIRFLOW_CONN_LAKE=connection)
    read, listed, attached, inner, again, refused = shown.splitlines()[-6:]
    assert read == attached == "VERSION = 1"
    assert listed == "etl.py helper.py lazy.py pkg"
    assert inner == "https://example.org/{version} inner.py"
    assert again == "True"
    assert "subdir leaves the tree" in refused


def collect(store: casflow.Store) -> None:
    """Collect all but the newest version, at once."""
    limits = Limits(grace=0, trash=0, exclusive=True)
    Collector(open_url(store.url), policy=Policy(last=1), limits=limits).run()


def age_leases(store: casflow.Store, *, days: int) -> None:
    """Let all leases of a folder be of a day in the past."""
    day = datetime.now(UTC).date() - timedelta(days=days)
    for lease in [each for each in Path(store.url).glob("**/leases/*/*/*") if each.is_file()]:
        lease.rename(lease.with_name(day.isoformat()))


def client(endpoint: str) -> dict[str, str]:
    """Return options of a store in the S3 server at a URL."""
    keys = {"aws_access_key_id": "test-key", "aws_secret_access_key": "test-secret"}
    return {"endpoint_url": endpoint, "region_name": "us-east-1", **keys}


@contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    """Give ports that are free until the block ends."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        yield [each.getsockname()[1] for each in sockets]


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until something stands at a path; fail with what the process printed."""
    wait_until(path.exists, path.name, process)


def wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    """Wait until a server listens."""

    def listens() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, f"server at {port}", process)


def wait_until(is_there: Callable[[], bool], what: str, process: subprocess.Popen[str]) -> None:
    for _ in range(6000):
        if is_there():
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise AssertionError(f"no {what}: {end(process)[-8000:]}")


def end(process: subprocess.Popen[str]) -> str:
    """End a process and all that it started; return what they printed."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        return process.communicate(timeout=30)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0]
