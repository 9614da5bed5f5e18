"""What references say is read once; whatever could have changed since is read again."""

from __future__ import annotations

import sqlite3

import pytest

from casflow.blobs import layout
from casflow.cache import Cache
from casflow.gc import Collector, Policy, undelete
from casflow.gc.limits import DAY
from casflow.reference import BlobName


class Reading:
    """The bench, a cache, and which keys were read of the store."""

    def __init__(self, bench, folder):
        self.bench, self.cache = bench, Cache(folder, 10**8)
        self.keys = []
        self._get = bench.store.get
        bench.store.get = self.get

    def get(self, key):
        self.keys.append(key)
        return self._get(key)

    def references(self, act):
        """Return the references that were read meanwhile."""
        self.keys.clear()
        act()
        return [key for key in self.keys if layout.is_reference(key.removeprefix(layout.TRASH))]

    def collector(self, **options):
        return self.bench.collector(cache=self.cache, **options)

    def run(self, **options):
        return self.references(lambda: self.collector(**options).run())


@pytest.fixture
def reading(bench, tmp_path):
    reading = Reading(bench, tmp_path / "cache")
    bench.wait(60)  # what is added now is a minute old for a run
    return reading


def replace(bench, done, data):
    """Write over a reference one that names other bytes of the same size, as a repair does."""
    blob = bench.add("other", data).reference.blob
    named = BlobName(blob.digest, blob.incarnation, blob.size)
    reference = bench.content.get_reference(done.key)
    form = reference.to_dict() | named.to_dict()
    bench.store.put(done.key, type(reference).from_dict(form, where=done.key).to_bytes())
    return blob


def test_a_second_run_reads_no_reference_and_decides_the_same(reading):
    keys = [reading.bench.add(f"flow {n % 3}", b"%d" % n).key for n in range(9)]
    assert sorted(reading.run()) == sorted(keys)
    assert reading.run() == []
    policy = Policy(last=1)
    remembered = reading.collector(policy=policy).preview()
    assert remembered.expired == reading.bench.collector(policy=policy).preview().expired
    assert remembered.references == 9


def test_the_trash_is_remembered_too_and_labels_and_attachments_count(reading):
    old = reading.bench.add(data=b"old", labels=("release",), attachments={"map": b"lines"})
    reading.bench.add(data=b"new", labels=("daily",))
    reading.run()
    kept = reading.collector(policy=Policy(last=1, labels=frozenset({"release"}))).preview()
    assert kept.expired == {}
    reading.run(policy=Policy(last=1))
    assert reading.run() == [layout.trash(old.key)]
    assert reading.run() == []
    assert reading.collector().preview().condemned.blobs == 0


def test_what_was_written_over_is_read_again(reading):
    done = reading.bench.add("flow", b"1")
    reading.run()
    blob = replace(reading.bench, done, b"2")
    (other,) = (key for key in reading.bench.keys("other/"))
    reading.bench.store.delete(other)
    assert reading.run() == [done.key]
    assert reading.bench.keys(layout.CONDEMNED) == [layout.marker(done.reference.digest, 0)]
    assert reading.bench.has(blob)


def test_what_came_back_is_read_and_the_rest_is_remembered(reading):
    done, _ = reading.bench.add(data=b"old"), reading.bench.add(data=b"new")
    reading.run()
    reading.run(policy=Policy(last=1))
    reading.bench.store.create(layout.marker(done.reference.digest, 0), b"")
    again = undelete(reading.bench.content, done.key).reference.blob
    assert again.incarnation == 1
    for _ in range(3):
        reading.run()
        reading.bench.wait(8 * DAY)
    assert reading.bench.has(again)
    assert not reading.bench.has(done.reference.blob)


def test_what_is_gone_is_no_root_any_more(reading):
    gone, _ = reading.bench.add("gone", b"gone"), reading.bench.add()
    reading.run()
    reading.bench.store.delete(gone.key)
    report = reading.collector().run()
    assert (report.references, report.condemned.blobs) == (1, 1)


def test_what_was_written_a_moment_ago_is_not_remembered(bench, tmp_path):
    reading = Reading(bench, tmp_path / "cache")
    key = bench.add().key
    assert reading.run() == [key]
    assert reading.run() == [key]


def test_a_store_that_tells_no_version_is_read_each_time(reading, monkeypatch):
    listing = reading.bench.store.list
    key = reading.bench.add().key
    reading.bench.store.list = lambda prefix="": (
        info._replace(version="") for info in listing(prefix)
    )
    assert reading.run() == [key]
    assert reading.run() == [key]


def test_a_dry_run_keeps_nothing(reading):
    key = reading.bench.add().key
    assert reading.references(reading.collector().preview) == [key]
    assert reading.cache.entries() == []


def test_a_damaged_page_is_as_good_as_none(reading):
    key = reading.bench.add().key
    reading.run()
    for entry in reading.cache.entries():
        path = reading.cache.path(entry.digest)
        path.write_bytes(path.read_bytes().replace(b"flow", b"f1ow"))
        reading.cache.path(entry.digest).chmod(0o600)
    assert reading.run() == [key]


def test_an_emptied_cache_does_no_harm(reading):
    key = reading.bench.add().key
    reading.run()
    reading.cache.clean()
    assert reading.run() == [key]


def test_a_cache_that_cannot_be_written_does_no_harm(reading, tmp_path):
    (tmp_path / "file").write_text("in the way")
    reading.cache = Cache(tmp_path / "file" / "cache", 10**8)
    key = reading.bench.add().key
    assert reading.run() == [key]
    assert reading.run() == [key]


def test_an_index_that_is_locked_does_no_harm(reading, monkeypatch):
    def locked(*_):
        raise sqlite3.OperationalError("database is locked")

    key = reading.bench.add().key
    monkeypatch.setattr(reading.cache, "find_alias", locked)
    monkeypatch.setattr(reading.cache, "set_alias", locked)
    assert reading.run() == [key]
    assert reading.run() == [key]


def test_what_cannot_be_read_is_not_remembered(reading):
    key = reading.bench.add("flow", b"1").key
    broken = reading.bench.add("other", b"2")
    reading.bench.store.put(broken.key, b"not JSON")
    assert reading.run() == [key, broken.key]
    assert reading.run() == [broken.key]


def test_more_references_than_a_page_holds_are_remembered(reading, monkeypatch):
    monkeypatch.setattr("casflow.gc.reference_cache._PAGE", 4)
    keys = [reading.bench.add(f"flow {n % 2}", b"%d" % n).key for n in range(11)]
    reading.run()
    reading.bench.store.delete(keys[3])
    new = reading.bench.add("flow 0", b"new").key
    assert reading.run() == [new]
    assert Collector(reading.bench.store, cache=reading.cache).preview().references == 11
