"""A blob store that fails at a chosen operation, to show that a crash there does no harm.

Owns `FaultyStore`, the seam for failing the n-th operation: wrap any store, run a procedure for
n = 1, 2, 3 and so on until it completes, and look at what each failure has left. Invariant: the
operations before the chosen one are the wrapped store's own, and with `after` the chosen one has
taken effect although the caller never learns of it.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, Literal

from casflow.blobs.base import BlobStore, ObjectInfo
from casflow.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

EFFECTS = frozenset({"create", "put", "delete"})
OPERATIONS = EFFECTS | {"get", "copy_to", "find", "list"}

When = Literal["before", "after"]
Action = Literal["kill", "raise"]


class FaultyStore(BlobStore):
    """A store whose n-th operation fails; all others are passed on.

    Args:
        store: The store that does the work.
        fail_at: Which operation fails; 1 is the first, 0 none.
        when: Before it takes effect, or after.
        action: `kill` ends the process with SIGKILL; `raise` raises an `UnavailableError`.
        operations: Names of the operations that count; those that change the store by default.
    """

    def __init__(
        self,
        store: BlobStore,
        *,
        fail_at: int,
        when: When = "before",
        action: Action = "raise",
        operations: Collection[str] = EFFECTS,
    ) -> None:
        self.url = store.url
        self.count = 0
        self._store = store
        self._fail_at = fail_at
        self._when = when
        self._action = action
        self._operations = operations
        self._lock = Lock()

    def get(self, key: str) -> bytes:
        """Return an object's bytes."""
        with self._counted("get", key):
            return self._store.get(key)

    def copy_to(self, key: str, target: BinaryIO, size: int | None = None) -> None:
        """Write an object's bytes to a file."""
        with self._counted("copy_to", key):
            self._store.copy_to(key, target, size)

    def find(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None when there is none."""
        with self._counted("find", key):
            return self._store.find(key)

    def create(self, key: str, data: bytes | Path) -> None:
        """Write an object that must not exist yet."""
        with self._counted("create", key):
            self._store.create(key, data)

    def put(self, key: str, data: bytes | Path) -> None:
        """Write an object over what may be there."""
        with self._counted("put", key):
            self._store.put(key, data)

    def delete(self, key: str) -> None:
        """Remove an object."""
        with self._counted("delete", key):
            self._store.delete(key)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield objects; a failure `after` comes when all have been yielded."""
        with self._counted("list", prefix):
            yield from self._store.list(prefix)

    @contextmanager
    def _counted(self, operation: str, key: str) -> Iterator[None]:
        chosen = self._is_chosen(operation)
        if chosen and self._when == "before":
            self._fail(operation, key)
        yield
        if chosen:
            self._fail(operation, key)

    def _is_chosen(self, operation: str) -> bool:
        if operation not in self._operations:
            return False
        with self._lock:
            self.count += 1
            return self.count == self._fail_at

    def _fail(self, operation: str, key: str) -> None:
        if self._action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        text = f"{operation} failed on purpose, {self._when} its effect"
        raise UnavailableError(text, where=self.location(key))
