"""Leases: what this machine uses is kept by gc, for the day, at one write a day.

Owns when a lease is written and that nobody waits for it. Invariant: of one version and machine at
most one a day is written, and what failed is tried again an hour later at the earliest; a store
that is down, or may only be read, is no error, since whoever checks out has what they asked for.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import threading
import time
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from casflow.blobs import layout
from casflow.errors import CasflowError, ConfigError, ConflictError
from casflow.gc import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from casflow.blobs.content import ContentStore
    from casflow.cache import Cache
    from casflow.reference import Reference
    from casflow.trees.selected import Selected

logger = logging.getLogger(__name__)

LEASE_DAYS = 30  # for which gc keeps what is leased, unless it is told otherwise
_RETRY = timedelta(hours=1)  # between two tries to renew a lease
_PATIENCE = 2.0  # seconds that a process waits at its end, once a day, for its leases
_under_way: set[threading.Thread] = set()


class Leases:
    """The leases that this machine holds in one store.

    Args:
        content: The store.
        cache: This machine's cache, which remembers what was leased today.
    """

    def __init__(self, content: ContentStore, cache: Cache) -> None:
        self._content = content
        self._cache = cache

    def hold(self, reference: Reference, day: date | None = None) -> bool:
        """Write a lease of a day, today when left out; return False if there is one already.

        Raises:
            CasflowError: It cannot be written.
        """
        day = day or datetime.now(UTC).date()
        alias = self._alias(reference.digest)
        if self._cache.find_alias(alias) == day.isoformat():
            return False
        try:
            key = layout.lease(reference.digest, socket.gethostname(), day)
            self._content.copy(reference, key)
        except ConflictError:
            written = False
        else:
            written = True
        self._cache.set_alias(alias, day.isoformat())
        return written

    def renew(self, digest: str, select: Callable[[], Selected]) -> None:
        """Hold a lease of today without making anybody wait for it.

        Args:
            digest: The digest.
            select: Finds the version, if that takes a request at all.
        """
        now, alias = datetime.now(UTC), self._alias(digest)
        if self._cache.find_alias(alias) == now.date().isoformat():
            return
        tried = self._cache.find_alias(f"tried {alias}")
        if tried is not None and now - datetime.fromisoformat(tried) < _RETRY:
            return
        self._cache.set_alias(f"tried {alias}", now.isoformat())
        thread = threading.Thread(
            target=self._renew, args=(digest, select), name="casflow-lease", daemon=True
        )
        _under_way.add(thread)
        thread.start()

    def _renew(self, digest: str, select: Callable[[], Selected]) -> None:
        try:
            self.hold(select().reference)
        except (CasflowError, RuntimeError) as error:  # or the interpreter shuts down
            logger.info("no lease on %s: %s", digest, error)
        finally:
            _under_way.discard(threading.current_thread())

    def _alias(self, digest: str) -> str:
        return f"lease {self._content.store.url} {digest}"


def finish_leases() -> None:
    """Give leases that are being written a moment; what is not done by then is done tomorrow."""
    deadline = time.monotonic() + _PATIENCE
    for thread in tuple(_under_way):
        thread.join(max(0.0, deadline - time.monotonic()))


# At the usual hooks' turn pools of threads are closed already, and a lease takes several requests.
getattr(threading, "_register_atexit", atexit.register)(finish_leases)
if hasattr(os, "register_at_fork"):
    # A child would be left with what such a thread holds at that moment, such as a lock of SQLite.
    os.register_at_fork(before=finish_leases)


def last_day(keep: str | None) -> date | None:
    """Return the day of a lease that ends after a time such as `7d`.

    Raises:
        ConfigError: It is not a time, or longer than leases last.
    """
    if keep is None:
        return None
    days = -(-parse_duration(keep) // timedelta(days=1))
    if not 0 < days <= LEASE_DAYS:
        hint = "give it a name, or pin it, to keep it for longer"
        raise ConfigError(f"cannot keep it for {keep!r}: 1 to {LEASE_DAYS} days", hint=hint)
    return datetime.now(UTC).date() + timedelta(days=days - LEASE_DAYS)
