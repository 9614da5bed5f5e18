"""What an agent has started for a run, until it has ended.

Owns how it is brought to its end. Invariant: whatever was asked to end is ended by force once its
grace is over, and the agent knows whether that was for the run's own fault.
"""

from __future__ import annotations

import signal
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from casflow.agents.report import Report, Sheet
    from casflow.registry import Run


class StartedRun(ABC):
    """A run that was started, whatever it runs in.

    Args:
        run: The run as it was claimed.
        sheet: Where it leaves its report; None when it tells the registry by itself.

    Attributes:
        was_heard: Whether the registry knows its report.
        was_stopped: Whether it ended for the agent's sake, so that it has to run again.
        reason: Why it failed, where its exit code does not say.
    """

    def __init__(self, run: Run, sheet: Sheet | None = None) -> None:
        self.run = run
        self.was_heard = False
        self._sheet = sheet
        self.was_stopped = False
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

    def find_report(self) -> Report | None:
        """Return how it says that it ended, or None while it has not said anything."""
        return None if self._sheet is None else self._sheet.find()

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._since

    @property
    def is_ending(self) -> bool:
        """Whether it was told to end, or has only a while left."""
        return self._kill_at is not None

    def stop(self, grace: float) -> None:
        """Ask it to end, and end it by force after `grace` seconds."""
        if not self.was_stopped:
            self.was_stopped = True
            self._end_within(grace)

    def expire(self, reason: str, grace: float) -> None:
        """End it as `stop` does, but as a failure of its own, for a reason."""
        if not self.is_ending:
            self.reason = reason
            self._end_within(grace)

    def expect_end(self, grace: float) -> None:
        """End it by force if it is still there after `grace` seconds."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + grace

    def kill_when_due(self) -> None:
        """End it by force if its time is over."""
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._signal(signal.SIGKILL)

    def _end_within(self, grace: float) -> None:
        self._signal(signal.SIGTERM)
        self._kill_at = time.monotonic() + grace
