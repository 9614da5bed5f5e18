"""`@casflow.flow`: a flow of one function.

Owns the decorator, and the module that is it: `from casflow import flow` gives the package
`casflow.flow`, since a package's own modules come first, so the package itself can be called.
Invariant: what is made is a plain `Flow` with one task, whose parameters are the function's.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from casflow.errors import ConfigError
from casflow.flow.flows import Flow
from casflow.flow.tasks import Parameter, task

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable


def flow(
    function: Callable[..., Any] | None = None, /, *, name: str | None = None, **options: Any
) -> Any:
    """Make a function a flow with that one task, as `@flow` or `@flow(name="etl")`.

    Args:
        function: The function; its parameters are those of the flow.
        name: Name of the flow; that of the function when left out.
        options: As of `Flow`.

    Returns:
        The flow; `run` runs it.

    Raises:
        ConfigError: It is not a plain function, or takes any number of arguments.
    """
    if function is None:
        return lambda function: flow(function, name=name, **options)
    import inspect  # not with `casflow.flow`: a flow that is only loaded does not need it

    step = task(function)
    parameters = inspect.signature(function).parameters.values()
    with Flow(name or function.__name__, **options) as made:
        given: dict[str, Any] = {each.name: _parameter(each) for each in parameters}
        step(**given)
    return made


def _parameter(parameter: inspect.Parameter) -> Parameter:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        hint = "name each parameter of the flow"
        raise ConfigError("a flow takes no *args and **kwargs", where=parameter.name, hint=hint)
    if parameter.kind is parameter.POSITIONAL_ONLY:
        hint = "leave out the /"
        raise ConfigError("a parameter of a flow has a name", where=parameter.name, hint=hint)
    if parameter.default is parameter.empty:
        return Parameter(parameter.name)
    return Parameter(parameter.name, default=parameter.default)


class CallablePackage(ModuleType):
    """The package `casflow.flow`, which is the decorator, too."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Make a function a flow; see `flow`."""
        return flow(*args, **options)

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (self.__name__,)
