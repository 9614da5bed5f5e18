"""Words of Prefect 1 that casflow does not have, and what to use instead of each.

Invariant: such a word is answered with one line that says so; it is never accepted and ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from casflow.errors import NotOfferedAttributeError, NotOfferedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_KEEP = "keep the Prefect flow and store it with casflow.register(flow)"
_RUNS = "start its runs with `casflow runs create`, from any scheduler"
_STATE = "look at the state that flow.run() returns"
_LABELS = "give labels to the storage, or options to the agent"
_CALLS = "call the tasks inside `with Flow(...)`"
_VALID = "leave it out: a flow is valid by the way that it is built"
_PRINT = "leave it out: what a task prints goes where the run's log goes"
_RESULT = "give the task a result with a location"

NAMES = {
    **dict.fromkeys(("case", "switch", "merge", "ifelse", "mapped", "unmapped", "flatten"), _KEEP),
    **dict.fromkeys(("apply_map", "tags", "resource_manager", "context"), _KEEP),
    **dict.fromkeys(("engine", "executors", "run_configs", "schedules", "tasks"), _KEEP),
    **dict.fromkeys(("agent", "backend", "artifacts", "signals", "triggers"), _KEEP),
    **dict.fromkeys(("models", "plugins", "core", "utilities", "environments"), _KEEP),
    "Client": "use the command line, or casflow.Store",
    "client": "use casflow.secrets.Secret for secrets, and the command line for the rest",
    "exceptions": "the errors are in casflow.errors",
    "prefect": "the words that are the same are in casflow itself",
}
"""What `casflow` itself is asked for."""

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

METHODS_OF_TASKS = {
    **dict.fromkeys(("map", "bind", "pipe", "copy", "is_equal", "not_equal", "or_"), _KEEP),
    **dict.fromkeys(("set_upstream", "set_downstream", "set_dependencies"), _CALLS),
}


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
