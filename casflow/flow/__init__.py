"""Flows: tasks, what they need from each other, and a small runner for them.

Owns what a user writes. Invariant: a flow holds nothing that differs between two processes that
build it from the same code: no clock, no random name, no storage, no state of a run.
"""

from __future__ import annotations

import sys

from casflow.flow.context import loading_flow
from casflow.flow.flows import Flow
from casflow.flow.single import CallablePackage
from casflow.flow.states import Failed, State, Success, TriggerFailed
from casflow.flow.tasks import Parameter, Task, task

__all__ = [
    "Failed",
    "Flow",
    "Parameter",
    "State",
    "Success",
    "Task",
    "TriggerFailed",
    "loading_flow",
    "task",
]

sys.modules[__name__].__class__ = CallablePackage  # `from casflow import flow` decorates
