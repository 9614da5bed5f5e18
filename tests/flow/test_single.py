"""`@casflow.flow` makes a flow of a function, however it is imported."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import casflow
from casflow import Flow, flow, task
from casflow.errors import ConfigError

SCRIPT = """
from casflow import flow

@flow
def numbers(count: int = 4, *, factor: int = 2):
    return sum(range(count)) * factor
"""


@flow
def doubled(count, factor=2):
    return count * factor


def value_of(state):
    (value,) = [each.result for task, each in state.result.items() if task.name == "doubled"]
    return value


def test_a_function_becomes_a_flow_of_one_task():
    assert isinstance(doubled, Flow)
    assert doubled.name == "doubled"
    state = doubled.run(parameters={"count": 3})
    assert state.is_successful()
    assert value_of(state) == 6


def test_options_are_those_of_flow():
    made = flow(name="other")(lambda n: n)
    assert made.name == "other"
    assert casflow.flow(lambda n: n, name="another").name == "another"


@pytest.mark.parametrize("function", [lambda *a: a, lambda **k: k, 3, len])
def test_what_cannot_be_a_flow_is_refused(function):
    with pytest.raises(ConfigError):
        flow(function)


@pytest.mark.parametrize(
    "code",
    [
        "from casflow import flow",
        "import casflow; flow = casflow.flow",
        "import casflow.flow.tasks; from casflow import flow",
        "import casflow.flow as flow",
    ],
)
def test_every_import_gives_the_decorator(code):
    program = f"{code}\n@flow\ndef f(): return 1\nassert f.run().is_successful(), f"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_package_is_pickled_by_its_name():
    assert pickle.loads(pickle.dumps(casflow.flow)) is casflow.flow
    assert casflow.loads(casflow.dumps(casflow.flow)) is casflow.flow

    def uses():
        return flow.Flow

    assert casflow.loads(casflow.dumps(uses))() is Flow


def test_it_is_registered_unchanged_and_run(home):
    script = home.script(text=SCRIPT)
    assert home.json("register", script)[0]["status"] == "registered"
    assert home.json("register", script)[0]["status"] == "unchanged"
    assert home.json("run", "numbers", "-P", "factor=3")["state"] == "Success"


def test_a_task_called_inside_says_what_to_write():
    @task
    def step():
        return 1

    @flow
    def outer():
        return step()

    state = outer.run()
    assert not state.is_successful()
    (failed,) = [each for task, each in state.result.items() if task.name == "outer"]
    assert "call the task's run method" in str(failed.message) + str(failed.result)
