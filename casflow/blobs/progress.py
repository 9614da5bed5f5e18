"""How far a big transfer has come, for whoever shows it.

Owns the one place where blob stores tell and a front end listens. Invariant: nobody listens unless
a front end asked for it, and reporting costs one look at a variable; who listens is never told of
more than there is. The variables belong to the context, so that a request on another thread's
event loop tells whoever waits for it.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from contextlib import AbstractContextManager

    Moved = Callable[[int], None]
    Watcher = Callable[[str, int], AbstractContextManager[Moved]]

BIG = 16 * 2**20  # bytes from which a transfer is worth showing
_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)
_moved: ContextVar[Moved | None] = ContextVar("moved", default=None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Let a front end see the big transfers of a block.

    Args:
        watcher: Is told what is moved and how many bytes that are; gives, for as long as it is
            moved, what is told each time how many bytes more have been.
    """
    before = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(before)


@contextmanager
def transfer(what: str, size: int) -> Iterator[None]:
    """Show the block as one transfer, if it is big and somebody looks."""
    watcher = _watcher.get()
    if watcher is None or size < BIG:
        yield
        return
    with watcher(what, size) as told:
        before = _moved.set(partial(_report_progress, told, [size]))
        try:
            yield
        finally:
            _moved.reset(before)


def _report_progress(told: Moved, left: list[int], count: int) -> None:
    """Tell of bytes, but of no more than there are: some are sent twice, or in an envelope."""
    count = min(count, left[0])
    left[0] -= count
    told(count)


def moved(count: int) -> None:
    """Tell how many bytes more of the present transfer have been moved."""
    told = _moved.get()
    if told is not None:
        told(count)


def reporting(request: Callable[..., Awaitable[Any]], body: str) -> Callable[..., Awaitable[Any]]:
    """Return a library's request function that also tells of the bodies that it has sent.

    Args:
        request: The function.
        body: Name of its argument that is the body.
    """

    async def told(*rest: Any, **named: Any) -> Any:
        answer = await request(*rest, **named)
        moved(len(named.get(body) or b""))
        return answer

    return told
