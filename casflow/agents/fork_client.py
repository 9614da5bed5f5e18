"""Runs that are forked from a fork server, as their agent sees them.

Owns the agent's end of the socket to the fork server. Invariant: a run that was forked ends like
one that was started plainly; when the fork server is gone, so are its runs, by their pipes.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from casflow.agents import lifetime
from casflow.agents.logs import keep
from casflow.agents.process import RunProcess
from casflow.agents.report import ReportFile

if TYPE_CHECKING:
    from casflow.agents.logs import RunLog
    from casflow.registry import Run

REPORT = 3  # descriptor of the report file in a forked run
_TIMEOUT = 20.0  # seconds that a fork server may take to start, and to fork
_MAX_BYTES = 1 << 16  # bytes of a message


def can_fork() -> bool:
    """Whether this system has what a fork server needs."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open")


class Child(NamedTuple):
    """A forked process that waits for its spec.

    Attributes:
        pid: Its id, and that of its group.
        pipe: Where it reads its run; it ends when that is closed.
        report_file: Where it will write its report.
        output: Descriptor from which what it prints is read.
    """

    pid: int
    pipe: IO[bytes]
    report_file: ReportFile
    output: int


class ForkClient:
    """The client of a fork server, which is started at once and used when it is ready.

    It always keeps one child ahead, since forking takes as long as all the rest of a start.

    Raises:
        OSError: It could not be started.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "casflow.agents.forkserver", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,
            )
        self._connection = ours
        self._codes: dict[int, int] = {}
        self._forked: list[int] = []
        self._spare: tuple[IO[bytes], ReportFile, int] | None = None
        self._ready = False
        self.is_open = True

    def is_ready(self, timeout: float = 0) -> bool:
        """Tell whether it has loaded what it loads; wait so many seconds for it."""
        with suppress(TimeoutError):
            if self.is_open and not self._ready:
                self._receive(timeout)
        return self.is_open and self._ready

    def poll(self) -> None:
        """Have the next child forked, unless there is one; never waits."""
        if self._spare is None and self.is_ready():
            with suppress(OSError):
                self._spare = self._request_fork()

    def take(self) -> Child:
        """Return a child that waits for its spec.

        Raises:
            OSError: The fork server is gone, or takes too long.
        """
        pipe, report_file, output = self._spare or self._request_fork()
        self._spare = None
        deadline = time.monotonic() + _TIMEOUT
        try:
            while not self._forked:
                self._receive(deadline - time.monotonic())
                if not self.is_open:
                    raise ConnectionResetError("the fork server is gone")
        except OSError:
            pipe.close()
            os.close(output)
            self._close()
            raise
        return Child(self._forked.pop(), pipe, report_file, output)

    def _request_fork(self) -> tuple[IO[bytes], ReportFile, int]:
        theirs, ours = os.pipe()
        output, their_output = os.pipe()
        pipe = os.fdopen(ours, "wb")
        try:
            report_file = ReportFile()
            message = json.dumps({"fork": True}).encode()
            given = [theirs, report_file.fileno(), their_output]
            socket.send_fds(self._connection, [message], given)
        except OSError:
            pipe.close()
            os.close(output)
            self._close()
            raise
        finally:
            os.close(theirs)
            os.close(their_output)
        return pipe, report_file, output

    def load(self, modules: list[str]) -> None:
        """Let modules be loaded before the next runs, those that leave no trace."""
        if modules:
            self._send({"load": modules})

    def signal(self, child: int, number: int) -> None:
        """Send a signal to the process group of a child."""
        self._send({"signal": [child, number]})

    def find_code(self, child: int) -> int | None:
        """Return how a child ended, once; None while it runs, or when nobody can say."""
        with suppress(TimeoutError):
            while self.is_open and child not in self._codes:
                self._receive(0)
        return self._codes.pop(child, None)

    def close(self) -> None:
        """End the fork server."""
        self._close()
        self._process.wait()

    def _close(self) -> None:
        self.is_open = False
        self._connection.close()
        if self._spare is not None:
            self._spare[0].close()
            os.close(self._spare[2])
            self._spare = None
        self._process.kill()  # it holds nothing that would have to be brought to an end

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._connection.settimeout(_TIMEOUT)
            self._connection.send(json.dumps(message).encode())
        except OSError:
            self._close()

    def _receive(self, timeout: float) -> None:
        """Take in one message.

        Raises:
            TimeoutError: None came.
        """
        self._connection.settimeout(max(timeout, 0))
        try:
            data = self._connection.recv(_MAX_BYTES)
        except BlockingIOError:
            raise TimeoutError("the fork server does not answer") from None
        except TimeoutError:
            raise
        except OSError:
            data = b""
        if not data:
            self._close()
            return
        message = json.loads(data)
        if "ready" in message:
            self._ready = True
        elif "forked" in message:
            self._forked.append(message["forked"])
        else:
            self._codes[message["ended"]] = message["code"]


class ForkedRun(RunProcess):
    """A run that was forked, in a group of its own.

    Args:
        run: The run as it was claimed.
        spec: What its process needs.
        fork_client: The fork server that it is forked from.

    Raises:
        OSError: It could not be forked.
    """

    def __init__(self, run: Run, spec: lifetime.RunSpec, fork_client: ForkClient) -> None:
        child = fork_client.take()
        super().__init__(run, child.report_file)
        self._fork_client = fork_client
        self._code: int | None = None
        self._child = child.pid
        self._pipe = child.pipe
        self._output = child.output
        try:
            lifetime.send(replace(spec, report=REPORT), self._pipe)
        except OSError:  # it died while it waited
            self._close_pipe()
            os.close(self._output)
            raise

    def keep_log(self, log: RunLog) -> None:
        """Have what it prints kept."""
        keep(self._output, log)

    @property
    def pid(self) -> int:
        """Id of the process and of its group."""
        return self._child

    def exit_code(self) -> int | None:
        """Return how it ended, negative for a signal; None while it runs."""
        if self._code is not None:
            return self._code
        self.kill_when_due()
        self._code = self._fork_client.find_code(self._child)
        if self._code is None and not self._fork_client.is_open:
            self.was_stopped = True  # not its fault: another agent, or this one, runs it again
            self._code = -signal.SIGKILL
        if self._code is not None:
            self._close_pipe()
        return self._code

    def _signal(self, number: int) -> None:
        self._fork_client.signal(self._child, number)

    def _close_pipe(self) -> None:
        """Close the pipe, which kills what may be left of the group."""
        with suppress(BrokenPipeError):
            self._pipe.close()
