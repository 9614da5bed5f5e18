"""The process of a run, as its agent sees it.

Owns starting and ending it. Invariant: it is the leader of a process group of its own, and when
it is settled nothing of that group is left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from casflow.agents import leash

if TYPE_CHECKING:
    from typing import IO

    from casflow.registry import Run


class RunProcess:
    """A started process, in a group of its own.

    Args:
        run: The run as it was claimed.
        order: What it is told.

    Raises:
        OSError: It could not be started.
    """

    def __init__(self, run: Run, order: leash.Order) -> None:
        self.prepare(run)
        # -P: a file that happens to lie in the agent's folder must not stand in for a module.
        command = [sys.executable, "-P", "-m", "casflow.agents.execute", str(run.id)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0)
        with suppress(BrokenPipeError):  # it died at once; `exit_code` tells
            leash.give(order, self._pipe)

    def prepare(self, run: Run) -> None:
        """Set what every kind of process has."""
        self.run = run
        self.was_stopped = False
        self.reason: str | None = None
        self._kill_at: float | None = None
        self._since = time.monotonic()

    @property
    def pid(self) -> int:
        """Id of the process and of its group."""
        return self._process.pid

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._since

    @property
    def is_ending(self) -> bool:
        """Whether it was told to end, or has only a while left."""
        return self._kill_at is not None

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        return self._process.stdin

    def exit_code(self) -> int | None:
        """Return how it ended, negative for a signal; None while it runs.

        Whatever it left behind in its group is ended with it.
        """
        self.kill_when_due()
        if self._process.returncode is None and self._has_ended():
            self._signal(signal.SIGKILL)
            self._process.wait()
            with suppress(BrokenPipeError):
                self._pipe.close()
        return self._process.returncode

    def _has_ended(self) -> bool:
        # Not reaped yet, so that the group's number cannot be another's when it is killed.
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def stop(self, grace: float) -> None:
        """Ask the group to end, and end it by force after `grace` seconds."""
        if not self.was_stopped:
            self.was_stopped = True
            self._signal(signal.SIGTERM)
            self._kill_at = time.monotonic() + grace

    def expire(self, reason: str, grace: float) -> None:
        """End it as `stop` does, but as a failure of its own, for a reason."""
        if not self.is_ending:
            self.reason = reason
            self._signal(signal.SIGTERM)
            self._kill_at = time.monotonic() + grace

    def expect_end(self, grace: float) -> None:
        """End the group by force if it is still there after `grace` seconds."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + grace

    def kill_when_due(self) -> None:
        """End the group by force if its time is over."""
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):  # the last of them is gone
            os.killpg(self.pid, number)
