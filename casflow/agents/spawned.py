"""Runs in an interpreter of their own.

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

from casflow.agents import lifetime
from casflow.agents.logs import keep
from casflow.agents.process import RunProcess
from casflow.agents.report import ReportFile

if TYPE_CHECKING:
    from typing import IO

    from casflow.agents.logs import RunLog
    from casflow.registry import Run


class SpawnedRun(RunProcess):
    """A started process, in a group of its own.

    Args:
        run: The run as it was claimed.
        spec: What its process needs.

    Raises:
        OSError: It could not be started.
    """

    def __init__(self, run: Run, spec: lifetime.RunSpec) -> None:
        report_file = ReportFile()
        super().__init__(run, report_file)
        # -P: a file that happens to lie in the agent's folder must not stand in for a module.
        command = [sys.executable, "-P", "-m", "casflow.agents.execute", str(run.id)]
        self._output, theirs = os.pipe()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=theirs,
                stderr=theirs,
                pass_fds=[report_file.fileno()],
                process_group=0,
            )
        except OSError:
            os.close(self._output)
            raise
        finally:
            os.close(theirs)
        with suppress(BrokenPipeError):  # it died at once; see `exit_code`
            lifetime.send(replace(spec, report=report_file.fileno()), self._pipe)

    def keep_log(self, log: RunLog) -> None:
        """Have what it prints kept."""
        keep(self._output, log)

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
