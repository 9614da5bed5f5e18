"""Runs on a Dask cluster: taken from the registry, run by a worker, told to the registry."""

from __future__ import annotations

import os
import shutil
import threading
import time
from contextlib import contextmanager

import pytest

from casflow import Flow, Parameter, config, register, task
from casflow.cache.folders import Folders
from casflow.digests import hex_of
from casflow.errors import UnavailableError
from casflow.integrations.dask_agent import DaskAgent
from casflow.registry import Registry, RunState
from casflow.storage import Local
from tests.store.conftest import write

pytestmark = pytest.mark.service
TIMEOUT = 60  # seconds


def doing(name="Doing"):
    @task
    def do(code):
        exec(code, {})

    with Flow(name) as flow:
        do(Parameter("code", default="pass"))
    flow.storage = Local()
    return flow


@pytest.fixture
def registry(home):
    register(doing())
    with Registry(config.load().registry) as registry:
        yield registry


def ask(registry, code="pass"):
    return registry.create_run(registry.get_version(None, "Doing"), parameters={"code": code})


@contextmanager
def working(registry, address):
    agent = DaskAgent(registry, address=address, limit=4, poll=0.1)
    thread = threading.Thread(target=agent.start)
    thread.start()
    try:
        yield agent
    finally:
        agent.stop()
        thread.join()


def wait(registry, run, *states):
    deadline = time.monotonic() + TIMEOUT
    while (stands := registry.get_run(run.id)).state not in states:
        assert time.monotonic() < deadline, stands
        time.sleep(0.02)
    return stands


def test_runs_are_run_by_workers_and_end_as_their_flows_do(registry, cluster, tmp_path):
    file = tmp_path / "pid"
    good = ask(registry, f"import os; open({str(file)!r}, 'w').write(str(os.getpid()))")
    bad = ask(registry, "1/0")
    DaskAgent(registry, address=cluster.address, limit=2).start(once=True)
    good, bad = registry.get_run(good.id), registry.get_run(bad.id)
    assert (good.state, bad.state) == (RunState.SUCCESS, RunState.FAILED)
    assert bad.message == "Tasks failed: do-1 (ZeroDivisionError: division by zero)"
    assert good.outcome["digest"] == good.digest
    assert int(file.read_text()) in cluster.pids
    assert int(file.read_text()) != os.getpid()


def test_a_second_run_is_warm_on_the_node(registry, cluster):
    for _ in range(2):
        last = ask(registry)
        DaskAgent(registry, address=cluster.address).start(once=True)
    assert registry.get_run(last.id).outcome["cache"] == "hit"


def test_a_cancelled_run_is_no_longer_waited_for(registry, cluster):
    with working(registry, cluster.address):
        run = ask(registry, "import time; time.sleep(3)")
        wait(registry, run, RunState.RUNNING)
        registry.cancel(run)
        after = ask(registry)
        assert wait(registry, after, RunState.SUCCESS).attempt == 1
    assert registry.get_run(run.id).state == RunState.CANCELLED


def test_without_a_scheduler_the_agent_does_not_start(registry):
    import dask

    impatient = dask.config.set({"distributed.comm.timeouts.connect": "1s"})
    with impatient, pytest.raises(UnavailableError, match="does not answer"):
        DaskAgent(registry, address="tcp://127.0.0.1:9").start(once=True)
    assert registry.agents() == []


PROJECT = """\
from casflow import Flow, task
import beside

@task
def check():
    import late
    assert (beside.VALUE, late.VALUE) == ({value}, 2)

with Flow("Project") as flow:
    check()
"""


def test_a_project_is_run_by_workers_from_the_nodes_checkout(home, cluster, node, tmp_path):
    project, digests = tmp_path / "project", []
    for value in (1, 7):
        files = {"flow.py": PROJECT.replace("{value}", str(value)), "late.py": "VALUE = 2"}
        write(project, {**files, "beside.py": f"VALUE = {value}"})
        made = home.json("register", "-p", project / "flow.py", "--tree", project)[0]
        digests.append(made["digest"])
    shutil.rmtree(project)
    with Registry(config.load().registry) as registry:
        for number in (1, 2, 1):  # in processes that have run the other one before
            run = registry.create_run(registry.get_version(None, "Project", number))
            DaskAgent(registry, address=cluster.address).start(once=True)
            run = registry.get_run(run.id)
            assert run.state == RunState.SUCCESS, run.message
        assert run.outcome["cache"] == "hit"
    for digest in digests:
        assert Folders(node / "cache").path(hex_of(digest)).is_dir()
