"""The process of a run, whatever it runs in: a child, a container, a worker of a cluster.

Owns stopping it. Invariant: what was asked to stop is killed once its grace is over, and the agent
knows whether the run itself was at fault.
"""

from __future__ import annotations

import signal
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from casflow.agents.logs import RunLog
    from casflow.agents.report import Report, ReportFile
    from casflow.errors import UnavailableError
    from casflow.registry import Run


class RunProcess(ABC):
    """The process of a run.

    Args:
        run: The run as it was claimed.
        report_file: Where it writes its report; None when it writes to the registry itself.

    Attributes:
        is_recorded: Whether its report was recorded in the registry.
        was_stopped: Whether the agent ended it, so that the run has to be started again.
        start_error: Why it could not be started here for now, through no fault of the run.
        reason: Why it failed, where its exit code does not say.
    """

    def __init__(self, run: Run, report_file: ReportFile | None = None) -> None:
        self.run = run
        self.is_recorded = False
        self._report_file = report_file
        self.was_stopped = False
        self.start_error: UnavailableError | None = None
        self.reason: str | None = None
        self._kill_at: float | None = None
        self._since = time.monotonic()

    @property
    @abstractmethod
    def pid(self) -> int | str:
        """What identifies it to people."""

    @abstractmethod
    def exit_code(self) -> int | None:
        """Return how it ended, negative for a signal; None while it runs."""

    @abstractmethod
    def _signal(self, number: int) -> None:
        """Send a signal to all of it, if any of it is still there."""

    def keep_log(self, log: RunLog) -> None:  # noqa: B027 - a worker elsewhere keeps its own
        """Have what it prints kept from now on; what it printed before is in it, too."""

    def find_report(self) -> Report | None:
        """Return its report, or None while there is none."""
        return None if self._report_file is None else self._report_file.find()

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._since

    @property
    def is_ending(self) -> bool:
        """Whether it was told to stop, or will be killed after its grace."""
        return self._kill_at is not None

    def stop(self, grace: float) -> None:
        """Send SIGTERM, and SIGKILL after `grace` seconds."""
        if not self.was_stopped:
            self.was_stopped = True
            self._terminate(grace)

    def expire(self, reason: str, grace: float) -> None:
        """Stop it as `stop` does, but let the run fail, for a reason."""
        if not self.is_ending:
            self.reason = reason
            self._terminate(grace)

    def kill_after(self, grace: float) -> None:
        """Kill it if it has not ended after `grace` seconds."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + grace

    def kill_when_due(self) -> None:
        """Kill it if its grace is over."""
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._signal(signal.SIGKILL)

    def _terminate(self, grace: float) -> None:
        self._signal(signal.SIGTERM)
        self._kill_at = time.monotonic() + grace
