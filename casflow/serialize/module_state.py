"""What a module or class keeps for the process that it is in, and makes anew in another.

Owns the list of such objects: locks, thread-local data, context variables. Invariant: none of them
says anything of the program but that it is there, so a fresh one is what an import would make;
one that says more (a lock that is held, a queue that is not empty) is not in the list.
"""

from __future__ import annotations

import contextvars
import functools
import queue
import threading
from typing import TYPE_CHECKING, Any

from casflow.serialize.reducers import Call

if TYPE_CHECKING:
    from collections.abc import Callable


def _context_variable(variable: contextvars.ContextVar[Any]) -> Any:
    """Return a variable of that name and default, without what the context at hand sets."""
    try:
        default = contextvars.Context().run(variable.get)
    except LookupError:
        return Call(contextvars.ContextVar, variable.name)
    return Call(functools.partial(contextvars.ContextVar, variable.name, default=default))


def _lock(lock: Any) -> Any:
    return lock if lock.locked() else Call(threading.Lock)


MADE_ANEW: dict[type, Callable[[Any], Any]] = {
    type(threading.Lock()): _lock,
    type(threading.RLock()): lambda _: Call(threading.RLock),
    threading.local: lambda _: Call(threading.local),
    threading.Event: lambda event: event if event.is_set() else Call(threading.Event),
    threading.Condition: lambda _: Call(threading.Condition),
    threading.Semaphore: lambda each: Call(threading.Semaphore, each._value),  # noqa: SLF001
    queue.Queue: lambda each: Call(queue.Queue, each.maxsize) if each.empty() else each,
    contextvars.ContextVar: _context_variable,
}
