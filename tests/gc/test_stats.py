"""`stats`: what is counted as stored, as used, and as waiting for the collector."""

from __future__ import annotations

from casflow.gc import stats
from casflow.gc.roots import discard, pin


def test_a_blob_that_two_references_name_is_used_twice(bench):
    for flow in ("a", "b"):
        bench.add(flow, b"12345678")
    bench.add("c", b"1234")
    counted = stats(bench.store)
    assert (counted.flows, counted.references, counted.logical) == (3, 3, 20)
    assert (counted.stored.blobs, counted.stored.bytes) == (2, 12)
    assert counted.dedup == 20 / 12


def test_what_waits_in_the_trash_is_used(bench):
    done = bench.add("a", b"12345678")
    bench.add("b", b"1234")
    discard(bench.content, done.key)
    counted = stats(bench.store)
    assert (counted.references, counted.trashed, counted.logical) == (1, 1, 12)
    assert counted.dedup == 1
    assert counted.garbage.blobs == 0


def test_garbage_is_not_used_less_than_once(bench):
    bench.add("a", b"12345678")
    bench.add_garbage(b"1234")
    counted = stats(bench.store)
    assert (counted.stored.bytes, counted.garbage.bytes) == (12, 4)
    assert counted.dedup == 1


def test_a_pin_is_no_further_use(bench):
    done = bench.add("a", b"12345678")
    pin(bench.content, done.key, "release")
    counted = stats(bench.store)
    assert (counted.pins, counted.logical, counted.dedup) == (1, 8, 1)


def test_an_empty_store_holds_everything_once(bench):
    assert stats(bench.store).dedup == 1
