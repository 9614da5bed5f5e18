"""Images that an engine builds: registered, found again, run, read back."""

from __future__ import annotations

import pytest

from casflow import Flow, Parameter, register, task
from casflow.storage import load

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.xdist_group("docker")]


def make(storage, name="Docker Flow", value=1):
    @task
    def add(number):
        return number + value

    with Flow(name, storage=storage) as flow:
        add(Parameter("number", default=2))
    return flow


def test_a_flow_is_built_pushed_and_read_back(home, storage):
    flow = make(storage())
    done = register(flow)
    assert done.status == "registered"
    loaded = load(flow.storage.serialize())
    assert loaded.get_flow("Docker Flow").run().is_successful()
