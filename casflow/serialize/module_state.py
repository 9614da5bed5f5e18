"""What is there for the process that it is in, and is made anew in another.

Owns the rules for such objects: locks, thread-local data, context variables, empty queues.
Invariant: none of them says anything of the program but that it is there and who shares it, so a
fresh one is what an import would make; one that says more (a lock that is held, an event that is
set, a queue that is not empty) is pickled as it is or refused.
"""

from __future__ import annotations

import contextvars
import functools
import queue
import threading
from typing import TYPE_CHECKING, Any

from casflow.serialize.reducers import reducer

if TYPE_CHECKING:
    from collections.abc import Callable

    from casflow.serialize.reducers import Pickling


def _context_variable(variable: contextvars.ContextVar[Any]) -> Any:
    """Make a variable of that name and default, without what the context at hand sets."""
    try:
        default = contextvars.Context().run(variable.get)
    except LookupError:
        return contextvars.ContextVar, (variable.name,)
    return functools.partial(contextvars.ContextVar, variable.name, default=default), ()


def _queue(each: Any) -> Any:
    return (type(each), (each.maxsize,)) if each.empty() else NotImplemented


_MADE_ANEW: dict[type, Callable[[Any], Any]] = {
    type(threading.Lock()): lambda each: NotImplemented if each.locked() else (threading.Lock, ()),
    type(threading.RLock()): lambda _: (threading.RLock, ()),
    threading.local: lambda _: (threading.local, ()),
    threading.Event: lambda each: NotImplemented if each.is_set() else (threading.Event, ()),
    threading.Condition: lambda each: (threading.Condition, (each._lock,)),  # noqa: SLF001
    threading.Semaphore: lambda each: (threading.Semaphore, (each._value,)),  # noqa: SLF001
    threading.BoundedSemaphore: lambda each: (
        threading.BoundedSemaphore,
        (each._initial_value,),  # noqa: SLF001
    ),
    queue.Queue: _queue,
    queue.LifoQueue: _queue,
    queue.PriorityQueue: _queue,
    queue.SimpleQueue: lambda each: (queue.SimpleQueue, ()) if each.empty() else NotImplemented,
    contextvars.ContextVar: _context_variable,
}


@reducer(*(f"{each.__module__}.{each.__qualname__}" for each in _MADE_ANEW))
def made_anew(_: Pickling, obj: Any) -> Any:
    """Make such an object anew; a subclass says by itself how it is pickled."""
    make = _MADE_ANEW.get(type(obj))
    return NotImplemented if make is None else make(obj)
