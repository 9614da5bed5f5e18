"""Running tasks in an executor: threads, processes, a Dask cluster.

Owns the seam to `concurrent.futures.Executor`. Invariant: a task is submitted when all that it
needs has ended, and every task ends in a state, also when its worker dies or its value cannot
travel. To other processes jobs and states travel as cloudpickle bytes, since flows are often
made of functions that cannot be imported there.
"""

from __future__ import annotations

from abc import abstractmethod
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from copy import copy
from functools import lru_cache
from graphlib import TopologicalSorter
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from casflow.errors import CasflowError
from casflow.flow.run import attempt
from casflow.flow.states import Failed, State

if TYPE_CHECKING:
    from casflow.flow.run import Job, Run
    from casflow.flow.tasks import Task


class JobExecutor(Executor):
    """An executor that says by itself how a task's job travels."""

    @abstractmethod
    def submit_job(self, flow: Any, job: Job) -> Future[Any]:
        """Submit a job of a flow; its result is a packed state."""


def run_in(executor: Executor, current: Run) -> None:
    """Run the tasks of a flow in an executor, those that can at once."""
    order = TopologicalSorter({task: call.upstream for task, call in current.calls.items()})
    order.prepare()
    running: dict[Future[Any], Task] = {}
    ended: SimpleQueue[Future[Any]] = SimpleQueue()
    try:
        while order.is_active():
            for task in order.get_ready():
                begun = current.begin(task)
                future = (
                    _completed(begun)
                    if isinstance(begun, State)
                    else _submit(executor, current, begun)
                )
                running[future] = task
                future.add_done_callback(ended.put)
            future = ended.get()
            task = running.pop(future)
            current.end(task, _state_of(future))
            order.done(task)
    finally:
        for future in running:
            future.cancel()


def _completed(state: State) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(state)
    return future


def _submit(executor: Executor, current: Run, job: Job) -> Future[Any]:
    try:
        if isinstance(executor, JobExecutor):
            return executor.submit_job(current.flow, job)
        if type(executor) is ThreadPoolExecutor:
            return executor.submit(attempt, job)
        return executor.submit(attempt_packed, *pack_job(job))
    except Exception as error:  # noqa: BLE001 - a job that cannot travel is a task that failed
        refused: Future[Any] = Future()
        refused.set_exception(error)
        return refused


def _state_of(future: Future[Any]) -> State:
    try:
        reply = future.result()
        state = reply if isinstance(reply, State) else unpack(reply)
    except Exception as error:  # noqa: BLE001 - a worker that died is a task that failed
        return Failed.from_exception(error)
    return state


def pack_job(job: Job) -> tuple[bytes, bytes]:
    """Return a job without its result, and that apart: it is the same for many jobs."""
    bare = copy(job)
    bare.result = None
    return pack(bare), pack(job.result)


def attempt_packed(data: bytes, result: bytes) -> bytes:
    """Run a packed job in a worker, and return its packed state."""
    job = unpack(data)
    job.result = unpack_cached(result)
    return packed_state(job)


def packed_state(job: Job) -> bytes:
    """Run a job in a worker, and return its packed state."""
    state = attempt(job)
    if state.exception is not None:
        _add_traceback_note(state.exception)
    try:
        packed = pack(state)
        unpack(packed)
    except Exception as error:  # noqa: BLE001 - it becomes the state that can travel
        what = f"the task ended as {state!r}, which cannot be brought back ({error!r})"
        return pack(Failed.from_exception(CasflowError(what)))
    return packed


def _add_traceback_note(error: BaseException) -> None:
    # Tracebacks do not travel, their text does.
    from traceback import format_tb

    error.add_note("In the worker:\n" + "".join(format_tb(error.__traceback__)))


def pack(value: Any) -> bytes:
    """Return a value as cloudpickle bytes."""
    from casflow.serialize.compat import dumps

    return dumps(value)


def unpack(data: bytes) -> Any:
    """Return the value of such bytes."""
    import pickle

    return pickle.loads(data)


@lru_cache(maxsize=16)
def unpack_cached(data: bytes) -> Any:
    """Return the value of such bytes, in a process always the same: it may have connected."""
    return unpack(data)
