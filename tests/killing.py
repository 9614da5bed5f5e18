"""Run casflow until its n-th effect on the outside, then kill it with SIGKILL.

    python tests/killing.py N before|after casflow-arguments...

Effects are what changes a file, a folder or the registry. A process that gets to its end without
an n-th effect exits as usual, which tells a loop over n that it has seen them all.
"""

from __future__ import annotations

import os
import signal
import sys
from threading import Lock

WRAPPED = ("link", "replace", "rename", "unlink", "remove", "mkdir", "fsync", "utime", "rmdir")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Countdown:
    """Counts effects, those of all threads, and kills the process at one of them."""

    def __init__(self, last, when):
        self.left, self.when = last, when
        self.counting = Lock()

    def around(self, effect, *args, **kwargs):
        with self.counting:
            self.left -= 1
            last = self.left == 0
        if last and self.when == "before":
            die()
        try:
            result = effect(*args, **kwargs)
        except OSError:  # nothing happened, so there is no "after" it
            with self.counting:
                self.left += self.when == "after"
            raise
        if last:
            die()
        return result

    def wrap(self, effect):
        def wrapped(*args, **kwargs):
            return self.around(effect, *args, **kwargs)

        return wrapped


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def arm(countdown):
    for name in WRAPPED:
        setattr(os, name, countdown.wrap(getattr(os, name)))
    plain = os.open

    def opening(path, flags, *args, **kwargs):
        if flags & WRITING:
            return countdown.around(plain, path, flags, *args, **kwargs)
        return plain(path, flags, *args, **kwargs)

    os.open = opening
    arm_registry(countdown)


def arm_registry(countdown):
    from sqlalchemy.engine.default import DefaultDialect

    for name in ("do_execute", "do_commit"):
        setattr(DefaultDialect, name, countdown.wrap(getattr(DefaultDialect, name)))


if __name__ == "__main__":
    last, when, *arguments = sys.argv[1:]
    arm(Countdown(int(last), when))
    from casflow.cli import main

    main(arguments)
