"""Words of Prefect 1 are answered with one line, never accepted and ignored."""

import importlib
import operator
import pickle

import pytest

import casflow
from casflow import Flow, Parameter, task
from casflow.errors import ConfigError
from casflow.flow.prefect import MODULES, NAMES, OF_CALLS, OF_FLOWS, OF_RUNS, OF_STATES


@pytest.mark.parametrize("word", NAMES)
def test_a_name_that_casflow_has_not_says_what_to_use(word):
    with pytest.raises(ConfigError, match=rf"no '{word}'.*from-prefect"):
        getattr(casflow, word)
    with pytest.raises(ImportError, match="from-prefect"):
        exec(f"from casflow import {word}")


@pytest.mark.parametrize("word", OF_FLOWS)
def test_an_option_of_flows_that_casflow_has_not_says_what_to_use(word):
    with pytest.raises(ConfigError, match="from-prefect"):
        Flow("x", **{word: 1})
    if word not in ("tasks", "edges"):
        with pytest.raises(ConfigError, match="from-prefect"):
            setattr(Flow("x"), word, 1)


@pytest.mark.parametrize(
    ("module", "word", "home"),
    [
        ("engine.results", "S3Result", "results"),
        ("engine.results", "LocalResult", "results"),
        ("engine.result", "Result", "results"),
        ("engine.serializers", "JSONSerializer", "results"),
        ("engine.state", "Failed", "flow"),
        ("client", "Secret", "secrets"),
        ("core.parameter", "Parameter", "flow"),
        ("core", "Flow", "flow"),
        ("environments.storage", "Docker", "storage"),
        ("storage.github", "GitHub", "storage"),
    ],
)
def test_a_word_that_casflow_has_comes_from_where_prefect_had_it(module, word, home):
    taken = {}
    exec(f"from casflow.{module} import {word}", taken)
    assert taken[word] is getattr(importlib.import_module(f"casflow.{home}"), word)
    exec(f"import casflow\nfound = casflow.{module}.{word}", taken)
    assert taken["found"] is taken[word]


@pytest.mark.parametrize(
    "line",
    [
        "import casflow.tasks.shell",
        "from casflow.tasks.shell import ShellTask",
        "from casflow.utilities.notifications import slack_notifier",
        "from casflow.run_configs import DockerRun",
        "from casflow.executors import LocalDaskExecutor",
        "from casflow.schedules.clocks import CronClock",
        "from casflow.engine import signals",
        "from casflow.engine.signals import SKIP",
        "from casflow.engine.results import PrefectResult",
        "from casflow.core.parameter import DateTimeParameter",
        "from casflow.client import Client",
        "from casflow.triggers import all_finished",
        "import casflow\ncasflow.engine.signals.FAIL()",
        "import casflow\ncasflow.context.get('logger')",
    ],
)
def test_a_module_that_casflow_has_not_says_what_to_use(line):
    with pytest.raises(ImportError, match=r"casflow has no .*from-prefect"):
        exec(line)


@pytest.mark.parametrize("name", ["nonsense", "storage.nonsense", "nonsense.tasks"])
def test_any_other_module_is_not_found_as_ever(name):
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'casflow\.[a-z.]*nonsense"):
        importlib.import_module(f"casflow.{name}")
    assert not any(module.startswith(f"casflow.{name}") for module in MODULES)


def add(number):
    return number + 40


def built():
    with Flow("x") as flow:
        task(add)(Parameter("number", default=2))
    return flow


def test_a_parameter_is_given_to_a_run_by_its_name():
    state = built().run(number=5)
    assert 45 in [each.result for each in state.result.values()]
    with pytest.raises(TypeError, match="unexpected keyword"):
        built().run(nonsense=5)


@pytest.mark.parametrize("word", OF_RUNS)
def test_an_option_of_runs_that_casflow_has_not_says_what_to_use(word):
    with pytest.raises(ConfigError, match="from-prefect"):
        built().run(**{word: 1})


@pytest.mark.parametrize("word", OF_CALLS)
def test_an_option_of_calls_that_casflow_has_not_says_what_to_use(word):
    with Flow("x"), pytest.raises(ConfigError, match="from-prefect"):
        task(add)(1, **{word: 1})

    def takes(**given):
        return given

    with Flow("x"):
        task(takes)(**{word: 1})


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "mod", "lt", "ge", "and_", "or_"])
def test_an_operator_between_tasks_says_what_to_use(name):
    operate = getattr(operator, name)
    with Flow("x"):
        one = Parameter("one")
        with pytest.raises(TypeError, match=r"casflow has no .*from-prefect"):
            operate(one, one)
        with pytest.raises(TypeError, match=r"casflow has no .*from-prefect"):
            operate(1, one)


def test_the_items_of_a_task_are_not_unpacked_without_a_word():
    with Flow("x"), pytest.raises(TypeError, match=r"one, as x\[0\].*from-prefect"):
        _one, _two = Parameter("pair")
    with pytest.raises(ConfigError, match=r"no 'logger'.*from-prefect"):
        task(add).logger  # noqa: B018


@pytest.mark.parametrize("word", OF_STATES)
def test_a_question_to_a_state_that_casflow_has_not_says_what_to_use(word):
    state = built().run()
    with pytest.raises(ConfigError, match="from-prefect"):
        getattr(state, word)()
    assert not hasattr(state, "nonsense")
    assert pickle.loads(pickle.dumps(state)).message == state.message


def test_settings_and_arguments_of_prefect_say_what_to_use():
    with pytest.raises(ConfigError, match=r"no 'flows'.*from-prefect"):
        casflow.config.flows.checkpointing  # noqa: B018
    assert Parameter("p", 1, False).required is False


def test_any_other_word_is_pythons():
    with pytest.raises(TypeError, match="unexpected keyword"):
        Flow("x", nonsense=1)
    with pytest.raises(AttributeError):
        casflow.nonsense  # noqa: B018
    assert importlib.import_module("casflow.storage").Docker
