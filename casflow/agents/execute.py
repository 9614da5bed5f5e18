"""One run in a process of its own: `python -m casflow.agents.execute`, started by an agent.

Owns the way from the specification of a run to its outcome. Invariant: the flow
that runs is read through the cache and verified, and its digest stands in the outcome; however the
run ends, its message is one line without secrets.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from itertools import islice
from typing import TYPE_CHECKING, Any

from casflow import secrets
from casflow.agents import lifetime
from casflow.agents.report import Report
from casflow.errors import CasflowError, ConflictError, UnavailableError
from casflow.flow import Flow
from casflow.redaction import redact_value
from casflow.registry import RunAttempt, RunState, message_line
from casflow.storage.plugins import load
from casflow.streams import RedactedStream, SafeStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from casflow.flow import State
    from casflow.storage.base import LoadedFlow

log = logging.getLogger("casflow.agents")

_TIMEOUT = 120.0  # seconds that the end of a run waits for a registry that is away
_RETRY_INTERVAL = 0.5  # seconds
_MOST_RESULTS = 10_000  # in one record


def main() -> int:
    """Run what standard input specifies; return the exit code."""
    try:
        spec = lifetime.receive(lifetime.RunSpec)
    except EOFError:
        return 1
    if spec.report is not None:
        os.set_inheritable(spec.report, False)  # noqa: FBT003 - it takes no keyword
    sys.argv = [sys.argv[0], str(spec.run)]  # so that it looks the same, forked or not
    _log_to_stderr(spec.run)
    with _redacted_output():
        report = _run(spec)
    try:
        _send_report(report, spec)
    except ConflictError:  # cancelled, or taken from the agent, in the meantime
        return 0
    except CasflowError as error:
        log.error("%s", error)  # noqa: TRY400 - one line says it
        return error.exit_code
    log.info("%s: %s", report.state, report.message)
    return 0


def _log_to_stderr(run_id: int) -> None:
    handler = logging.StreamHandler(SafeStream(sys.stderr))
    handler.setFormatter(logging.Formatter(f"run {run_id}: %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


@contextmanager
def _redacted_output() -> Iterator[None]:
    """Keep known secrets out of what a flow prints, which its agent keeps, line by line."""
    out, err = RedactedStream(sys.stdout), RedactedStream(sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)
    with redirect_stdout(out), redirect_stderr(err):
        yield


def _run(spec: lifetime.RunSpec) -> Report:
    outcome: dict[str, Any] = {}
    try:
        state, message = _execute(spec, outcome)
    except (Exception, SystemExit) as error:
        log.debug("the run failed", exc_info=True)
        state, message = RunState.FAILED, f"Failed to load and execute flow run: {_message(error)}"
    return Report(state, message_line(message), redact_value(outcome))


def _send_report(report: Report, spec: lifetime.RunSpec) -> None:
    if spec.report is not None:
        report.write(spec.report)
        return
    from casflow.registry import Registry

    attempt = RunAttempt(spec.run, spec.attempt)
    state, message, outcome = report.state, report.message, report.outcome
    with Registry(spec.registry) as registry:
        _retry_while_unavailable(
            lambda: registry.finish(attempt, state, message=message, outcome=outcome)
        )


def _execute(spec: lifetime.RunSpec, outcome: dict[str, Any]) -> tuple[RunState, str]:
    state = execute(spec.flow, spec.storage, spec.parameters, outcome)
    if state is not None and state.is_successful():
        return RunState.SUCCESS, state.message
    return RunState.FAILED, failure(state)


def execute(
    flow: str,
    storage: Mapping[str, Any],
    parameters: Mapping[str, Any],
    outcome: dict[str, Any],
    *,
    digest: str | None = None,
) -> State | None:
    """Read a flow through the cache and run it in this process.

    Args:
        flow: Name of the flow.
        storage: JSON form of the storage that holds it.
        parameters: The flow's parameters.
        outcome: Takes what is measured on the way, also when the flow fails.
        digest: The only content that may run; what the storage names now when left out.

    Raises:
        CasflowError: The flow could not be read, or a parameter does not fit.
    """
    place = load(storage)
    with secrets.given({name: secrets.Secret(name).get() for name in place.secrets}):
        opened = place.load_flow(flow, digest=digest)
        outcome |= _measured(opened)
        started = time.perf_counter()
        state = run_flow(opened.flow, parameters)
        outcome["run_seconds"] = time.perf_counter() - started
        outcome |= _written(opened.flow, state)
    return state


def run_flow(flow: Any, parameters: Mapping[str, Any]) -> State | None:
    """Run a flow of casflow, or any object that was stored as one."""
    from casflow.flow import Flow

    if isinstance(flow, Flow):
        return flow.run(parameters=parameters)
    from casflow.flow import foreign

    return foreign.run(flow, parameters)


def _measured(opened: LoadedFlow) -> dict[str, Any]:
    """Return what was read and what it took; a moving ref may give another digest each time."""
    commit = opened.reference.environment.get("commit")
    return {
        "digest": opened.reference.digest,
        **({} if commit is None else {"commit": commit}),
        "cache": "hit" if opened.hit else "miss",
        "downloaded_bytes": opened.downloaded,
        "load_seconds": opened.seconds,
    }


def _written(flow: Flow, state: State | None) -> dict[str, Any]:
    """Return where the values of tasks were written, with the digests to read them by."""
    states = state.result if state is not None else None
    if not isinstance(flow, Flow) or not isinstance(states, dict):
        return {}
    ended = ((call.slug, states.get(call.task)) for call in flow.calls)
    kept = {
        slug: {"location": each.location, "digest": each.digest}
        for slug, each in ended
        if each is not None and each.location is not None
    }
    if len(kept) > _MOST_RESULTS:
        log.warning("of %d results the first %d are recorded", len(kept), _MOST_RESULTS)
        kept = dict(islice(kept.items(), _MOST_RESULTS))
    return {"results": kept} if kept else {}


def failure(state: State | None) -> str:
    """Return one line on why a flow did not succeed."""
    if state is None:
        return "the flow did not run"
    message = str(state.message)
    return f"{message} ({_message(state.exception)})" if state.exception else message


def _message(error: BaseException) -> str:
    return str(error) if isinstance(error, CasflowError) else f"{type(error).__name__}: {error}"


def _retry_while_unavailable(act: Callable[[], object]) -> None:
    """Call `act` until the registry can be reached, for at most two minutes."""
    deadline = time.monotonic() + _TIMEOUT
    while True:
        try:
            act()
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_INTERVAL)
        else:
            return


if __name__ == "__main__":
    sys.exit(main())
