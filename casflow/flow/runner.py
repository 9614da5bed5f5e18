"""The runner: takes the tasks of a run in order, in this thread or in an executor.

Invariant: every task of a run ends in a state, and the run returns one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from casflow.flow.run import Run, attempt
from casflow.flow.states import State

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from casflow.flow.calls import RunnableFlow
    from casflow.flow.run import Sleep

log = logging.getLogger("casflow.flow")


def run(
    flow: RunnableFlow, parameters: Mapping[str, Any], executor: Executor | None, sleep: Sleep
) -> State:
    """Run a flow, in this thread or in an executor.

    Raises:
        ConfigError: A parameter is unknown, or has no value.
    """
    current = Run(flow, parameters, sleep)
    log.info("Flow %r: started", flow.name)
    if executor is None:
        _run_sequentially(current)
    else:
        from casflow.flow.parallel import run_in

        run_in(executor, current)
    state = current.outcome()
    log.info("Flow %r: %r", flow.name, state)
    return state


def _run_sequentially(current: Run) -> None:
    for task in current.calls:
        begun = current.begin(task)
        current.end(task, begun if isinstance(begun, State) else attempt(begun))
