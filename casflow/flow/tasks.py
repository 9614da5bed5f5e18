"""Tasks: functions that can stand in a flow, and the values that a run is given.

Owns `Task`, the `task` decorator and `Parameter`. Invariant: a task knows how to run and nothing
of the flows that it stands in; calling it inside a flow adds a copy, so one definition can be
called many times.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self, overload

from casflow.errors import ConfigError
from casflow.flow.context import find_flow, get_flow
from casflow.flow.prefect import (
    METHODS_OF_TASKS,
    OF_TASKS,
    OPERATORS,
    absent,
    refuse,
    refuse_unknown,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta

    Delay = timedelta | float | None

_ABSENT: Any = object()


class Writer(Protocol):
    """Where a task's value is kept: a result of `casflow.results`, or anything like one."""

    def write(self, value: Any, /, **context: Any) -> Any:
        """Keep a value; what is returned tells the `location`."""


class Task:
    """A step of a flow. Subclass it and define `run`, or decorate a function with `task`.

    Args:
        name: What it is called; the name of the class when left out.
        max_retries: How often it is run again after a failure.
        retry_delay: Time before each retry: a timedelta, or seconds.
        result: Where its values are written; to name it is to ask for that.
        checkpoint: Whether its values are written, to the flow's or its storage's result; when
            left out, only where a result was named for the task or flow, or the setting
            `checkpointing` asks for it.

    Raises:
        ConfigError: One of these cannot be.
    """

    run: Callable[..., Any]

    # On the class, so that a task that says nothing is pickled without it.
    checkpoint: bool | None = None

    def __init__(
        self,
        name: str | None = None,
        *,
        max_retries: int = 0,
        retry_delay: Delay = None,
        result: Writer | None = None,
        checkpoint: bool | None = None,
        **unknown: Any,
    ) -> None:
        refuse_unknown(unknown, "task", OF_TASKS)
        if checkpoint is not None:
            self.checkpoint = checkpoint
        self.name = _check_name(type(self).__name__ if name is None else name)
        self.max_retries = _check_retries(max_retries, self.name)
        self.retry_delay = _seconds(retry_delay, self.name)
        self.result = result

    def __call__(self, *args: Any, upstream_tasks: Iterable[Task] = (), **kwargs: Any) -> Self:
        """Add a call of this task to the flow that is being built.

        Args:
            *args: Arguments of `run`; tasks among them, or inside lists, tuples and dictionaries,
                stand for their values.
            upstream_tasks: Tasks that must succeed first, without giving a value.
            **kwargs: As `args`.

        Returns:
            The call, which stands for its value in further calls.

        Raises:
            ConfigError: No flow is being built, or `run` does not take these arguments.
        """
        call = copy.copy(self)
        get_flow().add_call(call, args, kwargs, upstream_tasks)
        return call

    def __getitem__(self, key: Any) -> Task:
        # Other keys may print differently in every process.
        shown = repr(key) if isinstance(key, (str, int)) else "…"
        return _Item(name=f"{self.name}[{shown}]")(self, key)

    def __iter__(self) -> NoReturn:
        # `x[0]` makes Python believe that a task can be iterated over; it would never end.
        raise refuse("a, b = task()", self.name, "take the items one by one, as x[0] and x[1]")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name}>"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Answer for the methods of a task of Prefect 1."""
            raise absent(name, type(self).__name__, METHODS_OF_TASKS)


def _refuse_operator(symbol: str) -> Callable[[Task, Any], NoReturn]:
    def operate(self: Task, other: Any) -> NoReturn:  # noqa: ARG001
        raise refuse(symbol, self.name, "write a task that computes it of the values")

    return operate


for _method, _symbol in OPERATORS.items():
    setattr(Task, _method, _refuse_operator(_symbol))


class FunctionTask(Task):
    """A task made of a function."""

    def __init__(
        self, function: Callable[..., Any], name: str | None = None, **options: Any
    ) -> None:
        from inspect import iscoroutinefunction

        if not callable(function):
            raise ConfigError("only a function can be made a task", where=repr(function))
        name = getattr(function, "__name__", None) if name is None else name
        super().__init__(name, **options)
        if iscoroutinefunction(function):
            hint = "call asyncio.run in a plain function"
            raise ConfigError("an async function cannot be a task", where=self.name, hint=hint)
        self.run = function


class _Item(Task):
    """One item of what another task returns."""

    def run(self, value: Any, key: Any) -> Any:
        """Take the item."""
        return value[key]


class Parameter(Task):
    """A value that a run of the flow is given; it joins the flow that is being built.

    Args:
        name: What it is called in `flow.run(parameters={...})`.
        default: Its value when a run gives none; without one, every run must give a value.
        required: Whether every run must give a value although there is a default.
    """

    def __init__(
        self,
        name: str,
        default: Any = _ABSENT,
        required: bool | None = None,  # noqa: FBT001 - the original's signature
        **unknown: Any,
    ) -> None:
        refuse_unknown(unknown, "Parameter", OF_TASKS)
        super().__init__(name)
        self.required = default is _ABSENT if required is None else required
        self.default = None if default is _ABSENT else default
        flow = find_flow()
        if flow is not None:
            flow.add_task(self)

    def run(self) -> Any:
        """Return the default."""
        return self.default

    def __call__(self, *args: Any, upstream_tasks: Iterable[Task] = (), **kwargs: Any) -> Self:
        """Add this parameter to the flow that is being built."""
        if args or kwargs or tuple(upstream_tasks):
            raise ConfigError("a parameter takes no arguments", where=self.name)
        get_flow().add_task(self)
        return self


@overload
def task(function: Callable[..., Any], /) -> FunctionTask: ...
@overload
def task(
    *,
    name: str | None = None,
    max_retries: int = 0,
    retry_delay: Delay = None,
    result: Writer | None = None,
    checkpoint: bool | None = None,
) -> Callable[[Callable[..., Any]], FunctionTask]: ...
def task(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a task, as `@task` or `@task(max_retries=3, retry_delay=10)`.

    Raises:
        ConfigError: It is not a plain function, or an option of `Task` cannot be.
    """
    if function is not None:
        return FunctionTask(function, **options)
    return lambda function: FunctionTask(function, **options)


def _check_name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ConfigError("the name of a task is text and not empty", where=repr(name))
    return name


def _check_retries(count: object, name: str) -> int:
    if not isinstance(count, int) or count < 0:
        raise ConfigError(f"max_retries is a number from 0 on, not {count!r}", where=name)
    return count


def _seconds(delay: Delay, name: str) -> float:
    if delay is None:
        return 0.0
    seconds = delay if isinstance(delay, (int, float)) else delay.total_seconds()
    if not seconds >= 0:
        raise ConfigError(f"retry_delay is a time from 0 on, not {delay!r}", where=name)
    return float(seconds)
