"""Flows for the tests of Docker storage."""

from __future__ import annotations

from casflow import Flow, Parameter, task

SCRIPT = """\
from casflow import Flow, Parameter, task

@task
def add(number):
    return number + 40

with Flow("Scripted") as flow:
    add(Parameter("number", default=2))
"""


def make(storage=None, name="Docker Flow", value=40):
    """Return a flow that adds a value to its parameter."""

    @task
    def add(number):
        return number + value

    with Flow(name, storage=storage) as flow:
        add(Parameter("number", default=2))
    return flow


def result(flow):
    """Run a flow and return what its task gave."""
    state = flow.run()
    assert state.is_successful(), state
    (added,) = (each.result for each in state.result.values() if each.result != 2)
    return added
