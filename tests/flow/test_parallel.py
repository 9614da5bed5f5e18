"""Running flows in executors: threads and processes, and workers that misbehave."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from casflow.errors import CasflowError
from casflow.flow import Flow, Parameter, TriggerFailed, task
from casflow.flow.script import flow_from_script
from casflow.results import LocalResult


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(2) as executor:
        yield executor


def make_processes(workers=1):
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


@pytest.fixture(scope="module")
def processes():
    with make_processes() as executor:
        yield executor


@pytest.fixture(params=["threads", "processes"])
def executor(request):
    return request.getfixturevalue(request.param)


def test_a_flow_runs_the_same_everywhere(executor):
    with Flow("x") as flow:
        n = Parameter("n")
        parts = [task(lambda x, i: x + i, name="part")(n, i) for i in range(4)]
        end = task(sum, name="end")(parts)
    state = flow.run({"n": 10}, executor=executor)
    assert state.result[end].result == 46
    assert list(state.result) == list(flow.tasks)


def test_a_worker_opens_a_result_once(processes, tmp_path):
    marks = str(tmp_path / "marks")

    class Counting(LocalResult):
        def _open(self):
            with open(marks, "a") as file:  # noqa: PTH123
                file.write("opened ")
            return super()._open()

    with Flow("x") as flow:
        end = task(sum, name="end")([task(lambda i: i, name="part")(i) for i in range(4)])
    flow.result = Counting(tmp_path / "results")
    assert flow.run(executor=processes).result[end].result == 6
    assert len(list((tmp_path / "results").rglob("*.casflow_result"))) == 5
    assert (tmp_path / "marks").read_text() == "opened "


def test_failures_and_retries_are_states(executor):
    @task(max_retries=1)
    def broken():
        raise ValueError("bad")

    with Flow("x") as flow:
        first = broken()
        second = task(lambda x: x, name="same")(first)
    state = flow.run(executor=executor)
    assert isinstance(state.result[first].exception, ValueError)
    assert type(state.result[second]) is TriggerFailed


def test_independent_tasks_run_at_once(threads):
    barrier = threading.Barrier(2, timeout=20)
    meet = task(lambda: barrier.wait() >= 0, name="meet")
    with Flow("x") as flow:
        meet()
        meet()
    assert flow.run(executor=threads).is_successful()


def test_tasks_run_in_the_other_process(processes):
    with Flow("x") as flow:
        pid = task(os.getpid)()
    assert flow.run(executor=processes).result[pid].result != os.getpid()


def test_the_worker_tells_where_it_failed(processes):
    def very_deep():
        raise ValueError("bad")

    with Flow("x") as flow:
        broken = task(very_deep)()
    error = flow.run(executor=processes).result[broken].exception
    assert "very_deep" in "".join(error.__notes__)


def test_an_argument_that_cannot_travel_is_a_failure(processes):
    with Flow("x") as flow:
        locked = task(lambda lock: 1, name="locked")(threading.Lock())
    state = flow.run(executor=processes).result[locked]
    assert "pickle" in state.message


def test_a_value_that_cannot_travel_is_a_failure(processes):
    with Flow("x") as flow:
        locked = task(lambda: __import__("threading").Lock(), name="locked")()
    state = flow.run(executor=processes).result[locked]
    assert isinstance(state.exception, CasflowError)
    assert "cannot be brought back" in state.message


def test_an_exception_that_cannot_travel_is_described(processes):
    class PickyError(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} {two}")

    def raise_picky():
        raise PickyError("fell", "over")

    with Flow("x") as flow:
        picky = task(raise_picky)()
    state = flow.run(executor=processes).result[picky]
    assert "fell over" in state.message


def test_a_worker_that_dies_is_a_failure():
    with Flow("x") as flow:
        dead = task(os._exit, name="die")(1)
        after = task(os.getpid)()
        task(lambda x: x, name="same")(after, upstream_tasks=[dead])
    with make_processes() as executor:
        state = flow.run(executor=executor)
    assert state.result[dead].is_failed()
    assert len(state.result) == 3


def test_an_executor_that_is_shut_down_is_a_failure():
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with Flow("x") as flow:
        late = task(os.getpid)()
    assert "shutdown" in flow.run(executor=executor).result[late].message


def test_an_interrupt_ends_the_run():
    class Interrupted(ThreadPoolExecutor):
        def submit(self, *args, **kwargs):
            raise KeyboardInterrupt

    with Flow("x") as flow:
        task(os.getpid)()
    with pytest.raises(KeyboardInterrupt), Interrupted(1) as executor:
        flow.run(executor=executor)


SCRIPT = b"""
from dataclasses import dataclass
from casflow.flow import Flow, task

@dataclass
class Point:
    x: int

@task
def move(point):
    return Point(point.x + 1)

with Flow("moves") as flow:
    move(move(Point(1)))
"""


def test_a_flow_from_a_script_runs_in_other_processes(processes):
    flow = flow_from_script(SCRIPT, path="moves.py")
    state = flow.run(executor=processes)
    assert state.result[flow.tasks[-1]].result.x == 3


def test_a_flow_runs_on_dask():
    distributed = pytest.importorskip("distributed")
    with Flow("x") as flow:
        one = task(lambda: 1, name="one")()
        two = task(lambda x: x + 1, name="two")(one)
    options = {"processes": False, "n_workers": 1, "dashboard_address": "127.0.0.1:0"}
    with distributed.Client(**options) as client, client.get_executor() as executor:
        assert flow.run(executor=executor).result[two].result == 2
