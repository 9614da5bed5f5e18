"""Airflow 3 with DAGs from a store, by the real `airflow`."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import casflow
from casflow.errors import NotFoundError
from casflow.gc import Collector, Limits, Policy
from casflow.storage.urls import open_url
from tests.integrations.conftest import host_of
from tests.integrations.walkthrough import type_page

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
from casflow.integrations.fsspec import CasflowFileSystem

path = ObjectStoragePath("casflow://lake@dags%40prod/helper.py")
print(path.read_text().strip())
print(*sorted(each.name for each in path.parent.iterdir()))
attach(protocol="casflow", conn_id="other", fs=CasflowFileSystem(sys.argv[1]))
print(ObjectStoragePath("casflow://other@dags/helper.py").read_text().strip())
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


@pytest.mark.parametrize("airflow", ["airflow-3.0", "airflow-3.1"], indirect=True)
def test_older_releases_read_and_run_dags(airflow, store, dags) -> None:
    # `airflow dags test` of these finds no module beside the DAG, whatever the bundle.
    text = DAG.replace("from helper import VERSION", "VERSION = 1")
    (dags / "etl.py").write_text(text.replace("import lazy", "lazy = dag; lazy.NAME = 'lazy'"))
    store.push(dags, "dags")
    airflow.run("airflow", "db", "migrate")
    airflow.run("airflow", "dags", "reserialize")
    assert "ran version 1 lazy" in airflow.run("airflow", "dags", "test", "etl")


def test_a_run_keeps_the_version_that_it_began_on(airflow, store, dags) -> None:
    first = store.push(dags, "dags")
    shown = airflow.run("python", "-c", OPEN, store.url, "").split(maxsplit=1)
    assert shown == [first.path_safe, "VERSION = 1\n"]
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


def test_object_storage_paths_read_a_tree_by_a_connection(airflow, store, dags) -> None:
    store.push(dags, "dags")
    store.tag("dags", "prod")
    connection = json.dumps({"conn_type": "generic", "extra": {"store": store.url}})
    shown = airflow.run("python", "-c", PATHS, store.url, AIRFLOW_CONN_LAKE=connection)
    assert shown.splitlines()[-3:] == ["VERSION = 1", "etl.py helper.py lazy.py", "VERSION = 1"]


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
