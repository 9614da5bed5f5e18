"""What surrounds a call: the flows that are being built here, and whether a flow is being loaded.

Owns the stack of flows that are being built, and the mark. Invariant: they belong to one thread
(or asynchronous task), and leaving a `with` block restores what was there before it.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from casflow import building
from casflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Builder(Protocol):
    """A flow that is being built, as far as its tasks need to know it."""

    def add_task(self, task: Any) -> None:
        """Add a task that needs no arguments."""

    def add_call(self, task: Any, args: Any, kwargs: Any, upstream_tasks: Any = ()) -> None:
        """Add a task with its arguments."""


_loading: ContextVar[bool] = ContextVar("casflow_loading", default=False)


def enter(flow: Builder) -> None:
    """Make a flow the one that task calls are added to."""
    building.flows.set((*building.flows.get(), flow))


def leave() -> None:
    """Go back to the flow that was being built before."""
    building.flows.set(building.flows.get()[:-1])


def find_flow() -> Builder | None:
    """Return the flow that is being built here, or None."""
    stack: tuple[Builder, ...] = building.flows.get()
    return stack[-1] if stack else None


def get_flow() -> Builder:
    """Return the flow that is being built here.

    Raises:
        ConfigError: None is.
    """
    flow = find_flow()
    if flow is None:
        hint = "call tasks inside `with Flow(...)`, or call the task's run method"
        raise ConfigError("a task was called outside of a flow", hint=hint)
    return flow


@contextmanager
def loading_flow() -> Iterator[None]:
    """Mark that code runs only to get at its flows: they neither run nor register themselves."""
    token = _loading.set(True)
    try:
        yield
    finally:
        _loading.reset(token)


def is_loading() -> bool:
    """Tell whether code runs here only to get at its flows."""
    return _loading.get()
