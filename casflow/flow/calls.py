"""Calls: one use of a task in a flow, and the arguments that it was given.

Owns how tasks inside arguments are found, and later replaced by their values. Invariant: a call
never changes after it was made; lists, tuples and dictionaries that hold tasks were copied, so
what the user does to them afterwards changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from casflow.errors import ConfigError
from casflow.flow.prefect import OF_CALLS, refuse
from casflow.flow.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from casflow.flow.tasks import Parameter, Writer


class Call:
    """One use of a task.

    Args:
        task: The task.
        slug: Its name and ordinal among the tasks of that name, unique in the flow.
        args: Positional arguments, with tasks standing for their values.
        kwargs: Keyword arguments, likewise.
        after: Tasks that must succeed first, besides those in the arguments.

    Attributes:
        upstream: Every task that must succeed first, once each.
    """

    __slots__ = ("args", "kwargs", "slug", "task", "upstream")

    def __init__(
        self,
        task: Task,
        slug: str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        after: Iterable[Task] = (),
    ) -> None:
        found: list[Task] = []
        self.task = task
        self.slug = slug
        try:
            self.args: tuple[Any, ...] = _copy_arguments(args, found)
            self.kwargs: dict[str, Any] = _copy_arguments(kwargs or {}, found)
        except RecursionError as error:
            raise ConfigError("the arguments contain themselves", where=slug) from error
        self.upstream = tuple(dict.fromkeys([*found, *_check_tasks(after, slug)]))

    def arguments(self, value_of: Callable[[Task], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with values in the place of tasks."""
        return _substitute(self.args, value_of), _substitute(self.kwargs, value_of)


class RunnableFlow(Protocol):
    """What a run needs to know of a flow."""

    name: str
    storage: Any
    result: Writer | None

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls, each after those that it needs."""

    def parameters(self) -> tuple[Parameter, ...]:
        """Return the parameters."""


def check_signature(task: Task, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Check that a task takes these arguments.

    Raises:
        ConfigError: It does not, or it has no `run`.
    """
    from inspect import signature

    if not callable(getattr(task, "run", None)):
        raise ConfigError("the task has no run method", where=task.name)
    try:
        accepted = signature(task.run)
    except ValueError:  # some built-in functions do not tell
        return
    try:
        accepted.bind(*args, **kwargs)
    except TypeError as error:
        for word in kwargs.keys() & OF_CALLS.keys() - accepted.parameters.keys():
            raise refuse(word, task.name, OF_CALLS[word]) from error
        raise ConfigError(f"task called with wrong arguments ({error})", where=task.name) from error


def _check_tasks(tasks: Iterable[Task], slug: str) -> list[Task]:
    listed = list(tasks)
    for each in listed:
        if not isinstance(each, Task):
            raise ConfigError(f"not a task in upstream_tasks: {each!r}", where=slug)
    return listed


def _copy_arguments(value: Any, found: list[Task]) -> Any:
    if isinstance(value, Task):
        found.append(value)
        return value
    before = len(found)
    copied = _map_container(value, lambda each: _copy_arguments(each, found))
    return copied if len(found) > before else value


def _substitute(value: Any, value_of: Callable[[Task], Any]) -> Any:
    if isinstance(value, Task):
        return value_of(value)
    return _map_container(value, lambda each: _substitute(each, value_of))


def _map_container(value: Any, change: Callable[[Any], Any]) -> Any:
    # Subclasses such as named tuples cannot be rebuilt by a rule; they count as plain values.
    kind = type(value)
    if kind is list or kind is tuple:
        return kind([change(each) for each in value])
    if kind is dict:
        return {key: change(each) for key, each in value.items()}
    return value
