"""Server processes: how every real server of the tests starts, answers and ends.

Invariant: a server listens on 127.0.0.1 alone, keeps its data in its own temporary folder, is
ended by its own process id, and dies with the test process even when that one is killed.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

TIMEOUT = 60  # seconds that a server may take until it answers
_END_WITH_PARENT = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port: int) -> bool:
    """Tell whether something listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server(ABC):
    """One server process with a folder of its own; a context manager.

    A stopped server can be started again: same port, same data.
    """

    name: str
    stop_signal = signal.SIGTERM
    leaves_traces = False  # outside its folder, unless it may tidy up
    user: str | None = None

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"casflow-{self.name}-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line that serves on `self.port` from `self.folder`."""

    def ready(self) -> bool:
        """Tell whether the server answers."""
        return accepts(self.port)

    @property
    def url(self) -> str:
        """Where the server answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """File that the server's output goes to."""
        return self.folder / "log"

    def start(self) -> None:
        """Start the process and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*_END_WITH_PARENT, *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._identity(),
            )
        self._wait(self.process)

    def _identity(self) -> dict[str, object]:
        if self.user is None:
            return {}
        return {"user": self.user, "group": self.user, "extra_groups": []}

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not self.ready():
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                said = self.log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} does not answer:\n{said}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the process by its own id."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(self.stop_signal)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End the process without a chance to tidy up."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Stop the server, then start it on the same port and data."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.leaves_traces:
            self.stop()
        else:  # some wait for their clients to close idle connections
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
