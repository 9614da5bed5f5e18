"""An engine that is killed, and started again on what it left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from tests.services.process import Server


def kill(engine):
    """End an engine and its containerd without a chance to tidy up."""
    engine.kill()
    helper = engine.folder / "exec/containerd/containerd.pid"
    with contextlib.suppress(OSError, ValueError):
        os.kill(int(helper.read_text()), signal.SIGKILL)
    time.sleep(0.5)
    for left in (helper, engine.folder / "pid"):
        left.unlink(missing_ok=True)


def revive(engine):
    """Start an engine on the same images; it must not begin anew with another driver."""
    Server.start(engine)
