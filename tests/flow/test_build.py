"""Building flows: calls, dependencies, slugs, names, and what a flow's state holds."""

from __future__ import annotations

import operator
import pickle
import subprocess
import sys
from datetime import timedelta

import cloudpickle
import pytest

from casflow.errors import CasflowError, ConfigError
from casflow.flow import Flow, Parameter, Task, task
from casflow.results import LocalResult
from casflow.storage import Local


@task
def add(x, y):
    return x + y


@task
def total(numbers):
    return sum(numbers)


def slugs(flow):
    return [call.slug for call in flow.calls]


def test_arguments_make_dependencies():
    with Flow("x") as flow:
        first = add(1, 2)
        second = add(first, y=first)
    assert flow.edges == ((first, second),)


@pytest.mark.parametrize("wrap", [lambda t: [t], lambda t: (t,), lambda t: {"k": [t]}])
def test_tasks_inside_containers_are_dependencies(wrap):
    with Flow("x") as flow:
        first = add(1, 2)
        second = total(wrap(first))
    assert flow.edges == ((first, second),)


def test_upstream_tasks_order_without_a_value():
    with Flow("x") as flow:
        first = add(1, 2)
        second = add(3, 4, upstream_tasks=[first])
    assert flow.edges == ((first, second),)


def test_a_list_changed_after_the_call_changes_nothing():
    with Flow("x") as flow:
        numbers = [add(1, 2)]
        result = total(numbers)
        numbers.append(add(5, 5))
    assert flow.run().result[result].result == 3


def test_slugs_are_names_with_ordinals():
    with Flow("x") as flow:
        total([add(1, 2), add(3, 4), Parameter("n", default=1)])
    assert slugs(flow) == ["add-1", "add-2", "n-1", "total-1"]


def test_slugs_of_like_names_differ():
    with Flow("x") as flow:
        for name in ["a", "a-1", "a", "a-1"]:
            task(name=name)(lambda: 0)()
    assert len(set(slugs(flow))) == 4


def test_one_definition_is_called_in_two_flows():
    with Flow("one") as one:
        add(1, 2)
    with Flow("two") as two:
        add(3, 4)
    assert slugs(one) == slugs(two) == ["add-1"]
    assert one.tasks != two.tasks


def test_an_inner_flow_gives_the_outer_back():
    with Flow("outer") as outer:
        with Flow("inner"):
            add(1, 2)
        add(3, 4)
        add(5, 6)
    assert slugs(outer) == ["add-1", "add-2"]


def test_a_task_that_was_not_called_joins_when_it_is_used():
    one = task(lambda: 1, name="one")
    with Flow("x") as flow:
        total([one])
    assert slugs(flow) == ["one-1", "total-1"]


def test_a_parameter_joins_once():
    number = Parameter("n")
    with Flow("x") as flow:
        add(number, number())
    assert flow.parameters() == (number,)


def test_tasks_are_found_by_name_and_slug():
    with Flow("x") as flow:
        first, second = add(1, 2), add(3, 4)
    assert flow.get_tasks("add") == [first, second]
    assert flow.get_tasks(slug="add-2") == [second]
    assert flow.get_tasks("other") == []


def test_a_subclass_runs_with_its_own_settings():
    class Times(Task):
        def __init__(self, factor, **options):
            super().__init__(**options)
            self.factor = factor

        def run(self, x):
            return self.factor * x

    with Flow("x") as flow:
        six = Times(3)(2)
    assert flow.run().result[six].result == 6
    assert six.name == "Times"


def test_a_retry_delay_is_kept_in_seconds():
    assert task(retry_delay=timedelta(minutes=1))(len).retry_delay == 60
    assert task(retry_delay=0.5)(len).retry_delay == 0.5


def test_storage_is_second_by_position_and_assignable():
    storage = Local()
    assert Flow("x", storage).storage is storage
    flow = Flow("x")
    assert flow.storage is None
    flow.storage = storage
    assert flow.storage is storage


async def coroutine():
    pass


class Runless(Task):
    pass


def endless():
    numbers = []
    numbers.append(numbers)
    total(numbers)


