"""A flow's tasks on a Dask cluster: what travels, what is downloaded, what a dead worker costs."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from casflow import Flow, register, task
from casflow.errors import UnavailableError
from casflow.integrations.dask import DaskExecutor, connect, find_address
from casflow.storage import Local
from tests.dask.flows import fan, outcome, read_again

pytestmark = pytest.mark.service


@pytest.fixture
def executor(cluster, home):
    with DaskExecutor(cluster.address, set_as_default=False) as executor:
        executor._client.wait_for_workers(2, timeout=60)
        yield executor


@pytest.fixture
def travelled(executor, monkeypatch):
    """Return what was submitted, as the arguments are."""
    seen = []
    submit = executor._executor.submit

    def noting(fn, *args, **kwargs):
        seen.append((fn.__name__, args))
        return submit(fn, *args, **kwargs)

    monkeypatch.setattr(executor._executor, "submit", noting)
    return seen


def test_a_stored_flow_travels_as_digest_and_arguments(executor, node, travelled):
    flow = fan("Fan", 2)
    digest = register(flow).digest
    value, pids = outcome(read_again(flow), executor, start=1)
    assert value == sum((number + 1) * 2 for number in range(20))
    assert os.getpid() not in pids
    assert {name for name, _ in travelled} == {"run_task"}
    assert {args[0].digest for _, args in travelled} == {digest}
    assert b"cloudpickle" not in b"".join(args[2] for _, args in travelled[:-1])
    assert len(list(node.glob(f"cache/blobs/??/{digest[7:]}"))) == 1


def test_a_flow_registered_again_runs_its_new_code_in_the_same_workers(executor, cluster):
    flow = fan("Changing", 2)
    register(flow)
    before, pids = outcome(flow, executor)
    flow = fan("Changing", 3)
    register(flow)
    after, later = outcome(read_again(flow), executor)
    assert (before, after) == (190 * 2, 190 * 3)
    assert pids | later <= cluster.pids
    assert pids & later


def test_a_flow_that_is_no_longer_what_is_stored_travels_as_it_is(executor, travelled):
    flow = fan("Grown", 2)
    register(flow)
    assert find_address(flow) is not None

    @task
    def extra():
        return "new", set()

    with flow:
        extra()
    assert outcome(flow, executor) == ("new", set())
    assert {name for name, _ in travelled} == {"attempt_packed"}


def test_a_flow_that_was_never_stored_runs_too(executor):
    flow = fan("Unstored", 5)
    assert outcome(flow, executor)[0] == 190 * 5


def test_a_task_that_fails_says_so_and_the_others_run(executor):
    @task
    def fail():
        raise ValueError("no")

    @task
    def work():
        return 1

    with Flow("Half", storage=Local()) as flow:
        fail()
        work()
    register(flow)
    state = flow.run(executor=executor)
    states = [state.result[each] for each in flow.tasks]
    assert [each.is_failed() for each in states] == [True, False]
    assert isinstance(states[0].exception, ValueError)


def test_a_worker_that_is_killed_costs_nothing_but_time(executor, cluster, tmp_path):
    mark = tmp_path / "mark"

    @task
    def die_once(number):
        import os
        import pathlib
        import signal

        if number == 7 and not pathlib.Path(str(mark)).exists():
            pathlib.Path(str(mark)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with Flow("Dying", storage=Local()) as flow:
        tasks = [die_once(number) for number in range(20)]
    register(flow)
    cluster.add_worker()
    state = flow.run(executor=executor)
    assert [state.result[each].result for each in tasks] == list(range(20))
    assert mark.exists()
    assert sum(worker.poll() == -signal.SIGKILL for worker in cluster.workers) == 1


def test_a_scheduler_that_is_not_there_is_said_in_one_line(home):
    with pytest.raises(UnavailableError, match=r"does not answer: tcp://127\.0\.0\.1:9"):
        connect("tcp://127.0.0.1:9", timeout=1)


def test_dask_is_not_imported_before_it_is_used():
    code = "import sys, casflow, casflow.integrations.dask; assert 'distributed' not in sys.modules"
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
