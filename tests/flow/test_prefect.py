"""Words of Prefect 1 are answered with one line, never accepted and ignored."""

import importlib

import pytest

import casflow
from casflow import Flow
from casflow.errors import ConfigError
from casflow.flow.prefect import NAMES, OF_FLOWS


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


def test_any_other_word_is_pythons():
    with pytest.raises(TypeError, match="unexpected keyword"):
        Flow("x", nonsense=1)
    with pytest.raises(AttributeError):
        casflow.nonsense  # noqa: B018
    assert importlib.import_module("casflow.storage").Docker
