"""What a forked child does with the connections of its parent.

Owns the lock under which filesystems are opened, and the hook that runs in each child. Invariant:
a child neither uses nor closes what its parent opened, and never waits for a thread that it does
not have.
"""

from __future__ import annotations

import os
import weakref
from threading import Lock
from typing import Any

open_lock = Lock()  # threads that begin together share a connection


def _forget_inherited() -> None:
    """Let a forked child neither use nor close what its parent opened.

    The thread of the inherited event loop did not survive the fork, so closing would wait for
    ever; and the loop's selector is shared, so that what a child removes is lost to its parent.
    """
    # Another thread of the parent may have held it.
    open_lock._at_fork_reinit()  # type: ignore[attr-defined]  # noqa: SLF001
    for finalizer in list(vars(weakref.finalize)["_registry"]):
        alive = finalizer.peek()
        if alive is not None and getattr(alive[0], "async_impl", False):
            finalizer.detach()
            _abandon(getattr(alive[0], "_loop", None))


def _abandon(loop: Any) -> None:
    state = {} if loop is None else vars(loop)
    if "_selector" in state:
        state["_selector"].close()  # this process's end of it only
        state["_closed"] = True
        loop.set_exception_handler(lambda *_: None)  # complaints about open sessions


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited)
