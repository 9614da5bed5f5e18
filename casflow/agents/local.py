"""The local agent: starts each run in a process of its own on this machine.

Owns the loop that takes runs, watches over their processes, and stops. Invariant: a process lives
only while the registry says that its run is this agent's; a run that is taken either ends or goes
back to the queue, also when the agent is stopped.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from casflow.agents.leash import Order
from casflow.agents.starter import Starter
from casflow.errors import CasflowError, ConfigError, ConflictError, UnavailableError
from casflow.registry import RunState, check_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from casflow.agents.started import StartedRun
    from casflow.registry import Agent, Registry, Run, Version, Watch

log = logging.getLogger("casflow.agents")

_GLANCE = 0.005  # seconds between two looks at processes that run
_LAST_WORDS = 5.0  # seconds between SIGTERM and SIGKILL
_MOST_NEW = 100  # versions that are prepared at a time
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Every:
    """Tells when something is due again; at first at once."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    def due(self) -> bool:
        """Return whether the time has come, and if so, start anew."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


class LocalAgent:
    """Takes waiting runs whose labels it carries, and runs each in a process of its own.

    Args:
        registry: Where the runs wait.
        labels: Labels that it carries.
        name: What it is called, for people.
        limit: How many runs it runs at a time.
        hostname_label: Whether it also carries this machine's name, as flows in `Local` storage
            ask for.
        poll: Seconds after which it looks even if nothing woke it.
        heartbeat: Seconds between two signs of life.
        lost_after: Seconds of silence after which another agent's runs are recovered.
        grace: Seconds that runs may go on when the agent is stopped.
        timeout: Seconds after which a run that has not ended is stopped, and fails.
        fork: Whether runs are forked from a server that has everything loaded.
        prefetch: How many of the latest versions it prepares at its start; None to prepare none,
            later ones neither.

    Raises:
        ConfigError: A label is malformed, or agents would be given up between two signs of life.
    """

    def __init__(
        self,
        registry: Registry,
        labels: Iterable[str] = (),
        *,
        name: str = "local",
        limit: int = 1,
        hostname_label: bool = True,
        poll: float = 1.0,
        heartbeat: float = 5.0,
        lost_after: float = 30.0,
        grace: float = 10.0,
        timeout: float | None = None,
        fork: bool = True,
        prefetch: int | None = 10,
    ) -> None:
        if lost_after < 2 * heartbeat:
            raise ConfigError("agents need two heartbeats before they can be lost", where=name)
        self.name = name
        self.labels = check_labels(
            [*check_labels(labels), *([socket.gethostname()] if hostname_label else ())]
        )
        self._registry = registry
        self._limit = limit
        self._poll = poll
        self._grace = grace
        self._timeout = timeout
        self._lost_after = timedelta(seconds=lost_after)
        self._beat_due = Every(heartbeat)
        self._recovery_due = Every(lost_after / 2)
        self._look_due = Every(poll)
        self._processes: list[StartedRun] = []
        self._starter = Starter(registry.url, fork=fork)
        self._prefetch = prefetch
        self._prepared: int | None = None
        self._stops = 0
        self._awake = True

    def start(self, *, once: bool = False) -> None:
        """Work until `stop`, SIGTERM or SIGINT; then let runs end, or give them back.

        Args:
            once: Stop by itself as soon as no run waits and none runs.

        Raises:
            CasflowError: The registry cannot be used. One that goes away later is waited for.
        """
        self._registry.agents()  # before anything is started: whether it can be used
        with _on_signals(self.stop), closing(self._starter):
            self._starter.open()
            agent = self._registry.add_agent(
                name=self.name, host=socket.gethostname(), pid=os.getpid(), labels=self.labels
            )
            log.info("agent %s: started, labels: %s", agent.id, ", ".join(agent.labels) or "none")
            try:
                self._work(agent, once=once)
            finally:
                self._drain(agent)
        log.info("agent %s: stopped", agent.id)

    def stop(self) -> None:
        """Take no more runs; called twice, give back at once those that run."""
        self._stops += 1

    def _work(self, agent: Agent, *, once: bool) -> None:
        while not self._stops:
            try:
                with self._registry.watch() as watch:
                    self._serve(agent, watch, once=once)
                    return
            except UnavailableError as error:
                log.warning("agent %s: %s", agent.id, error)
                time.sleep(self._poll)

    def _serve(self, agent: Agent, watch: Watch, *, once: bool) -> None:
        while not self._stops:
            self._settle()
            if self._look_due.due() or self._awake:
                self._take(agent)  # before all else: somebody waits for it
                if once and not self._processes:
                    return
                if not once:
                    self._prepare()
            self._keep_in_touch(agent)
            self._starter.go_on()
            self._awake = watch.wait(_GLANCE if self._processes else self._poll)

    def _keep_in_touch(self, agent: Agent) -> None:
        if self._beat_due.due():
            self._compare(self._registry.heartbeat(agent))
        elif self._awake and self._processes:
            self._compare(self._registry.held_by(agent))
        if self._recovery_due.due():
            for run in self._registry.recover(self._lost_after):
                log.warning("run %s: %s, it is %s", run.id, run.message, run.state)

    def _compare(self, held: Mapping[int, int]) -> None:
        """Stop what is no longer ours; give back what is ours without our having started it."""
        for process in self._processes:
            if held.get(process.run.id) != process.run.attempt and not process.is_ending:
                self._let_go(process)
        started = {process.run.id for process in self._processes}
        for run_id in held.keys() - started:  # the answer to our claim was lost on its way
            self._give_back(self._registry.get_run(run_id))

    def _let_go(self, process: StartedRun) -> None:
        stands = self._registry.get_run(process.run.id)
        same = (stands.attempt, stands.losses) == (process.run.attempt, process.run.losses)
        if same and stands.state in (RunState.SUCCESS, RunState.FAILED):
            process.expect_end(self._grace)
        else:
            log.warning("run %s: stopping it, it is %s", stands.id, stands.state)
            process.stop(_LAST_WORDS)

    def _take(self, agent: Agent) -> None:
        free = self._limit - len(self._processes)
        for run in self._registry.claim(agent, limit=free) if free > 0 else ():
            self._begin(run)

    def _begin(self, run: Run) -> None:
        try:
            process = self.open(run, self._registry.get_version(run.project, run.flow, run.version))
        except (OSError, UnavailableError) as error:
            log.error("run %s: cannot start a process (%s)", run.id, error)  # noqa: TRY400
            self._give_back(run)
            time.sleep(self._poll)
            return
        except CasflowError as error:
            self._fail(run, f"Failed to load and execute flow run: {error}")
            return
        self._processes.append(process)
        what = f"{run.flow!r} version {run.version}"
        log.info("run %s: started %s (%s)", run.id, what, process.pid)

    def open(self, run: Run, version: Version) -> StartedRun:
        """Start a run of a version.

        Raises:
            OSError: It cannot be started now.
            CasflowError: It cannot be started, but for an `UnavailableError`: not now.
        """
        return self._starter.start(run, self.order(run, version))

    def order(self, run: Run, version: Version) -> Order:
        """Return what the process of a run is told: all that it needs until the run has ended."""
        return Order(run.id, run.attempt, run.flow, version.storage, run.parameters)

    def _prepare(self) -> None:
        """Have new versions whose labels we carry brought into the cache."""
        if self._prefetch is None:
            return
        first = self._prepared is None
        found = self._registry.versions_since(
            self._prepared or 0, limit=self._prefetch if first else _MOST_NEW
        )
        self._prepared = max((each.id for each in found), default=self._prepared or 0)
        carried = set(self.labels)
        self._starter.prepare(each for each in reversed(found) if carried.issuperset(each.labels))

    def _give_back(self, run: Run) -> None:
        try:
            self._registry.release(run)
        except ConflictError:
            return
        log.info("run %s: returned to the queue", run.id)

    def _settle(self) -> None:
        for process in tuple(self._processes):
            if self._timeout is not None and process.age > self._timeout:
                process.expire(f"it ran longer than {self._timeout:g} s", _LAST_WORDS)
            code = process.exit_code()
            self._listen(process)
            if code is not None:
                self._account(process, code)
                self._processes.remove(process)
                self._awake = True

    def _listen(self, process: StartedRun) -> None:
        """Tell the registry what a run reports, once."""
        report = None if process.was_heard else process.find_report()
        if report is None:
            return
        run, state = process.run, RunState(report.state)
        with suppress(ConflictError):  # cancelled, or taken from us, in the meantime
            self._registry.finish(run, state, message=report.message, outcome=report.outcome)
        process.was_heard = True
        process.expect_end(self._grace)

    def _account(self, process: StartedRun, code: int) -> None:
        """See to it that a run whose process has ended stands as ended, or waits again."""
        run = process.run
        if process.was_heard:
            return
        stands = self._registry.get_run(run.id)
        if (stands.state, stands.attempt) != (RunState.RUNNING, run.attempt):
            log.info("run %s: ended, it is %s", run.id, stands.state)
        elif process.was_stopped:
            self._give_back(run)
        else:
            reason = process.reason or f"its process ended by {_how(code)}"
            self._fail(run, f"Failed to load and execute flow run: {reason}")

    def _fail(self, run: Run, message: str) -> None:
        try:
            self._registry.finish(run, RunState.FAILED, message=message)
        except ConflictError:
            return
        log.warning("run %s: %s", run.id, message)

    def _drain(self, agent: Agent) -> None:
        deadline = time.monotonic() + self._grace
        try:
            while self._processes:
                if time.monotonic() >= deadline or self._stops > 1:
                    for process in self._processes:
                        process.stop(_LAST_WORDS)
                self._settle()
                self._keep_in_touch(agent)
                time.sleep(_GLANCE)
            self._registry.end_agent(agent)
        except UnavailableError as error:  # our silence will bring the runs back to the queue
            log.warning("agent %s: %s", agent.id, error)
            self._abandon()

    def _abandon(self) -> None:
        for process in self._processes:
            process.stop(0)
        while any(process.exit_code() is None for process in self._processes):
            time.sleep(_GLANCE)


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


@contextmanager
def _on_signals(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` on SIGTERM and SIGINT; in a thread other than the main one there are none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, lambda *_: act()) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
