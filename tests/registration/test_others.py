"""Objects of others are stored like flows: anything with a name that can be pickled."""

from __future__ import annotations

import pytest

from casflow import register
from casflow.errors import ConfigError
from casflow.storage import Local


class Pipeline:
    """Another library's flow: it has a storage of its own, which means nothing here."""

    def __init__(self, name, steps):
        self.name = name
        self.steps = steps
        self.storage = "theirs"

    def run(self):
        return [step() for step in self.steps]


def hello():
    return "hello"


def test_a_function_is_stored_by_its_name_and_left_as_it_is(home):
    done = register(hello)
    assert (done.flow, done.is_new) == ("hello", True)
    assert vars(hello) == {}
    assert not register(hello).is_new


def test_a_foreign_flow_keeps_its_own_storage(home):
    storage = Local()
    done = register(Pipeline("theirs", [hello, hello]), storage=storage)
    again = storage.get_flow("theirs")
    assert again.storage == "theirs"
    assert again.run() == ["hello", "hello"]
    assert not register(Pipeline("theirs", [hello, hello]), storage=Local()).is_new
    assert register(Pipeline("theirs", [hello]), storage=Local()).digest != done.digest
    with pytest.raises(ConfigError, match=r"the flow's storage is a builtins\.str"):
        register(Pipeline("theirs", [hello]))


def test_an_object_without_a_name_is_refused(home):
    with pytest.raises(ConfigError, match="A name must be provided"):
        register(42)
