"""One run of a flow: the jobs of its tasks, and the state that each of them ended in.

Owns parameters, retries, what a failure does to the tasks that need it, and writing values.
Invariant: an exception of a task never leaves the run; it is the task's state.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from casflow.errors import CasflowError, ConfigError
from casflow.flow.checkpoint import inputs_of, writer_of
from casflow.flow.states import Failed, State, Success, TriggerFailed
from casflow.flow.tasks import Parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from casflow.flow.calls import Call, RunnableFlow
    from casflow.flow.tasks import Task, Writer

    Sleep = Callable[[float], None]

log = logging.getLogger("casflow.flow")


class Job:
    """All that one task needs to run anywhere.

    Args:
        call: Its place in the flow.
        arguments: Positional and keyword arguments, as values.
        result: Where to write what it returns.
        context: What a result's location may be made of.
        sleep: How to wait before a retry.
    """

    def __init__(
        self,
        call: Call,
        arguments: tuple[tuple[Any, ...], dict[str, Any]],
        result: Writer | None,
        context: dict[str, Any],
        sleep: Sleep,
    ) -> None:
        self.task = call.task
        self.slug = call.slug
        self.args, self.kwargs = arguments
        self.result = result
        self.context = context
        self.sleep = sleep


class Run:
    """One run of a flow: the values it was given, and how its tasks ended so far."""

    def __init__(self, flow: RunnableFlow, parameters: Mapping[str, Any], sleep: Sleep) -> None:
        self.flow = flow
        self.calls = {call.task: call for call in flow.calls}
        self.values = _check_parameters(flow, parameters)
        self.states: dict[Task, State] = {}
        self.sleep = sleep
        self.facts: dict[str, Any] = {
            "flow_name": flow.name,
            "flow_run_id": str(uuid4()),
            "scheduled_start_time": datetime.now(UTC),
            "parameters": self.values,
        }

    def begin(self, task: Task) -> State | Job:
        """Return what there is to do for a task, or its state if there is nothing."""
        if isinstance(task, Parameter):
            return Success("Given", result=self.values[task.name])
        call = self.calls[task]
        failed = [self.calls[each].slug for each in call.upstream if self.states[each].is_failed()]
        if failed:
            return TriggerFailed(f"not run, because {', '.join(failed)} failed")
        arguments = call.arguments(lambda each: self.states[each].result)
        return Job(call, arguments, *self._result_of(call), self.sleep)

    def _result_of(self, call: Call) -> tuple[Writer | None, dict[str, Any]]:
        result = writer_of(self.flow, call.task)
        if result is None:  # then jobs need not carry the parameters
            return None, {}
        names = {"task_name": call.task.name, "task_slug": call.slug}
        return result, {**self.facts, **names, "task_full_name": call.task.name}

    def end(self, task: Task, state: State) -> None:
        """Keep the state of a task."""
        self.states[task] = state
        if not isinstance(task, Parameter):
            level = logging.ERROR if state.is_failed() else logging.INFO
            slug = self.calls[task].slug
            # An error of casflow says all there is to say in its line.
            shown = None if isinstance(state.exception, CasflowError) else state.exception
            log.log(level, "Task %r: %r", slug, state, exc_info=shown)

    def outcome(self) -> State:
        """Return the state of the flow."""
        states = {task: self.states[task] for task in self.calls}
        failed = [self.calls[task].slug for task, state in states.items() if state.is_failed()]
        if not failed:
            return Success("All tasks succeeded", result=states)
        errors = [each.exception for each in states.values() if each.exception is not None]
        return Failed(f"Tasks failed: {', '.join(failed)}", result=states, exception=errors[0])


def attempt(job: Job) -> State:
    """Run a task, and again after a failure as often as it allows."""
    state = _attempt_once(job, 1)
    for left in reversed(range(job.task.max_retries)):
        if state.is_successful() or isinstance(state.exception, ConfigError):
            break
        delay = job.task.retry_delay
        log.warning("Task %r: %r, again in %g s, then %d left", job.slug, state, delay, left)
        job.sleep(delay)
        state = _attempt_once(job, job.task.max_retries - left + 1)
    return state


def _attempt_once(job: Job, number: int) -> State:
    # A task that calls sys.exit fails; it does not end the process that runs the flow.
    try:
        value = job.task.run(*job.args, **job.kwargs)
        if job.result is None:
            return Success("Ran", result=value)
        inputs = inputs_of(job.task, job.args, job.kwargs)
        facts = {**job.context, "task_run_count": number, "inputs": inputs}
        written = job.result.write(value, **facts)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - kept in the state
        return Failed.from_exception(error)
    digest = getattr(written, "digest", None)
    return Success("Ran", result=value, location=written.location, digest=digest)


def _check_parameters(flow: RunnableFlow, given: Mapping[str, Any]) -> dict[str, Any]:
    known = {each.name: each for each in flow.parameters()}
    if unknown := sorted(set(given) - set(known), key=str):
        hint = f"it has {', '.join(sorted(known))}" if known else "it has no parameters"
        raise ConfigError(f"unknown parameter {_format_names(unknown)}", where=flow.name, hint=hint)
    missing = [name for name, each in known.items() if each.required and name not in given]
    if missing:
        raise ConfigError(f"no value for parameter {_format_names(missing)}", where=flow.name)
    return {name: given.get(name, each.default) for name, each in known.items()}


def _format_names(names: list[Any]) -> str:
    return ", ".join(repr(name) for name in names)
