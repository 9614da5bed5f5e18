"""The Dask agent: takes waiting runs and has each run by a worker of a Dask cluster.

Owns what a run is on a cluster. Invariant: where the flow is read, its digest and the parameters
travel, nothing of the registry; the agent alone writes to that.
"""

from __future__ import annotations

import logging
import signal
import time
from typing import TYPE_CHECKING, Any

from casflow.agents.execute import execute, failure
from casflow.agents.local import LocalAgent
from casflow.agents.process import RunProcess
from casflow.errors import CasflowError, ConflictError
from casflow.integrations.dask import connect
from casflow.registry import RunState, message_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from casflow.registry import Registry, Run, Version

log = logging.getLogger("casflow.agents")

_GONE = ("cancelled", "lost")


class DaskAgent(LocalAgent):
    """Takes waiting runs whose labels it carries, and has them run on a Dask cluster.

    A run that is cancelled is no longer waited for; what a worker has begun it brings to its end.

    Args:
        registry: Where the runs wait.
        labels: Labels that it carries.
        address: Address of the scheduler; a cluster of this machine's own when None.
        options: What a local agent takes.
    """

    def __init__(
        self,
        registry: Registry,
        labels: Iterable[str] = (),
        *,
        address: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(registry, labels, **{"name": "dask", "fork": False, **options})
        self._address = address
        self._client: Any = None

    def start(self, *, once: bool = False) -> None:
        """Connect to the cluster, then work.

        Raises:
            UnavailableError: The scheduler does not answer.
        """
        self._client = connect(self._address, set_as_default=False)
        try:
            super().start(once=once)
        finally:
            self._client.close()

    def open(self, run: Run, version: Version) -> DaskRun:
        """Submit a run."""
        future = self._client.submit(run_version, version, dict(run.parameters), pure=False)
        return DaskRun(self._registry, run, future)


class DaskRun(RunProcess):
    """A run on a cluster.

    Args:
        registry: Where its end is recorded.
        run: The run as it was claimed.
        future: What Dask calls it.
    """

    def __init__(self, registry: Registry, run: Run, future: Any) -> None:
        super().__init__(run)
        self._registry = registry
        self._future = future
        self._code: int | None = None

    @property
    def pid(self) -> str:
        """What identifies it to people."""
        return str(self._future.key)

    def exit_code(self) -> int | None:
        """Return how it ended; None while it waits or runs."""
        self.kill_when_due()
        if self._code is None and self._future.status in _GONE:
            self.was_stopped = True  # with its scheduler
            self._code = -signal.SIGTERM
        elif self._code is None and self._future.done():
            self._code = self._end()
        return self._code

    def stop(self, grace: float) -> None:  # noqa: ARG002 - there is nothing to wait for
        """Wait for it no longer."""
        self.was_stopped = True
        self._signal(signal.SIGTERM)

    def _end(self) -> int:
        error = self._future.exception()
        if error is not None:
            self.reason = f"{type(error).__name__}: {error}"
            return 1
        state, message, outcome = self._future.result()
        try:
            self._registry.finish(self.run, RunState(state), message=message, outcome=outcome)
        except ConflictError:
            return 0
        log.info("run %s: %s: %s", self.run.id, state, message)
        return 0

    def _signal(self, number: int) -> None:
        if self._code is None:
            self._future.cancel()
            self._code = -number


def run_version(version: Version, parameters: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Run a version in a worker; return the state, one line on why, and what was measured."""
    outcome: dict[str, Any] = {}
    started = time.perf_counter()
    try:
        state = execute(version.flow, version.storage, parameters, outcome)
    except (Exception, SystemExit) as error:
        log.debug("the run failed", exc_info=True)
        text = str(error) if isinstance(error, CasflowError) else f"{type(error).__name__}: {error}"
        message = f"Failed to load and execute flow run: {text}"
        return RunState.FAILED.value, message_line(message), outcome
    outcome["worker_seconds"] = time.perf_counter() - started
    if state is not None and state.is_successful():
        return RunState.SUCCESS.value, state.message, outcome
    return RunState.FAILED.value, message_line(failure(state)), outcome
