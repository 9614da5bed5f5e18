"""Requests to a store at the same time.

Invariant: each is made in the caller's context, so that a connection which is opened for any of
them sees the secrets that the caller was given.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def run_concurrently(*calls: Callable[[], Any]) -> list[Any]:
    """Return what calls return that are made at the same time; of errors the first call's."""
    first, *others = calls
    with ThreadPoolExecutor(max(len(others), 1)) as pool:
        under_way = [pool.submit(copy_context().run, each) for each in others]
        done = first()
    return [done, *(each.result() for each in under_way)]
