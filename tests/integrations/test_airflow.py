"""Airflow 3 with DAGs from a store, by the real `airflow`."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pytest

from tests.integrations.conftest import host_of

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


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "etl.py").write_text(DAG)
    (folder / "helper.py").write_text("VERSION = 1\n")
    (folder / "lazy.py").write_text("NAME = 'lazy'\n")
    return folder


@pytest.fixture
def airflow(tmp_path: Path, store):
    host = host_of("airflow", tmp_path)
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


def test_dags_are_read_and_run_from_the_store(airflow, store, dags) -> None:
    store.push(dags, "dags")
    airflow.run("airflow", "db", "migrate")
    airflow.run("airflow", "dags", "reserialize")
    assert "etl" in airflow.run("airflow", "dags", "list")
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
    for number in range(60):
        (dags / f"m{number}.py").write_text(f"X = {number}\n" * 200)
    version = store.push(dags, "dags").path_safe
    versions = tmp_path / "bundles" / "flows" / "versions"
    began = time.monotonic()
    airflow.run("python", "-c", OPEN, store.url, version)
    took = time.monotonic() - began
    draw = random.Random(7)
    for _ in range(6):
        if (versions / version).exists():
            (versions / version).rename(versions / f"seen-{draw.random()}")
        process = airflow.start("python", "-c", OPEN, store.url, version)
        time.sleep(took * draw.uniform(0.5, 1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if (versions / version).exists():
            assert len(list((versions / version).iterdir())) == 63
    assert "VERSION = 1" in airflow.run("python", "-c", OPEN, store.url, version)


def test_processes_that_begin_at_once_share_one_folder(airflow, store, dags) -> None:
    version = store.push(dags, "dags").path_safe
    started = [airflow.start("python", "-c", OPEN, store.url, version) for _ in range(4)]
    for process in started:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        assert version in output
