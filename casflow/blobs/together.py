"""Two questions to a store at the same time.

Invariant: both are asked in the caller's context, so that a connection which is opened for either
sees the secrets that the caller was given.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_One = TypeVar("_One")
_Other = TypeVar("_Other")


def both(one: Callable[[], _One], other: Callable[[], _Other]) -> tuple[_One, _Other]:
    """Return what two calls return that are made at the same time; of errors the first's."""
    with ThreadPoolExecutor(1) as beside:
        waited_for = beside.submit(copy_context().run, other)
        done = one()
    return done, waited_for.result()
