"""Any store, seen from a later day: each run's present moment is put forward."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from casflow.blobs import layout
from casflow.blobs.base import BlobStore


class Later(BlobStore):
    """A store whose runs happen some seconds later than they do.

    Args:
        store: The store that does the work.
        seconds: How much later.
    """

    def __init__(self, store, seconds=0.0):
        self.store, self.ahead = store, seconds
        self.url, self.parallel = store.url, store.parallel
        for name in ("get", "copy_to", "create", "put", "delete", "list", "delete_many"):
            setattr(self, name, getattr(store, name))

    def now(self):
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    def find(self, key):
        info = self.store.find(key)
        if info is not None and key.startswith((layout.RUNS, layout.TRASH)):
            return info._replace(modified=info.modified + self.ahead)
        return info

    def get(self, key): ...

    def copy_to(self, key, target, size=None): ...

    def create(self, key, data): ...

    def put(self, key, data): ...

    def delete(self, key): ...

    def list(self, prefix=""): ...
