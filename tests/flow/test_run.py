"""Running flows in this thread: values, parameters, retries, failures, results, logs."""

from __future__ import annotations

import logging
import sys
from datetime import datetime
from types import SimpleNamespace

import pytest

from casflow.errors import ConfigError
from casflow.flow import Failed, Flow, Parameter, TriggerFailed, loading_flow, task


@task
def add(x, y):
    return x + y


@task
def fail(message="broken"):
    raise RuntimeError(message)


def failing_until(attempt, **options):
    """Return a task that succeeds at its nth attempt, and the list of its attempts."""
    attempts = []

    @task(**options)
    def flaky():
        attempts.append(len(attempts))
        if len(attempts) < attempt:
            raise OSError("not yet")
        return "done"

    return flaky, attempts


def test_values_go_from_task_to_task():
    with Flow("x") as flow:
        five = add(2, 3)
        nested = task(lambda box: box["a"][0] + box["b"][1], name="open")(
            {"a": [five], "b": (0, five)}
        )
    state = flow.run()
    assert state.is_successful()
    assert not state.is_failed()
    assert (state.result[five].result, state.result[nested].result) == (5, 10)


def test_a_flow_without_tasks_succeeds():
    assert Flow("empty").run().is_successful()


def test_parameters_are_given_by_name():
    with Flow("x") as flow:
        result = add(Parameter("a"), Parameter("b", default=10))
    assert flow.run({"a": 1}).result[result].result == 11
    assert flow.run({"a": 1, "b": 2}).result[result].result == 3


def test_a_default_of_none_is_a_default():
    with Flow("x") as flow:
        n = Parameter("n", default=None)
    assert not n.required
    assert flow.run().result[n].result is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no value for parameter 'a', 'c'"),
        ({"a": 1, "c": 2, "z": 3}, "unknown parameter 'z': x; it has a, b, c"),
        ({"a": 1, "c": 2, 3: 4}, "unknown parameter 3"),
    ],
)
def test_wrong_parameters_are_named(given, message):
    with Flow("x") as flow:
        Parameter("a")
        Parameter("b", default=1)
        Parameter("c", default=1, required=True)
    with pytest.raises(ConfigError, match=message):
        flow.run(given)


def test_a_failure_stops_what_needs_it_and_nothing_else():
    with Flow("x") as flow:
        broken = fail()
        waiting = add(broken, 1)
        further = add(1, 2, upstream_tasks=[waiting])
        other = add(1, 2)
    state = flow.run()
    assert state.is_failed()
    assert type(state.result[broken]) is Failed
    assert type(state.result[waiting]) is TriggerFailed
    assert type(state.result[further]) is TriggerFailed
    assert state.result[other].is_successful()
    assert state.message == "Tasks failed: fail-1, add-1, add-2"
    assert state.result[waiting].message == "not run, because fail-1 failed"


def test_the_exception_is_kept_with_its_traceback():
    with Flow("x") as flow:
        broken = fail("why")
    state = flow.run()
    error = state.result[broken].exception
    assert isinstance(error, RuntimeError)
    assert error is state.result[broken].result is state.exception
    assert error.__traceback__ is not None
    assert state.result[broken].message == "RuntimeError: why"


def test_a_task_that_exits_fails():
    with Flow("x") as flow:
        leaving = task(sys.exit)(3)
    assert isinstance(flow.run().result[leaving].exception, SystemExit)


def test_an_interrupt_ends_the_run():
    @task
    def interrupt():
        raise KeyboardInterrupt

    with Flow("x") as flow:
        interrupt()
    with pytest.raises(KeyboardInterrupt):
        flow.run()


def test_retries_wait_their_delay():
    flaky, attempts = failing_until(3, max_retries=5, retry_delay=7)
    with Flow("x") as flow:
        result = flaky()
    waits = []
    state = flow.run(sleep=waits.append)
    assert state.result[result].result == "done"
    assert (waits, len(attempts)) == ([7.0, 7.0], 3)


def test_retries_end():
    flaky, attempts = failing_until(10, max_retries=2)
    with Flow("x") as flow:
        flaky()
    assert flow.run(sleep=lambda _: None).is_failed()
    assert len(attempts) == 3


class Kept:
    """A result that keeps what it is given in a list."""

    def __init__(self, error=None):
        self.written = []
        self.error = error

    def write(self, value, **facts):
        if self.error:
            raise self.error
        self.written.append((value, facts))
        return SimpleNamespace(location=f"at {facts['task_slug']}")


def test_values_are_written_through_the_result():
    own, common = Kept(), Kept()
    with Flow("x", result=common) as flow:
        n = Parameter("n", default=1)
        one = add(n, 1)
        two = task(result=own)(lambda x: x * 10)(one)
    state = flow.run()
    ((value, facts),) = common.written
    assert value == 2
    assert isinstance(facts.pop("scheduled_start_time"), datetime)
    assert len(facts.pop("flow_run_id")) == 36
    assert facts == {
        "flow_name": "x",
        "parameters": {"n": 1},
        "task_name": "add",
        "task_full_name": "add",
        "task_slug": "add-1",
        "task_run_count": 1,
        "inputs": {"x": 1, "y": 1},
    }
    assert [value for value, _ in own.written] == [20]
    assert state.result[one].location == "at add-1"
    assert state.result[two].location == "at <lambda>-1"


def test_a_value_that_cannot_be_written_is_a_failure():
    with Flow("x", result=Kept(ConfigError("full"))) as flow:
        one = add(1, 1)
    assert isinstance(flow.run().result[one].exception, ConfigError)


def test_the_log_tells_what_happened(caplog):
    flaky, _ = failing_until(2, max_retries=1)
    with Flow("x") as flow:
        add(flaky(), fail())
    with caplog.at_level(logging.INFO, "casflow.flow"):
        flow.run(sleep=lambda _: None)
    levels = [(record.levelname, record.getMessage().split(":")[0]) for record in caplog.records]
    assert levels == [
        ("INFO", "Flow 'x'"),
        ("WARNING", "Task 'flaky-1'"),
        ("INFO", "Task 'flaky-1'"),
        ("ERROR", "Task 'fail-1'"),
        ("ERROR", "Task 'add-1'"),
        ("INFO", "Flow 'x'"),
    ]


@pytest.mark.parametrize("verb", ["run", "register"])
def test_a_flow_that_is_being_loaded_does_nothing(verb, caplog):
    with Flow("x") as flow:
        fail()
    with loading_flow():
        assert getattr(flow, verb)() is None
    assert f"{verb} did nothing" in caplog.text
