"""Requests to a store at the same time.

Invariant: each is made in the caller's context, so that a connection which is opened for any of
them sees the secrets that the caller was given; answers come in the order of their questions, and
an error where its answer would have.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def run_concurrently(*calls: Callable[[], Any]) -> list[Any]:
    """Return what calls return that are made at the same time; of errors the first call's."""
    first, *others = calls
    with ThreadPoolExecutor(max(len(others), 1)) as pool:
        under_way = [pool.submit(copy_context().run, each) for each in others]
        done = first()
    return [done, *(each.result() for each in under_way)]


def ordered_map(
    function: Callable[[Item], Answer], items: Iterable[Item], threads: int
) -> Iterator[Answer]:
    """Yield the answers to all items; `threads` are worked on at once, twice as many may wait."""
    if threads <= 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[Answer]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(copy_context().run, function, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
