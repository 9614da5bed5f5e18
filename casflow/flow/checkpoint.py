"""Which values of tasks are written, and where.

Owns the choice of a task's result: its own, that of the flow, that of the storage. Invariant: a
value is written only when somebody asked for it, and what cannot be a location is refused where
the flow is registered.
"""

from __future__ import annotations

from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

from casflow.errors import ConfigError

if TYPE_CHECKING:
    from casflow.flow.calls import RunnableFlow
    from casflow.flow.tasks import Task, Writer


def writer_of(flow: RunnableFlow, task: Task) -> Writer | None:
    """Return where the value of a task is written, or None when nobody asked for that."""
    named = task.result or flow.result
    wanted = task.checkpoint
    if wanted is None:
        wanted = named is not None or _checkpointing()
    return (named or default_writer(flow.storage)) if wanted else None


def default_writer(storage: Any) -> Writer:
    """Return the result of a flow's storage; for a flow without one, a folder of the home."""
    from casflow.results.local import LocalResult

    result: Writer | None = getattr(storage, "result", None)
    return result or LocalResult()


def check_locations(flow: RunnableFlow, storage: Any) -> None:
    """Check the location of every value that a run of a flow may write.

    Raises:
        ConfigError: One names what a run does not have; the message says which task's.
    """
    from casflow.flow.tasks import Parameter
    from casflow.results.location import check

    parameters = [each.name for each in flow.parameters()]
    fine: set[str] = set()
    for call in flow.calls:
        task = call.task
        if isinstance(task, Parameter) or task.checkpoint is False:
            continue
        writer = task.result or flow.result or getattr(storage, "result", None)
        location = getattr(writer, "location", None)
        if not isinstance(location, str) or location in fine:
            continue
        try:
            if check(location, parameters, partial(inputs_of, task, call.args, call.kwargs)):
                fine.add(location)
        except ConfigError as error:
            where = f"{flow.name}, task {call.slug}, {location}"
            raise ConfigError(error.what, where=where, hint=error.hint) from error


def inputs_of(task: Task, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that a task is called with, by name."""
    try:
        bound = signature(task.run).bind(*args, **kwargs)
    except (TypeError, ValueError):  # some built-in functions do not tell
        return dict(kwargs)
    return dict(bound.arguments)


def _checkpointing() -> bool:
    from casflow import config

    return config.load().checkpointing
