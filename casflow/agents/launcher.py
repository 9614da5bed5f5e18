"""Starting processes for an agent: forked where the system can, else spawned.

Owns the fork server and the prefetches. Invariant: a run starts even when the fork server is
broken, and one that may have broken it is not forked again.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from casflow.agents import lifetime
from casflow.agents.fork_client import ForkClient, ForkedRun, can_fork
from casflow.agents.spawned import SpawnedRun

if TYPE_CHECKING:
    from collections.abc import Iterable

    from casflow.agents.process import RunProcess
    from casflow.registry import Run, Version

log = logging.getLogger("casflow.agents")

_RESTART_INTERVAL = 30.0  # seconds between a fork server that broke and the next
_LOAD_TIME = 20.0  # seconds that a fork server may take until it is ready


class Launcher:
    """Starts runs and prefetches.

    Args:
        registry: URL of the registry, with its password.
        fork: Whether to keep a fork server; else every run starts its own interpreter.
    """

    def __init__(self, registry: str, *, fork: bool) -> None:
        self._registry = registry
        self._fork = fork and can_fork()
        self._fork_client: ForkClient | None = None
        self._broken = -_RESTART_INTERVAL
        self._prefetches: deque[lifetime.PrefetchSpec] = deque(maxlen=100)
        self._prefetch: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Start the fork server, and wait until it has loaded what it loads."""
        fork_client = self._find_fork_client()
        if fork_client is not None and not fork_client.is_ready(_LOAD_TIME):
            log.warning("the fork server takes long; until then every run starts an interpreter")

    def close(self) -> None:
        """End the fork server and the prefetch."""
        if self._fork_client is not None:
            self._fork_client.close()
            self._fork_client = None
        if self._prefetch is not None:
            self._prefetch.kill()
            self._prefetch.communicate()
            self._prefetch = None

    def start(self, run: Run, spec: lifetime.RunSpec) -> RunProcess:
        """Start a run.

        Raises:
            OSError: No process can be started.
        """
        fork_client = self._find_fork_client()
        if fork_client is None or run.attempt > 1 or not fork_client.is_ready():
            return SpawnedRun(run, spec)
        try:
            return ForkedRun(run, spec, fork_client)
        except OSError as error:
            log.warning("the fork server does not work (%s)", error)
            return SpawnedRun(run, spec)

    def _find_fork_client(self) -> ForkClient | None:
        if self._fork_client is not None and self._fork_client.is_open:
            return self._fork_client
        if self._fork_client is not None:
            self._fork_client.close()
            self._fork_client, self._broken = None, time.monotonic()
        if self._fork and time.monotonic() - self._broken >= _RESTART_INTERVAL:
            with suppress(OSError):
                self._fork_client = ForkClient()
        return self._fork_client

    # ---- prefetches ------------------------------------------------------------------------

    def prepare(self, versions: Iterable[Version]) -> None:
        """Have versions brought into the cache, one after another, and their modules loaded."""
        self._prefetches.extend(
            lifetime.PrefetchSpec(self._registry, each.project, each.flow, each.number)
            for each in versions
        )

    def poll(self) -> None:
        """Go on with the prefetches and the fork server; never waits."""
        if self._fork_client is not None:
            self._fork_client.poll()
        if self._prefetch is not None and self._prefetch.poll() is not None:
            output, _ = self._prefetch.communicate()
            self._prefetch = None
            if self._fork_client is not None:
                self._fork_client.load(output.decode().split())
        if self._prefetch is None and self._prefetches:
            with suppress(OSError):
                self._prefetch = _start(self._prefetches.popleft())


def _start(spec: lifetime.PrefetchSpec) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "casflow.agents.prefetch"]
    pipe: Any = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, process_group=0)
    assert process.stdin is not None  # noqa: S101 - for the type checker
    with suppress(BrokenPipeError):
        lifetime.send(spec, process.stdin)
    return process
