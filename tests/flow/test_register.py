"""Registering from a flow: what reaches the registration, and what it answers."""

from __future__ import annotations

import operator

import pytest

from casflow.flow import Flow, task


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("CASFLOW_HOME", str(tmp_path / "home"))


def make_flow():
    with Flow("sum") as flow:
        task(operator.add)(1, 2)
    return flow


def test_a_flow_registers_itself():
    made = make_flow().register("project", labels=["a"])
    assert (made.flow, made.project, made.version, made.is_new) == ("sum", "project", 1, True)


def test_the_same_flow_again_is_unchanged():
    first = make_flow().register()
    again = make_flow().register()
    assert (again.is_new, again.version, again.digest) == (False, 1, first.digest)


def test_what_registration_leaves_on_a_flow_does_not_change_it():
    flow = make_flow()
    first = flow.register()
    flow.run()
    assert flow.register().digest == first.digest
