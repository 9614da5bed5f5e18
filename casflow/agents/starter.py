"""Starting processes for an agent: forked where that is to be had, plainly where it is not.

Owns the fork server's life and the errands. Invariant: a run starts even when the fork server is
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

from casflow.agents import leash
from casflow.agents.forked import ForkedRun, Nursery, can_fork
from casflow.agents.processes import RunProcess

if TYPE_CHECKING:
    from collections.abc import Iterable

    from casflow.agents.started import StartedRun
    from casflow.registry import Run, Version

log = logging.getLogger("casflow.agents")

_REST = 30.0  # seconds between a fork server that broke and the next
_LOAD_TIME = 20.0  # seconds that a fork server may take until it is ready


class Starter:
    """Starts runs and errands.

    Args:
        registry: URL of the registry, with its password.
        fork: Whether to keep a fork server; else every run starts its own interpreter.
    """

    def __init__(self, registry: str, *, fork: bool) -> None:
        self._registry = registry
        self._fork = fork and can_fork()
        self._nursery: Nursery | None = None
        self._broken = -_REST
        self._waiting: deque[leash.Errand] = deque(maxlen=100)
        self._errand: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Start the fork server, and wait until it has loaded what it loads."""
        nursery = self._find_nursery()
        if nursery is not None and not nursery.is_ready(_LOAD_TIME):
            log.warning("the fork server takes long; until then every run starts an interpreter")

    def close(self) -> None:
        """End the fork server and the errand."""
        if self._nursery is not None:
            self._nursery.close()
            self._nursery = None
        if self._errand is not None:
            self._errand.kill()
            self._errand.communicate()
            self._errand = None

    def start(self, run: Run, order: leash.Order) -> StartedRun:
        """Start a run.

        Raises:
            OSError: No process can be started.
        """
        nursery = self._find_nursery()
        if nursery is None or run.attempt > 1 or not nursery.is_ready():
            return RunProcess(run, order)
        try:
            return ForkedRun(run, order, nursery)
        except OSError as error:
            log.warning("the fork server does not work (%s)", error)
            return RunProcess(run, order)

    def _find_nursery(self) -> Nursery | None:
        if self._nursery is not None and self._nursery.is_open:
            return self._nursery
        if self._nursery is not None:
            self._nursery.close()
            self._nursery, self._broken = None, time.monotonic()
        if self._fork and time.monotonic() - self._broken >= _REST:
            with suppress(OSError):
                self._nursery = Nursery()
        return self._nursery

    # ---- errands ---------------------------------------------------------------------------

    def prepare(self, versions: Iterable[Version]) -> None:
        """Have versions brought into the cache, one after another, and their modules loaded."""
        self._waiting.extend(
            leash.Errand(self._registry, each.project, each.flow, each.number) for each in versions
        )

    def go_on(self) -> None:
        """Look after the errands and the fork server; never waits."""
        if self._nursery is not None:
            self._nursery.go_on()
        if self._errand is not None and self._errand.poll() is not None:
            said, _ = self._errand.communicate()
            self._errand = None
            if self._nursery is not None:
                self._nursery.load(said.decode().split())
        if self._errand is None and self._waiting:
            with suppress(OSError):
                self._errand = _start(self._waiting.popleft())


def _start(errand: leash.Errand) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "casflow.agents.prefetch"]
    pipe: Any = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, process_group=0)
    assert process.stdin is not None  # noqa: S101 - for the type checker
    with suppress(BrokenPipeError):
        leash.give(errand, process.stdin)
    return process
