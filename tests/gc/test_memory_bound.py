"""A big store is surveyed within a small memory: what is kept of each object is a few bytes."""

from __future__ import annotations

import tracemalloc

import pytest

from casflow.blobs import layout
from casflow.blobs.base import BlobStore, ObjectInfo
from casflow.cache import Cache
from casflow.digests import digest_of
from casflow.errors import NotFoundError
from casflow.gc import Collector, Policy
from casflow.reference import PICKLE, BlobName, Reference

OBJECTS = 8_000  # blobs, and as many references
ALLOWED = 250  # bytes for each pair, so 250 MB for a million
APART = 2 << 20  # bytes for what does not grow with the store


class Endless(BlobStore):
    """A store whose objects are made up as they are asked for."""

    url = "memory://endless"
    parallel = 1

    def list(self, prefix=""):
        if prefix.startswith(layout.BLOBS):
            for number in range(int(prefix[-1], 16), OBJECTS, 16):
                yield ObjectInfo(layout.blob(self._digest(number), 0), 1, 0.0, "1")
        elif prefix == "f":
            for number in range(OBJECTS):
                yield ObjectInfo(self._key(number), 1, 0.0, "1")

    def _digest(self, number):
        return f"blake3:{number % 16:x}{digest_of(b'%d' % number)[8:]}"

    def _key(self, number):
        clock = f"{number // 3600 % 24:02}-{number // 60 % 60:02}-{number % 60:02}"
        return f"flow-{number // 100:05}/2026-01-01t{clock}-000000-00-00"

    def get(self, key):
        if key == layout.FORMAT:
            return b'{"format": 1}'
        if key.startswith(layout.OWN):
            raise NotFoundError("no object", where=key)
        hours, minutes, seconds = map(int, key.rpartition("t")[2][:8].split("-"))
        number = hours * 3600 + minutes * 60 + seconds
        blob = BlobName(self._digest(number), 0, 1)
        return Reference(
            f"flow {number // 100}", blob, PICKLE, "2026-01-01T00:00:00+00:00"
        ).to_bytes()

    def find(self, key):
        return None

    def copy_to(self, key, target, size=None): ...

    def create(self, key, data): ...

    def put(self, key, data): ...

    def delete(self, key): ...


@pytest.mark.parametrize("remembers", [False, True])
def test_a_plan_of_a_big_store_takes_a_few_bytes_for_each_object(tmp_path, remembers):
    cache = Cache(tmp_path, 10**9) if remembers else None
    collector = Collector(Endless(), policy=Policy(last=50), cache=cache)
    collector.scan.settled = 1.0
    tracemalloc.start()
    report = collector.preview()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (report.references, report.stored.blobs) == (OBJECTS, OBJECTS)
    assert sum(map(len, report.expired.values())) == OBJECTS // 2
    assert report.condemned.blobs == 0
    assert peak < ALLOWED * OBJECTS + APART
