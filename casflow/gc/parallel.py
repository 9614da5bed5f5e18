"""Streams of items in lists; and, from `casflow.blobs.concurrent`, mapped by several threads.

Invariant: no list is longer than was asked for, and every item is in one.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from casflow.blobs.concurrent import ordered_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["chunked", "ordered_map"]

Item = TypeVar("Item")


def chunked(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in lists of at most `size`."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
