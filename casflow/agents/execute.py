"""One run in a process of its own: `python -m casflow.agents.execute`, started by an agent.

Owns the road from an order to the run's outcome. Invariant: the flow that runs is read through
the cache and verified, and its digest stands in the outcome; however the run ends, the registry
is told in one line without secrets, unless the run is no longer this process's.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from casflow import secrets
from casflow.agents import leash
from casflow.agents.report import Report
from casflow.errors import CasflowError, ConflictError, UnavailableError
from casflow.registry import Hold, RunState
from casflow.storage.known import load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from casflow.flow import State
    from casflow.storage.base import Opened

log = logging.getLogger("casflow.agents")

_PATIENCE = 120.0  # seconds that the end of a run waits for a registry that is away
_NAP = 0.5  # seconds


class _Formatter(logging.Formatter):
    """Writes log lines without the secrets that this process has seen."""

    def format(self, record: logging.LogRecord) -> str:
        return secrets.redact(super().format(record))


def main() -> int:
    """Carry out the order on standard input; return the exit code."""
    try:
        order = leash.take(leash.Order)
    except EOFError:
        return 1
    if order.report is not None:
        os.set_inheritable(order.report, False)  # noqa: FBT003 - it takes no keyword
    sys.argv = [sys.argv[0], str(order.run)]  # so that it looks the same, forked or not
    _log_to_stderr(order.run)
    report = _carry_out(order)
    try:
        _deliver(report, order)
    except ConflictError:  # cancelled, or taken from the agent, in the meantime
        return 0
    except CasflowError as error:
        log.error("%s", error)  # noqa: TRY400 - one line says it
        return error.exit_code
    log.info("%s: %s", report.state, report.message)
    return 0


def _log_to_stderr(run_id: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(f"run {run_id}: %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _carry_out(order: leash.Order) -> Report:
    outcome: dict[str, Any] = {}
    try:
        state, message = _execute(order, outcome)
    except (Exception, SystemExit) as error:
        log.debug("the run failed", exc_info=True)
        state, message = RunState.FAILED, f"Failed to load and execute flow run: {_said(error)}"
    return Report(state, secrets.redact(message), outcome)


def _deliver(report: Report, order: leash.Order) -> None:
    if order.report is not None:
        report.write(order.report)
        return
    from casflow.registry import Registry

    hold = Hold(order.run, order.attempt)
    state, message, outcome = report.state, report.message, report.outcome
    with Registry(order.registry) as registry:
        _patiently(lambda: registry.finish(hold, state, message=message, outcome=outcome))


def _execute(order: leash.Order, outcome: dict[str, Any]) -> tuple[RunState, str]:
    state = execute(order.flow, order.storage, order.parameters, outcome)
    if state is not None and state.is_successful():
        return RunState.SUCCESS, state.message
    return RunState.FAILED, failure(state)


def execute(
    flow: str,
    storage: Mapping[str, Any],
    parameters: Mapping[str, Any],
    outcome: dict[str, Any],
) -> State | None:
    """Read a flow through the cache and run it in this process.

    Args:
        flow: Name of the flow.
        storage: JSON form of the storage that holds it.
        parameters: The flow's parameters.
        outcome: Takes what is measured on the way, also when the flow fails.

    Raises:
        CasflowError: The flow could not be read, or a parameter does not fit.
    """
    place = load(storage)
    with secrets.given({name: secrets.Secret(name).get() for name in place.secrets}):
        opened = place.open_flow(flow)
        outcome |= _measured(opened)
        started = time.perf_counter()
        state = opened.flow.run(parameters=parameters)
        outcome["run_seconds"] = time.perf_counter() - started
    return state


def _measured(opened: Opened) -> dict[str, Any]:
    """Return what was read and what it took; a moving ref may give another digest each time."""
    commit = opened.reference.environment.get("commit")
    return {
        "digest": opened.reference.digest,
        **({} if commit is None else {"commit": commit}),
        "cache": "hit" if opened.hit else "miss",
        "downloaded_bytes": opened.downloaded,
        "load_seconds": opened.seconds,
    }


def failure(state: State | None) -> str:
    """Return one line on why a flow did not succeed."""
    if state is None:
        return "the flow did not run"
    return f"{state.message} ({_said(state.exception)})" if state.exception else str(state.message)


def _said(error: BaseException) -> str:
    return str(error) if isinstance(error, CasflowError) else f"{type(error).__name__}: {error}"


def _patiently(act: Callable[[], object]) -> None:
    """Do something at the registry, again and again while that is away."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            act()
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_NAP)
        else:
            return


if __name__ == "__main__":
    sys.exit(main())
