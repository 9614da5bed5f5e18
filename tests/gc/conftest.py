"""A folder as a store, in which time can be made to pass."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from casflow.blobs import layout
from casflow.blobs.content import ContentStore, Draft
from casflow.blobs.local import LocalBlobStore
from casflow.gc import Collector
from casflow.reference import PICKLE


class AgedStore(LocalBlobStore):
    """A folder whose clock can be put forward: what is written by a run is that much younger."""

    ahead = 0.0

    def now(self):
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    def find(self, key):
        info = super().find(key)
        if info is not None and key.startswith((layout.RUNS, layout.TRASH)):
            return info._replace(modified=info.modified + self.ahead)
        return info


class Bench:
    """A store, its content, and a collector at hand."""

    def __init__(self, root):
        self.store = AgedStore(root)
        self.content = ContentStore(self.store)

    def add(self, flow="flow", data=b"data", labels=(), **parts):
        return self.content.commit(Draft(flow, data, PICKLE, labels, **parts))

    def add_garbage(self, data=b"garbage"):
        done = self.add("gone", data)
        self.store.delete(done.key)
        return done.reference.blob

    def wait(self, seconds):
        self.store.ahead += seconds

    def collector(self, **options):
        return Collector(self.store, now=self.store.now, **options)

    def keys(self, prefix=""):
        return [info.key for info in self.store.list(prefix)]

    def has(self, blob):
        return self.store.find(layout.blob(blob.digest, blob.incarnation)) is not None

    def content_of_all(self):
        return {key: self.store.get(key) for key in self.keys()}


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / "store")
