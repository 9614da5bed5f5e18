"""Words of Prefect 1 that casflow does not have, and what to use instead of each.

Owns also the modules that Prefect 1 had, such as `casflow.engine.results`. Invariant: a word that
casflow has works from where Prefect had it, as the same object; any other is answered with one
line that says what to use, and is never accepted and ignored.
"""

from __future__ import annotations

import importlib
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

from casflow.errors import NotOfferedAttributeError, NotOfferedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import ModuleType

_KEEP = "keep the Prefect flow and store it with casflow.register(flow)"
_RUNS = "start its runs with `casflow runs create`, from any scheduler"
_STATE = "look at the state that flow.run() returns"
_LABELS = "give labels to the storage, or options to the agent"
_CALLS = "call the tasks inside `with Flow(...)`"
_VALID = "leave it out: a flow is valid by the way that it is built"
_PRINT = "leave it out: what a task prints goes where the run's log goes"
_RESULT = "give the task a result with a location"
_LOG = "log with logging.getLogger(__name__), which goes where the run's log goes"
_EXECUTOR = "give one of concurrent.futures to flow.run(executor=...)"

NAMES = {
    **dict.fromkeys(("case", "switch", "merge", "ifelse", "mapped", "unmapped", "flatten"), _KEEP),
    **dict.fromkeys(("apply_map", "tags", "resource_manager", "tasks"), _KEEP),
    **dict.fromkeys(("agent", "backend", "artifacts", "signals", "triggers"), _KEEP),
    **dict.fromkeys(("models", "plugins", "utilities"), _KEEP),
    **dict.fromkeys(("context", "get_logger"), _LOG),
    "executors": _EXECUTOR,
    "run_configs": _LABELS,
    "schedules": _RUNS,
    "Client": "use the command line, or casflow.Store",
    "PrefectResult": "use LocalResult",
    "SecretResult": "read a Secret inside of the task",
    "ConstantResult": "use the value itself",
    "DateTimeParameter": "use Parameter, and read its text as a time inside of a task",
    "exceptions": "the errors are in casflow.errors",
    "prefect": "the words that are the same are in casflow itself",
}
"""What `casflow` itself is asked for, or one of its modules."""

MODULES = {
    "casflow.client": "casflow.secrets",
    "casflow.client.secrets": "casflow.secrets",
    "casflow.core": "casflow.flow",
    "casflow.core.flow": "casflow.flow",
    "casflow.core.parameter": "casflow.flow",
    "casflow.core.task": "casflow.flow",
    "casflow.engine": "casflow.flow",
    "casflow.engine.result": "casflow.results",
    "casflow.engine.results": "casflow.results",
    "casflow.engine.serializers": "casflow.results",
    "casflow.engine.state": "casflow.flow",
    "casflow.environments": "casflow.storage",
    "casflow.environments.storage": "casflow.storage",
}
"""Modules that Prefect 1 had, under casflow's name: the module that has their words."""

OF_FLOWS = {
    "schedule": _RUNS,
    "executor": "give it to flow.run(executor=...)",
    **dict.fromkeys(("run_config", "environment"), _LABELS),
    **dict.fromkeys(("state_handlers", "on_failure", "terminal_state_handler"), _STATE),
    "reference_tasks": _KEEP,
    **dict.fromkeys(("edges", "tasks"), _CALLS),
    "validate": _VALID,
    "log_stdout": _PRINT,
}
"""What a flow is given, as an argument or an attribute."""

METHODS_OF_FLOWS = {
    **dict.fromkeys(("add_edge", "chain", "set_dependencies", "update", "replace"), _CALLS),
    **dict.fromkeys(("set_reference_tasks", "slugs", "copy"), _KEEP),
    "run_agent": "start one with `casflow agent start`",
    "visualize": "look at flow.edges",
    "diagnostics": "look at `casflow config show`",
    "save": "use casflow.dumps(flow)",
    "load": "use casflow.loads(data)",
    "serialize": "use casflow.dumps(flow), or flow.storage.serialize()",
}

OF_TASKS = {
    "log_stdout": _PRINT,
    **dict.fromkeys(("cache_for", "cache_key", "cache_validator", "target"), _RESULT),
    **dict.fromkeys(("slug", "tags", "task_run_name"), "give the task a name"),
    "timeout": "end what takes too long inside of the task",
    **dict.fromkeys(("on_failure", "state_handlers"), _STATE),
    **dict.fromkeys(("trigger", "skip_on_upstream_skip", "nout", "task_args", "retry_on"), _KEEP),
}
"""What a task is given, as an argument."""