def second_parameter():
    Parameter("n")
    Parameter("n")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flow(None), "A name must be provided for the flow"),
        (lambda: Flow(""), "A name must be provided for the flow"),
        (lambda: Flow("a\nb"), "control character"),
        (lambda: Flow("x" * 10_000), "10000 characters"),
        (lambda: Task(name=""), "name of a task"),
        (lambda: Parameter(3), "name of a task"),
        (lambda: task(max_retries=-1)(len), "max_retries"),
        (lambda: task(max_retries="2")(len), "max_retries"),
        (lambda: task(retry_delay=-1)(len), "retry_delay"),
        (lambda: task(retry_delay=float("nan"))(len), "retry_delay"),
        (lambda: task(3), "only a function"),
        (lambda: task(coroutine), "async function"),
        (lambda: add(1), "missing a required argument: 'y'"),
        (lambda: add(1, 2, z=3), "unexpected keyword argument 'z'"),
        (lambda: add(add, 1), "missing a required argument: 'x'"),
        (lambda: add(1, 2, upstream_tasks=[3]), "not a task in upstream_tasks: 3"),
        (lambda: Parameter("m")(1), "takes no arguments"),
        (second_parameter, "another parameter 'n'"),
        (endless, "contain themselves"),
        (Runless(), "no run method"),
    ],
)
def test_a_mistake_is_one_line(make, message):
    with Flow("building"), pytest.raises(ConfigError, match=message) as caught:
        make()
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


def test_a_task_is_called_inside_a_flow_only():
    with pytest.raises(ConfigError, match="outside of a flow"):
        add(1, 2)
    assert add.run(1, 2) == 3


def test_a_call_that_failed_leaves_no_trace():
    with Flow("x") as flow:
        with pytest.raises(ConfigError):
            add(1)
        add(1, 2)
    assert slugs(flow) == ["add-1"]


def test_an_item_of_a_task_is_a_task():
    with Flow("x") as flow:
        pair = task(lambda: {"a": [1, 2]}, name="pair")()
        item = pair["a"][1]
    assert flow.run().result[item].result == 2


def test_a_task_cannot_be_unpacked():
    with Flow("x"), pytest.raises(TypeError, match=r"as x\[0\]"):
        _a, _b = add(1, 2)


def test_pickling_leaves_the_storage_behind_and_keeps_a_result_that_was_named():
    flow = Flow("x", storage=Local(), result=LocalResult("/named"))
    copy = pickle.loads(pickle.dumps(flow))
    assert (copy.name, copy.storage, copy.result.dir) == ("x", None, "/named")
    assert "_result" not in Flow("x", storage=Local()).__getstate__()
    assert flow.storage is not None


def test_running_leaves_the_state_as_it_was():
    with Flow("x") as flow:
        total([add(Parameter("n", default=1), 2)])
    before = cloudpickle.dumps(flow)
    flow.run()
    assert cloudpickle.dumps(flow) == before


def test_a_flow_runs_after_a_round_trip():
    with Flow("x") as flow:
        add(Parameter("n", default=1), 2, upstream_tasks=[total([1, 2])])
    copy = pickle.loads(cloudpickle.dumps(flow))
    (result,) = copy.get_tasks("add")
    assert copy.run({"n": 40}).result[result].result == 42


SCRIPT = """
import hashlib, operator, pickle, sys
from casflow.flow import Flow, Parameter, task
with Flow("x", storage="s3://" + sys.argv[1]) as flow:
    n, m = Parameter("n", default={"b": 1, "a": 2}), Parameter("m")
    task(operator.add, max_retries=1)(n, [m, n], upstream_tasks=[task(operator.neg)(m)])
print(hashlib.sha256(pickle.dumps(flow)).hexdigest())
"""


def test_every_process_builds_the_same_state():
    digests = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT, seed],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "0123"
    }
    assert len(digests) == 1


def test_builtins_without_a_signature_are_taken():
    with Flow("x") as flow:
        largest = task(max)(1, task(operator.neg)(2))
    assert flow.run().result[largest].result == 1


def test_importing_flows_imports_nothing_heavy():
    code = "import sys, casflow.flow; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"asyncio", "cloudpickle", "concurrent.futures", "inspect", "json", "logging"}
    assert heavy.isdisjoint(shown.stdout.split())


def test_registering_while_building_is_refused():
    with Flow("x") as flow, pytest.raises(ConfigError, match="while one is built"):
        flow.register("project")


def test_errors_are_ours():
    with pytest.raises(CasflowError):
        Flow(3)
