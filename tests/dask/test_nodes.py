"""Two machines with two workers each: what each downloads, and what a dead worker costs."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest

from casflow import Flow, register, task
from casflow.integrations.dask import DaskExecutor
from casflow.storage import S3
from tests.dask.conftest import Scheduler
from tests.dask.flows import fan, outcome, read_again
from tests.services.proxy import Proxy

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(900)]
NODES = 2
TASKS = 200


@pytest.fixture(scope="module")
def proxy(s3_server):
    with Proxy(s3_server.url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def cluster(s3_server, proxy, tmp_path_factory):
    """Two machines, each with a cache of its own, and two workers on each."""
    pytest.importorskip("distributed")
    daemons = {"DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
    with Scheduler({**s3_server.through(proxy.url).environ, **daemons}) as scheduler:
        for _ in range(NODES):
            home = str(tmp_path_factory.mktemp("node"))
            for _ in range(2):
                scheduler.add_worker(CASFLOW_HOME=home)
        yield scheduler


@pytest.fixture
def storage(s3_server, proxy, home, monkeypatch):
    """A new bucket, as this process reaches it."""
    cloud = s3_server.through(proxy.url)
    for name, value in cloud.environ.items():
        monkeypatch.setenv(name, value)
    return S3(cloud.bucket())


@pytest.fixture
def executor(cluster, home):
    with DaskExecutor(cluster.address, set_as_default=False) as executor:
        alive = sum(worker.poll() is None for worker in cluster.workers)
        executor._client.wait_for_workers(alive, timeout=300)
        yield executor


def downloads(proxy):
    """Return how often each blob was downloaded."""
    return Counter(
        each.path for each in proxy.requests if each.method == "GET" and "/blobs/" in each.path
    )


def test_a_changed_flow_costs_one_download_a_node_and_never_runs_its_old_code(
    executor, cluster, proxy, storage
):
    for factor in (2, 3):
        flow = fan("Changing", factor, TASKS, storage)
        digest = register(flow).digest.partition(":")[2]
        flow = read_again(flow)
        proxy.reset()
        value, pids = outcome(flow, executor, start=1)
        assert value == sum(number + 1 for number in range(TASKS)) * factor
        assert pids <= cluster.pids
        of_each = downloads(proxy)
        assert max(of_each.values()) <= NODES, of_each
        assert sum(count for path, count in of_each.items() if digest in path) == NODES


def test_a_worker_that_is_killed_costs_neither_results_nor_downloads(
    executor, cluster, proxy, storage, tmp_path
):
    mark = str(tmp_path / "mark")

    @task
    def square(number):
        import os
        import pathlib
        import signal

        if number == TASKS // 2 and not pathlib.Path(mark).exists():
            pathlib.Path(mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number**2

    with Flow("Dying", storage=storage) as flow:
        tasks = [square(number) for number in range(TASKS)]
    register(flow)
    proxy.reset()
    state = flow.run(executor=executor)
    assert [state.result[each].result for each in tasks] == [n**2 for n in range(TASKS)]
    assert os.path.exists(mark)  # noqa: PTH110
    assert sum(worker.poll() == -signal.SIGKILL for worker in cluster.workers) == 1
    assert max(downloads(proxy).values()) <= NODES
