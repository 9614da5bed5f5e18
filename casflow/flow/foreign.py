"""Objects of others that are stored and run as flows: a Prefect flow, a function.

Owns what counts as one, where flows are looked for and where one is named, and how it is run.
Invariant: such an object is never changed, and its run ends in a state of casflow.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from casflow.flow.states import Failed, State, Success

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOADING = "PREFECT__CONTEXT__LOADING_FLOW"


def is_flow(value: object) -> bool:
    """Tell whether an object is what is looked for in a script or module.

    That is an object, not a class, whose class or one of its bases is called `Flow`, which has a
    name and can be run or called: a flow of casflow, of Prefect 1, a `@flow` of Prefect 3.
    """
    is_called_flow = any(base.__name__ == "Flow" for base in type(value).__mro__)
    return is_called_flow and not isinstance(value, type) and can_be_flow(value)


def can_be_flow(value: object) -> bool:
    """Tell whether an object that somebody named can be stored and run: it has a name, and runs."""
    name = flow_name(value)
    runs = callable(value) or callable(getattr(value, "run", None))
    return isinstance(name, str) and runs and not isinstance(value, type)


def flow_name(flow: Any) -> Any:
    """Return the name of anything that can be stored as a flow: its `name`, or a function's own."""
    return getattr(flow, "name", None) or getattr(flow, "__name__", None)


@contextmanager
def loading_of_others() -> Iterator[None]:
    """Let Prefect 1 know, too, that code is only loaded: its flows then do not run or register."""
    before = os.environ.get(_LOADING)
    os.environ[_LOADING] = "true"  # for a Prefect that the code will import
    for each in _contexts_of_prefect():
        each["loading_flow"] = True
    try:
        yield
    finally:
        os.environ.pop(_LOADING)
        if before is not None:
            os.environ[_LOADING] = before
        for each in _contexts_of_prefect():
            each.pop("loading_flow", None)


def _contexts_of_prefect() -> Iterator[MutableMapping[str, Any]]:
    module = sys.modules.get("prefect")
    settings = getattr(getattr(module, "config", None), "context", None)
    for each in (getattr(module, "context", None), settings):
        if isinstance(each, MutableMapping):
            yield each


def run(flow: Any, parameters: Mapping[str, Any]) -> State:
    """Run an object by its `run` method, or call it, once and now, whatever its schedule."""
    method = getattr(flow, "run", None)
    if not callable(method):
        return _call(flow, parameters)
    taken = inspect.signature(method).parameters
    options: dict[str, Any] = {"run_on_schedule": False} if "run_on_schedule" in taken else {}
    if "parameters" not in taken:
        return _call(method, {**parameters, **options})
    return _state_of(method(parameters=dict(parameters), **options))


def _call(function: Any, parameters: Mapping[str, Any]) -> State:
    try:
        value = function(**parameters)
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
    except Exception as error:  # noqa: BLE001 - it is the run's outcome
        return Failed.from_exception(error)
    return _state_of(value)


def _state_of(value: Any) -> State:
    """Return what a run returned as a state: a state of another library, or a plain value."""
    if isinstance(value, State):
        return value
    if not callable(getattr(value, "is_successful", None)):
        return Success("The flow returned", result=value)
    message, result = str(getattr(value, "message", "")), getattr(value, "result", None)
    if value.is_successful():
        return Success(message or "All tasks succeeded", result=result)
    return Failed(message or "The flow failed", result=result, exception=_first_error(result))


def _first_error(result: Any) -> BaseException | None:
    """Return the exception among the states of tasks, as a state of Prefect 1 holds them.

    One that only says that another task failed is taken for want of a better one.
    """
    if isinstance(result, BaseException):
        return result
    states = result.values() if isinstance(result, dict) else ()
    errors = [_first_error(getattr(each, "result", None)) for each in states]
    found = [each for each in errors if each is not None]
    causes = [each for each in found if type(each).__name__ != "TRIGGERFAIL"]
    return next(iter(causes or found), None)
