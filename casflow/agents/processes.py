"""The process of a run, as its agent sees it.

Owns starting and ending it. Invariant: it is the leader of a process group of its own, and when
it is settled nothing of that group is left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from casflow.agents import leash
from casflow.agents.report import Sheet
from casflow.agents.started import StartedRun

if TYPE_CHECKING:
    from typing import IO

    from casflow.registry import Run


class RunProcess(StartedRun):
    """A started process, in a group of its own.

    Args:
        run: The run as it was claimed.
        order: What it is told.

    Raises:
        OSError: It could not be started.
    """

    def __init__(self, run: Run, order: leash.Order) -> None:
        sheet = Sheet()
        super().__init__(run, sheet)
        # -P: a file that happens to lie in the agent's folder must not stand in for a module.
        command = [sys.executable, "-P", "-m", "casflow.agents.execute", str(run.id)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, pass_fds=[sheet.fileno()], process_group=0
        )
        with suppress(BrokenPipeError):  # it died at once; `exit_code` tells
            leash.give(replace(order, report=sheet.fileno()), self._pipe)

    @property
    def pid(self) -> int:
        """Id of the process and of its group."""
        return self._process.pid

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

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):  # the last of them is gone
            os.killpg(self.pid, number)
