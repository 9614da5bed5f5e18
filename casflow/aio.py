"""The public door for programs that run on an event loop.

Owns `casflow.aio.Store`. Invariant: each method does what the one of `casflow.Store` does, in a
thread, so that nothing is done twice; where it is cancelled, what is under way goes on to its end.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from casflow.store import Store as _Store

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Store"]


def _awaited(method: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    @functools.wraps(method)
    async def call(self: Store, *args: Any, **options: Any) -> Any:
        return await asyncio.to_thread(method, self.sync, *args, **options)

    return call


class Store:
    """`casflow.Store` with methods to be awaited.

    Args:
        url: As of `casflow.Store`; or such a store.
        options: As of `casflow.Store`.
    """

    def __init__(self, url: Any = None, **options: Any) -> None:
        self.sync = url if isinstance(url, _Store) else _Store(url, **options)

    @property
    def url(self) -> str:
        """Where the store is, for messages; holds no credential."""
        return self.sync.url

    def __repr__(self) -> str:
        return f"casflow.aio.{self.sync!r}"

    push = _awaited(_Store.push)
    checkout = _awaited(_Store.checkout)
    listing = _awaited(_Store.listing)
    read_file = _awaited(_Store.read_file)
    open_file = _awaited(_Store.open_file)
    digest = _awaited(_Store.digest)
    resolve = _awaited(_Store.resolve)
    versions = _awaited(_Store.versions)
    names = _awaited(_Store.names)
    tag = _awaited(_Store.tag)
    tags = _awaited(_Store.tags)
    sign = _awaited(_Store.sign)
    signers = _awaited(_Store.signers)
    history = _awaited(_Store.history)
    put = _awaited(_Store.put)
    get = _awaited(_Store.get)
    open = _awaited(_Store.open)
    pin = _awaited(_Store.pin)
    unpin = _awaited(_Store.unpin)
    lease = _awaited(_Store.lease)
    copy = _awaited(_Store.copy)
    verify = _awaited(_Store.verify)
    gc = _awaited(_Store.gc)
    stats = _awaited(_Store.stats)
