"""Flows for a cluster, and what becomes of them."""

from __future__ import annotations

from casflow import Flow, Parameter, task
from casflow.storage import Local, load


def fan(name, factor, width=20, storage=None):
    """Return a flow of many tasks that say what they ran in."""

    @task
    def times(number, start):
        import os

        return (start + number) * factor, os.getpid()

    @task
    def total(values):
        return sum(value for value, _ in values), {pid for _, pid in values}

    with Flow(name) as flow:
        start = Parameter("start", default=0)
        total([times(number, start) for number in range(width)])
    flow.storage = storage or Local()
    return flow


def outcome(flow, executor, **parameters):
    state = flow.run(parameters=parameters, executor=executor)
    assert state.is_successful(), state.result
    return state.result[flow.tasks[-1]].result


def read_again(flow):
    return load(flow.storage.serialize()).get_flow(flow.name)
