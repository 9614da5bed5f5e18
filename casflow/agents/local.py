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

from casflow.agents.launcher import Launcher
from casflow.agents.lifetime import RunSpec
from casflow.agents.logs import RunLog, trim
from casflow.errors import CasflowError, ConfigError, ConflictError, UnavailableError
from casflow.registry import MAX_SKEW, RunState, check_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from casflow.agents.process import RunProcess
    from casflow.registry import Agent, Registry, Run, Version, Watch

log = logging.getLogger("casflow.agents")

_POLL_INTERVAL = 0.005  # seconds between two looks at processes that run
_TERM_GRACE = 5.0  # seconds between SIGTERM and SIGKILL
_MAX_PAUSE = 30.0  # seconds between two attempts at a registry that is away
_MAX_NEW = 100  # versions that are prepared at a time
_LONGEST_BACKOFF = 60.0  # seconds without new runs after starts that failed
_MOST_DOUBLINGS = 20
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Periodic:
    """A timer that is due every so many seconds, and at once at first."""

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

    def restart(self) -> None:
        """Start anew."""
        self._next = time.monotonic() + self._seconds


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
        heartbeat: Seconds between two heartbeats.
        lost_after: Seconds of silence after which another agent's runs are recovered.
        grace: Seconds that runs may go on when the agent is stopped.
        timeout: Seconds after which a run that has not ended is stopped, and fails.
        fork: Whether runs are forked from a server that has everything loaded.
        prefetch: How many of the latest versions it prepares at its start; None to prepare none,
            later ones neither.

    Raises:
        ConfigError: A label is malformed, or agents would be lost between two heartbeats.
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
        self._heartbeat_due = Periodic(heartbeat)
        self._recovery_due = Periodic(lost_after / 2)
        self._poll_due = Periodic(poll)
        self._processes: list[RunProcess] = []
        self._failed_starts = 0
        self._take_after = 0.0
        self._launcher = Launcher(registry.url, fork=fork)
        self._prefetch = prefetch
        self._prepared: int | None = None
        self._stops = 0
        self._stopping = threading.Event()
        self._skewed = False
        self._skew_due = Periodic(60)
        self._trim_due = Periodic(60)
        self._clock = _clock_offset()
        self._notified = True

    def start(self, *, once: bool = False) -> None:
        """Work until `stop`, SIGTERM or SIGINT; then let runs end, or requeue them.

        Args:
            once: Stop by itself as soon as no run waits and none runs.

        Raises:
            CasflowError: The registry cannot be used. One that goes away later is waited for.
        """
        self._registry.agents()  # before anything is started: whether it can be used
        with _on_signals(self.stop), closing(self._launcher):
            self._launcher.open()
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
        """Take no more runs; called twice, requeue at once those that run."""
        self._stops += 1
        self._stopping.set()

    def _work(self, agent: Agent, *, once: bool) -> None:
        pause = self._poll
        while not self._stops:
            began = time.monotonic()
            try:
                with self._registry.watch() as watch:
                    self._serve(agent, watch, once=once)
                    return
            except UnavailableError as error:
                if time.monotonic() - began > _MAX_PAUSE:
                    pause = self._poll
                log.warning("agent %s: %s; next attempt in %.0f s", agent.id, error, pause)
                self._stopping.wait(pause)
                pause = min(2 * pause, _MAX_PAUSE)

    def _serve(self, agent: Agent, watch: Watch, *, once: bool) -> None:
        while not self._stops:
            self._reap_all()
            if self._poll_due.due() or self._notified:
                self._take(agent)  # before all else: somebody waits for it
                if once and not self._processes:
                    return
                if not once:
                    self._prepare()
            self._heartbeat(agent)
            self._launcher.poll()
            self._notified = watch.wait(_POLL_INTERVAL if self._processes else self._poll)

    def _heartbeat(self, agent: Agent) -> None:
        if self._heartbeat_due.due():
            self._reconcile(self._registry.heartbeat(agent))
        elif self._notified and self._processes:
            self._reconcile(self._registry.held_by(agent))
        if self._trim_due.due():
            with suppress(OSError):  # they may stay, then
                trim()
        if self._skew_due.due():
            self._warn_of_skew(agent)
        if self._clock_was_set():
            self._recovery_due.restart()  # the others' heartbeats look old until their next ones
        if self._recovery_due.due():
            for run in self._registry.recover(self._lost_after):
                log.warning("run %s: %s, it is %s", run.id, run.message, run.state)

    def _warn_of_skew(self, agent: Agent) -> None:
        skew = self._registry.clock_skew().total_seconds()
        if abs(skew) > MAX_SKEW and not self._skewed:
            what = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'}"
            log.warning("agent %s: this machine's clock is %s the registry's", agent.id, what)
        self._skewed = abs(skew) > MAX_SKEW

    def _clock_was_set(self) -> bool:
        before, self._clock = self._clock, _clock_offset()
        return abs(self._clock - before) > 1

    def _reconcile(self, held: Mapping[int, int]) -> None:
        """Stop runs that are no longer ours; requeue runs that are ours but were never started."""
        for process in self._processes:
            if held.get(process.run.id) != process.run.attempt and not process.is_ending:
                self._stop_lost(process)
        started = {process.run.id for process in self._processes}
        for run_id in held.keys() - started:  # the answer to our claim was lost on its way
            self._requeue(self._registry.get_run(run_id))

    def _stop_lost(self, process: RunProcess) -> None:
        stands = self._registry.get_run(process.run.id)
        same = (stands.attempt, stands.losses) == (process.run.attempt, process.run.losses)
        if same and stands.state in (RunState.SUCCESS, RunState.FAILED):
            process.kill_after(self._grace)
        else:
            log.warning("run %s: stopping it, it is %s", stands.id, stands.state)
            process.stop(_TERM_GRACE)

    def _take(self, agent: Agent) -> None:
        if time.monotonic() < self._take_after:
            return
        free = self._limit - len(self._processes)
        for run in self._registry.claim(agent, limit=free) if free > 0 else ():
            self._launch(run)

    def _launch(self, run: Run) -> None:
        try:
            process = self.open(run, self._registry.get_version(run.project, run.flow, run.version))
        except (OSError, UnavailableError) as error:
            self._put_off(run, error)
            return
        except CasflowError as error:
            self._fail(run, f"Failed to load and execute flow run: {error}")
            return
        self._failed_starts = 0
        process.keep_log(RunLog(run))
        self._processes.append(process)
        what = f"{run.flow!r} version {run.version}"
        log.info("run %s: started %s (%s)", run.id, what, process.pid)

    def _put_off(self, run: Run, error: Exception) -> None:
        """Give a run back that cannot be started here now, and take none for a while.

        It waits behind all others, so that one that can never be started does not stop them. Each
        failure in a row doubles that while; what was taken together counts once.
        """
        with suppress(ConflictError):  # cancelled, or taken from us, in the meantime
            self._registry.put_off(run, str(error))
        now = time.monotonic()
        if now >= self._take_after:
            self._failed_starts += 1
            delay = self._poll * 2 ** min(self._failed_starts, _MOST_DOUBLINGS)
            self._take_after = now + min(delay, _LONGEST_BACKOFF)
        what = "run %s: cannot start a process (%s); it waits again, the next start is in %.2g s"
        log.error(what, run.id, error, self._take_after - now)

    def open(self, run: Run, version: Version) -> RunProcess:
        """Start a run of a version.

        Raises:
            OSError: It cannot be started now.
            CasflowError: It cannot be started, but for an `UnavailableError`: not now.
        """
        return self._launcher.start(run, self.run_spec(run, version))

    def run_spec(self, run: Run, version: Version) -> RunSpec:
        """Return the specification of a run: all that its process needs."""
        return RunSpec(run.id, run.attempt, run.flow, version.storage, run.parameters)

    def _prepare(self) -> None:
        """Have new versions whose labels we carry brought into the cache."""
        if self._prefetch is None:
            return
        first = self._prepared is None
        found = self._registry.versions_since(
            self._prepared or 0, limit=self._prefetch if first else _MAX_NEW
        )
        self._prepared = max((each.id for each in found), default=self._prepared or 0)
        carried = set(self.labels)
        self._launcher.prepare(each for each in reversed(found) if carried.issuperset(each.labels))

    def _requeue(self, run: Run) -> None:
        try:
            self._registry.release(run)
        except ConflictError:
            return
        log.info("run %s: returned to the queue", run.id)

    def _reap_all(self) -> None:
        for process in tuple(self._processes):
            if self._timeout is not None and process.age > self._timeout:
                process.expire(f"it ran longer than {self._timeout:g} s", _TERM_GRACE)
            code = process.exit_code()
            self._read_report(process)
            if code is not None:
                self._record_exit(process, code)
                self._processes.remove(process)
                self._notified = True

    def _read_report(self, process: RunProcess) -> None:
        """Record what a run reports, once."""
        report = None if process.is_recorded else process.find_report()
        if report is None:
            return
        run, state = process.run, RunState(report.state)
        with suppress(ConflictError):  # cancelled, or taken from us, in the meantime
            self._registry.finish(run, state, message=report.message, outcome=report.outcome)
        process.is_recorded = True
        process.kill_after(self._grace)

    def _record_exit(self, process: RunProcess, code: int) -> None:
        """Record the end of a run whose process has ended, or requeue it."""
        run = process.run
        if process.is_recorded:
            return
        stands = self._registry.get_run(run.id)
        if (stands.state, stands.attempt) != (RunState.RUNNING, run.attempt):
            log.info("run %s: ended, it is %s", run.id, stands.state)
        elif process.start_error is not None:
            self._put_off(run, process.start_error)
        elif process.was_stopped:
            self._requeue(run)
        else:
            reason = process.reason or f"its process ended by {_format_exit(code)}"
            self._fail(run, f"Failed to load and execute flow run: {reason}")

    def _fail(self, run: Run, message: str) -> None:
        try:
            self._registry.finish(run, RunState.FAILED, message=message)
        except ConflictError:
            return
        log.warning("run %s: %s", run.id, message)

    def _drain(self, agent: Agent) -> None:
        deadline, asked = time.monotonic() + self._grace, 1
        if self._processes:
            what = f"{len(self._processes)} runs have {self._grace:g} s to end"
            log.info("agent %s: stopping; %s; stop it again to requeue them now", agent.id, what)
        try:
            while self._processes:
                if self._stops > asked:
                    asked = self._stops
                    log.info("agent %s: requeueing %s runs", agent.id, len(self._processes))
                if time.monotonic() >= deadline or self._stops > 1:
                    for process in self._processes:
                        process.stop(_TERM_GRACE)
                self._reap_all()
                self._heartbeat(agent)
                time.sleep(_POLL_INTERVAL)
            self._registry.end_agent(agent)
        except UnavailableError as error:  # our silence will bring the runs back to the queue
            log.warning("agent %s: %s", agent.id, error)
            self._abandon()

    def _abandon(self) -> None:
        for process in self._processes:
            process.stop(0)
        while any(process.exit_code() is None for process in self._processes):
            time.sleep(_POLL_INTERVAL)


def _clock_offset() -> float:
    """Return what changes when the clock is set or the machine was asleep, and only then."""
    return time.time() - time.monotonic()


def _format_exit(code: int) -> str:
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
