"""Words of Prefect 1 that casflow does not have, and what to use instead of each.

Invariant: such a word is answered with one line that says so; it is never accepted and ignored.
"""

from __future__ import annotations

from casflow.errors import NotOfferedError

_KEEP = "keep the Prefect flow and store it with casflow.register(flow)"
_RUNS = "start its runs with `casflow runs create`, from any scheduler"
NAMES = {
    **dict.fromkeys(("case", "switch", "merge", "ifelse", "mapped", "unmapped", "flatten"), _KEEP),
    **dict.fromkeys(("apply_map", "tags", "resource_manager", "context"), _KEEP),
    **dict.fromkeys(("engine", "executors", "run_configs", "schedules", "tasks"), _KEEP),
    **dict.fromkeys(("agent", "backend", "artifacts", "signals", "triggers"), _KEEP),
    "Client": "use the command line, or casflow.Store",
}
OF_FLOWS = {
    "schedule": _RUNS,
    "executor": "give it to flow.run(executor=...)",
    "run_config": "give labels to the storage, or options to the agent",
    "environment": "give labels to the storage, or options to the agent",
    "state_handlers": "look at the state that flow.run() returns",
    "on_failure": "look at the state that flow.run() returns",
    "terminal_state_handler": "look at the state that flow.run() returns",
    "reference_tasks": _KEEP,
    "edges": "call the tasks inside `with Flow(...)`",
    "tasks": "call the tasks inside `with Flow(...)`",
    "validate": "leave it out: a flow is valid by the way that it is built",
}


def refuse(name: str, where: str, instead: str) -> NotOfferedError:
    """Return the error of a word that casflow does not have."""
    hint = f"{instead} (see docs/from-prefect.md)"
    return NotOfferedError(f"casflow has no {name!r}", where=where, hint=hint)