OF_RUNS = dict.fromkeys(
    ("runner_cls", "return_tasks", "task_states", "task_contexts", "task_runner_state_handlers"),
    _KEEP,
)
"""What the run of a flow is given, as an argument."""

OF_CALLS = {"task_args": "give them to `@task(...)`", "flow": _CALLS, "mapped": _KEEP}
"""What the call of a task is given, besides the arguments of its function."""

_ENDED = "a state here is that of an end: ask is_successful() or is_failed()"
OF_STATES = {
    **dict.fromkeys(
        ("is_finished", "is_running", "is_pending", "is_queued", "is_submitted"), _ENDED
    ),
    **dict.fromkeys(("is_scheduled", "is_retrying", "is_looped", "is_meta_state"), _ENDED),
    **dict.fromkeys(("is_skipped", "is_mapped", "is_cached", "map_states"), _KEEP),
    "load_result": "the value is in `result`",
}
"""What the state of a run is asked."""

OPERATORS = {
    "__add__": "+",
    "__radd__": "+",
    "__sub__": "-",
    "__rsub__": "-",
    "__mul__": "*",
    "__rmul__": "*",
    "__truediv__": "/",
    "__rtruediv__": "/",
    "__floordiv__": "//",
    "__rfloordiv__": "//",
    "__mod__": "%",
    "__rmod__": "%",
    "__pow__": "**",
    "__rpow__": "**",
    "__and__": "&",
    "__rand__": "&",
    "__or__": "|",
    "__ror__": "|",
    "__lt__": "<",
    "__le__": "<=",
    "__gt__": ">",
    "__ge__": ">=",
}
"""What Prefect 1 made a task of, between tasks."""

METHODS_OF_TASKS = {
    **dict.fromkeys(("map", "bind", "pipe", "copy", "is_equal", "not_equal", "or_"), _KEEP),
    **dict.fromkeys(("set_upstream", "set_downstream", "set_dependencies"), _CALLS),
    "logger": _LOG,
}


def find_module(name: str) -> ModuleSpec | None:
    """Return where a module of Prefect 1 under casflow's name comes from, or None if it had none.

    Raises:
        NotOfferedError: It had one, whose words casflow does not have.
    """
    if name in MODULES:
        loader: Any = _ModuleLoader()
        return ModuleSpec(name, loader, is_package=True)
    parent, _, word = name.rpartition(".")
    if parent in MODULES or (parent == "casflow" and word in NAMES):
        raise refuse(word, parent, NAMES.get(word, _KEEP))
    return None


class _ModuleLoader:
    """Makes a module that has the words of another one."""

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave making it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Let it find what it is asked for in the other one."""
        name = module.__name__
        home = importlib.import_module(MODULES[name])

        def find(word: str) -> Any:
            if f"{name}.{word}" in MODULES:
                return importlib.import_module(f"{name}.{word}")
            if word.startswith("__") and word != "__all__":
                raise AttributeError(word)
            if word in NAMES or not hasattr(home, word):
                raise refuse(word, name, NAMES.get(word, _KEEP))
            return getattr(home, word)

        module.__getattr__ = find  # type: ignore[method-assign]


def refuse(name: str, where: str, instead: str) -> NotOfferedError:
    """Return the error of a word that casflow does not have."""
    return NotOfferedError(f"casflow has no {name!r}", where=where, hint=_hint(instead))


def refuse_unknown(names: Iterable[str], where: str, known: Mapping[str, str]) -> None:
    """Refuse keyword arguments that are not taken; words of Prefect 1 are told what to use.

    Raises:
        NotOfferedError: One is such a word.
        TypeError: One is any other.
    """
    for name in names:
        if name in known:
            raise refuse(name, where, known[name])
        raise TypeError(f"{where}() got an unexpected keyword argument {name!r}")


def absent(name: str, where: str, known: Mapping[str, str]) -> AttributeError:
    """Return the error of an attribute that is not there; a word of Prefect 1 says what to use."""
    if name in known:
        what = f"casflow has no {name!r}"
        return NotOfferedAttributeError(what, where=where, hint=_hint(known[name]))
    return AttributeError(f"{where!r} object has no attribute {name!r}")


def _hint(instead: str) -> str:
    return f"{instead} (see docs/from-prefect.md)"
