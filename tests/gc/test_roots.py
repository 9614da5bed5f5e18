"""Pins and the trash: every way into and out of them goes through the writer's steps."""

from __future__ import annotations

import pytest

from casflow.blobs import layout
from casflow.errors import ConfigError, ConflictError, IntegrityError, NotFoundError
from casflow.gc import Policy, pin, pins, trashed, undelete, unpin
from casflow.gc.limits import DAY
from casflow.gc.roots import discard


def test_a_pin_keeps_the_blobs_of_a_reference_that_is_gone(bench):
    done = bench.add(attachments={"map": b"lines"})
    pin(bench.content, done.key, "release/1")
    bench.store.delete(done.key)
    bench.add("other", b"other")
    bench.collector().run()
    bench.wait(2 * DAY)
    bench.collector().run()
    assert all(bench.has(each) for each in done.reference.blobs())
    assert [each.key for each in pins(bench.content)] == ["release/1"]


def test_unpinned_blobs_go(bench):
    done = bench.add()
    pin(bench.content, done.key, "mine")
    bench.store.delete(done.key)
    bench.add("other", b"other")
    assert unpin(bench.content, "mine") == done.reference
    assert bench.collector().run().condemned.blobs == 1


def test_a_pin_is_made_once_and_never_moved(bench):
    first, second = bench.add(data=b"1"), bench.add(data=b"2")
    pin(bench.content, first.key, "mine")
    assert pin(bench.content, first.key, "mine").digest == first.reference.digest
    with pytest.raises(ConflictError, match="something else"):
        pin(bench.content, second.key, "mine")


def test_a_pin_of_condemned_bytes_gets_an_incarnation_of_its_own(bench):
    done = bench.add()
    bench.store.create(layout.marker(done.reference.digest, 0), b"")
    assert pin(bench.content, done.key, "mine").blob.incarnation == 1
    assert bench.store.get(layout.blob(done.reference.digest, 1)) == b"data"


def test_damaged_bytes_are_not_copied(bench):
    done = bench.add()
    bench.store.create(layout.marker(done.reference.digest, 0), b"")
    bench.store.put(layout.blob(done.reference.digest, 0), b"xxxx")
    with pytest.raises(IntegrityError, match="does not match"):
        pin(bench.content, done.key, "mine")
    assert bench.keys(layout.PINS) == []


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a\n"])
def test_a_pin_has_a_plain_name(bench, name):
    with pytest.raises(ConfigError, match="not a key"):
        pin(bench.content, bench.add().key, name)


def test_what_is_not_there_cannot_be_pinned_unpinned_or_restored(bench):
    bench.add()
    key = "flow/2026-01-01t00-00-00-000000-00-00"
    with pytest.raises(NotFoundError):
        pin(bench.content, key, "mine")
    with pytest.raises(NotFoundError):
        unpin(bench.content, "mine")
    with pytest.raises(NotFoundError):
        undelete(bench.content, key)
    with pytest.raises(ConfigError, match="not the key"):
        undelete(bench.content, "format")


def test_a_reference_comes_back_from_the_trash(bench):
    old, _ = bench.add(data=b"old"), bench.add(data=b"new")
    bench.collector(policy=Policy(last=1)).run()
    assert [each.key for each in trashed(bench.content, "flow")] == [old.key]
    assert list(trashed(bench.content, "other")) == []
    again = undelete(bench.content, old.key)
    assert again.key != old.key
    assert bench.content.get_reference(again.key).same_content(old.reference)
    assert bench.store.find(old.key) is None
    assert bench.keys(layout.TRASH) == [layout.trash(old.key)]
    assert undelete(bench.content, old.key) == again, "twice is once"


def test_a_reference_whose_blob_was_condemned_comes_back_under_a_new_name(bench):
    done = bench.add()
    discard(bench.content, done.key)
    bench.store.create(layout.marker(done.reference.digest, 0), b"")
    again = undelete(bench.content, done.key)
    assert again.reference.blob.incarnation == 1
    for _ in range(3):
        bench.collector().run()
        bench.wait(8 * DAY)
    assert not bench.has(done.reference.blob)
    assert bench.has(again.reference.blob)


def test_what_died_between_trash_and_deletion_is_finished_either_way(bench):
    done = bench.add()
    bench.content.copy(done.reference, layout.trash(done.key))
    discard(bench.content, done.key)
    assert bench.store.find(done.key) is None
    assert bench.content.get_reference(undelete(bench.content, done.key).key)


def test_discarding_twice_is_no_error(bench):
    key = bench.add().key
    discard(bench.content, key)
    discard(bench.content, key)
    assert bench.keys(layout.TRASH) == [layout.trash(key)]
