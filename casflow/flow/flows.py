"""The flow: tasks in the order of their calls.

Owns `Flow`. Invariant: a task stands after every task that it needs, because a call can only be
given tasks that are there; so the order of the calls is a topological order, and the pickled
state of a flow is the same in every process that builds it.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from casflow.errors import CasflowError, ConfigError
from casflow.flow import context
from casflow.flow.calls import Call, check_signature
from casflow.flow.prefect import (
    METHODS_OF_FLOWS,
    OF_FLOWS,
    OF_RUNS,
    absent,
    refuse,
    refuse_unknown,
)
from casflow.flow.tasks import Parameter, Task

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Executor

    from casflow.flow.states import State
    from casflow.flow.tasks import Writer
    from casflow.registration import Registration


class Flow:
    """Tasks and what they need from each other.

    Args:
        name: What the flow is called; registrations of one name are versions of one flow.
        storage: Where it is stored when it is registered.
        project: A folder, relative to that of the script that makes the flow: when it is given,
            the whole folder is stored, and agents run the script from a checkout of it.
        result: Where the values of tasks without a result of their own are written; to name it is
            to ask for that.

    Raises:
        ConfigError: The name cannot be one.
    """

    # On the class, so that they are there, and empty, in a flow that was unpickled.
    _storage: Any = None
    _result: Writer | None = None
    project: tuple[str, str] | None = None
    """Folder and script of a flow that is stored as its project."""

    def __init__(
        self,
        name: str,
        storage: Any = None,
        result: Writer | None = None,
        project: str | os.PathLike[str] | None = None,
        **unknown: Any,
    ) -> None:
        from casflow.reference import check_name

        refuse_unknown(unknown, "Flow", OF_FLOWS)
        self.name = check_name(name)
        self.storage = storage
        self.result = result
        if project is not None:
            script = os.path.abspath(sys._getframe(1).f_code.co_filename)  # noqa: PTH100, SLF001
            self.project = (os.path.join(os.path.dirname(script), project), script)  # noqa: PTH118, PTH120
        self._calls: dict[Task, Call] = {}
        self._named: dict[str, int] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if name in OF_FLOWS and not hasattr(type(self), name):
            raise refuse(name, "Flow", OF_FLOWS[name])
        super().__setattr__(name, value)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Answer for the attributes of a flow of Prefect 1."""
            raise absent(name, "Flow", {**OF_FLOWS, **METHODS_OF_FLOWS})

    def __eq__(self, other: object) -> bool:
        """Tell whether another flow has the same content: the same digest."""
        if not isinstance(other, Flow):
            return NotImplemented
        if self is other or self.name != other.name:
            return self is other
        try:
            return self.serialized_hash() == other.serialized_hash()
        except CasflowError:  # what cannot be stored is the same as itself only
            return False

    def __hash__(self) -> int:
        return hash(self.name)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in ("_storage", "storage", "result", "project"):
            state.pop(name, None)
        if state.get("_result") is None:  # a flow without one is the same as it always was
            state.pop("_result", None)
        return state

    def __enter__(self) -> Self:
        context.enter(self)
        return self

    def __exit__(self, *_: object) -> None:
        context.leave()

    def __repr__(self) -> str:
        return f"<Flow: {self.name}>"

    @property
    def storage(self) -> Any:
        """Where it is stored when it is registered.

        Raises:
            ConfigError: When set, to what is neither a storage nor the URL of one.
        """
        return self._storage

    @storage.setter
    def storage(self, value: Any) -> None:
        if isinstance(value, str) and "://" in value:
            from casflow.registration import storage_at

            value = storage_at(value)
        _check_kind(value, "storage", ("add_flow", "load_flow", "serialize"), "S3('bucket')")
        self._storage = value

    @property
    def result(self) -> Writer | None:
        """Where the values of tasks without a result of their own are written.

        Raises:
            ConfigError: When set, to what is no result.
        """
        return self._result

    @result.setter
    def result(self, value: Writer | None) -> None:
        _check_kind(value, "result", ("write",), "LocalResult('folder')")
        self._result = value

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls, each after those that it needs."""
        return tuple(self._calls.values())

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks, each after those that it needs."""
        return tuple(self._calls)

    @property
    def edges(self) -> tuple[tuple[Task, Task], ...]:
        """Pairs of tasks, of which the second needs the first."""
        return tuple((above, call.task) for call in self.calls for above in call.upstream)

    def parameters(self) -> tuple[Parameter, ...]:
        """Return the parameters."""
        return tuple(each for each in self._calls if isinstance(each, Parameter))

    def get_tasks(self, name: str | None = None, *, slug: str | None = None) -> list[Task]:
        """Return the tasks of a name, or of a slug; it may be none."""
        return [
            call.task
            for call in self.calls
            if name in (None, call.task.name) and slug in (None, call.slug)
        ]

    def add_task(self, task: Task) -> None:
        """Add a task that needs no arguments, unless it is there.

        Raises:
            ConfigError: It needs arguments, or is a parameter of a name that is taken.
        """
        if task in self._calls:
            return
        if isinstance(task, Parameter) and any(
            each.name == task.name for each in self.parameters()
        ):
            raise ConfigError(f"the flow has another parameter {task.name!r}", where=self.name)
        self.add_call(task, (), {})

    def add_call(
        self,
        task: Task,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        upstream_tasks: Iterable[Task] = (),
    ) -> None:
        """Add a task with its arguments, and before it the tasks in them that are not there.

        Raises:
            ConfigError: The task does not take these arguments.
        """
        check_signature(task, args, kwargs)
        ordinal = self._named.get(task.name, 0) + 1
        call = Call(task, f"{task.name}-{ordinal}", args, kwargs, upstream_tasks)
        for above in call.upstream:
            self.add_task(above)
        self._named[task.name] = ordinal
        self._calls[task] = call

    def serialized_hash(self, build: bool = False) -> str:  # noqa: ARG002, FBT001, FBT002 - the original's signature
        """Return the digest of the flow as it is now: the same in every process, and once built.

        Raises:
            ConfigError: It cannot be stored.
        """
        from casflow.serialize import digest

        return digest(self)

    def run(
        self,
        parameters: Mapping[str, Any] | None = None,
        executor: Executor | None = None,
        *,
        run_on_schedule: bool | None = None,
        sleep: Callable[[float], None] = time.sleep,
        **values: Any,
    ) -> State | None:
        """Run every task whose upstream tasks succeeded.

        Args:
            parameters: Values by name of parameter.
            executor: Where tasks run, those that can at once; in this thread when left out.
            run_on_schedule: Only False can be: a flow has no schedule.
            sleep: How to wait before a retry, given seconds.
            **values: Further values of parameters, by name.

        Returns:
            The flow's state: its `result` has the state of each task, by task. None when the code
            that calls is only being loaded.

        Raises:
            ConfigError: A parameter is unknown, or has no value.
        """
        from casflow.flow.runner import run

        if run_on_schedule:
            raise refuse("run_on_schedule", "Flow.run", OF_FLOWS["schedule"])

        names = {each.name for each in self.parameters()}
        refuse_unknown([each for each in values if each not in names], "Flow.run", OF_RUNS)
        if self._is_only_loaded("run"):
            return None
        return run(self, {**(parameters or {}), **values}, executor, sleep)

    def register(
        self,
        project_name: str | None = None,
        build: bool = True,  # noqa: FBT001, FBT002 - the original's signature
        labels: Iterable[str] | None = None,
        set_schedule_active: bool = True,  # noqa: FBT001, FBT002
        version_group_id: str | None = None,
        no_url: bool = False,  # noqa: FBT001, FBT002
        idempotency_key: str | None = None,
        **storage_options: Any,
    ) -> Registration | None:
        """Store the flow and tell the registry about it.

        Args:
            project_name: The project that it belongs to.
            build: Whether to store it; its storage must hold it already when not.
            labels: Labels of this registration.
            set_schedule_active: Nothing depends on it: flows have no schedules here.
            version_group_id: Nothing depends on it: the versions of a name belong together.
            no_url: Nothing depends on it: no page of a server is named.
            idempotency_key: Names the version instead of the flow's digest.
            **storage_options: Given to the default storage's class when the flow has no storage.

        Returns:
            What was registered, or None when the code that calls is only being loaded.

        Raises:
            ConfigError: The flow is still being built.
        """
        if context.find_flow() is not None:
            hint = "call register after the `with Flow(...)` block"
            raise ConfigError(
                "a flow cannot be registered while one is built", where=self.name, hint=hint
            )
        if self._is_only_loaded("register"):
            return None
        from casflow.registration import register

        del set_schedule_active, no_url
        if version_group_id not in (None, self.name):
            _logger().info("Flow %r: version_group_id counts for nothing", self.name)
        return register(
            self,
            project=project_name,
            build=build,
            labels=labels,
            idempotency_key=idempotency_key,
            **storage_options,
        )

    def _is_only_loaded(self, verb: str) -> bool:
        if not context.is_loading():
            return False
        _logger().warning(
            "Flow %r: %s did nothing, because its code is only being loaded", self.name, verb
        )
        return True


def _logger() -> logging.Logger:
    import logging  # a flow that is only built needs none

    return logging.getLogger("casflow.flow")


def _check_kind(value: Any, name: str, methods: tuple[str, ...], example: str) -> None:
    """Check that a value can be a flow's storage or result: one that is made, and ours.

    Raises:
        ConfigError: It cannot.
    """
    if value is None:
        return
    hint = f"write {name}={example}"
    if isinstance(value, type):
        what = f"{name} is the class {value.__name__}, which was not called"
        raise ConfigError(what, hint=f"write {name}={value.__name__}(...)")
    if not all(callable(getattr(value, each, None)) for each in methods):
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        raise ConfigError(f"a flow's {name} cannot be a {kind}", hint=hint)
