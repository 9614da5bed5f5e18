"""`verify`: what is wrong is found, nothing else is, and it is repaired where it can be."""

from __future__ import annotations

import io
import random

import pytest

from casflow.blobs import layout
from casflow.cache import Cache
from casflow.digests import digest_of
from casflow.gc import pin, verify
from casflow.gc.limits import DAY


def lose(bench, blob):
    bench.store.delete(layout.blob(blob.digest, blob.incarnation))


def damage(bench, blob):
    path = bench.store.root / layout.blob(blob.digest, blob.incarnation)
    path.write_bytes(b"x" * blob.size)


def read(bench, blob):
    target = io.BytesIO()
    bench.content.copy_to(blob, target)
    return target.getvalue()


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache", 10**6)


def test_a_whole_store_is_clean(bench):
    bench.add(attachments={"map": b"lines"})
    bench.add_garbage()
    done = verify(bench.store, share=1)
    assert done.clean
    assert (done.references, done.blobs.blobs, done.read.blobs, done.orphaned.blobs) == (1, 3, 3, 1)


def test_no_store_is_clean(bench):
    assert verify(bench.store).clean
    assert not bench.store.root.exists()


def test_a_missing_blob_is_found_for_every_reference_to_it(bench):
    first, second = bench.add("a"), bench.add("b")
    lose(bench, first.reference.blob)
    done = verify(bench.store)
    assert [(each.kind, each.key, each.flow) for each in done.findings] == [
        ("missing", first.key, "a"),
        ("missing", second.key, "b"),
    ]
    assert not done.clean


def test_a_blob_that_was_cut_short_is_found_without_reading(bench):
    blob = bench.add().reference.blob
    bench.store.put(layout.blob(blob.digest, 0), b"da")
    assert [each.kind for each in verify(bench.store).findings] == ["missing"]


def test_a_flipped_byte_is_found_by_reading_only(bench):
    blob = bench.add().reference.blob
    damage(bench, blob)
    assert verify(bench.store).clean
    (finding,) = verify(bench.store, share=1).findings
    assert (finding.kind, finding.digest) == ("damaged", blob.digest)


def test_an_unreadable_reference_is_found_and_the_rest_is_still_checked(bench):
    first, second = bench.add("a", b"1"), bench.add("b", b"2")
    bench.store.put(first.key, b"not JSON")
    lose(bench, second.reference.blob)
    kinds = {each.key: each.kind for each in verify(bench.store).findings}
    assert kinds == {first.key: "unreadable", second.key: "missing"}


def test_a_sample_reads_its_share(bench):
    for number in range(200):
        bench.add(data=f"{number}".encode())
    read_back = verify(bench.store, share=0.25, chance=random.Random(1)).read.blobs
    assert 25 < read_back < 75


def test_a_missing_blob_is_brought_back_from_the_cache(bench, cache):
    done = bench.add()
    pinned = pin(bench.content, done.key, "mine")
    cache.put(done.reference.digest, b"data")
    lose(bench, done.reference.blob)
    repaired = verify(bench.store, caches=[cache.find])
    assert repaired.clean
    assert repaired.findings
    assert verify(bench.store, share=1).findings == ()
    assert read(bench, pinned.blob) == b"data"


def test_what_was_condemned_after_its_reference_comes_back_under_its_name(bench, cache):
    done = bench.add()
    bench.store.create(layout.marker(done.reference.digest, 0), b"")
    lose(bench, done.reference.blob)
    cache.put(done.reference.digest, b"data")
    assert verify(bench.store, caches=[cache.find]).clean
    assert bench.content.get_reference(done.key) == done.reference
    bench.collector().run()
    bench.wait(2 * DAY)
    bench.collector().run()
    assert verify(bench.store, share=1).findings == ()


def test_a_missing_blob_is_brought_back_from_another_incarnation(bench):
    done = bench.add()
    bench.store.create(layout.blob(done.reference.digest, 4), b"data")
    lose(bench, done.reference.blob)
    assert verify(bench.store, caches=[]).clean
    assert verify(bench.store, share=1).findings == ()


def test_a_damaged_blob_is_written_anew(bench, cache):
    blob = bench.add().reference.blob
    damage(bench, blob)
    cache.put(blob.digest, b"data")
    assert verify(bench.store, share=1, caches=[cache.find]).clean
    assert bench.store.get(layout.blob(blob.digest, 0)) == b"data"


def test_what_is_nowhere_stays_wrong_and_the_next_registration_heals_it(bench):
    done = bench.add()
    damage(bench, done.reference.blob)
    assert not verify(bench.store, share=1, caches=[]).clean
    again = bench.add()
    assert again.reference.blob.incarnation == 1
    assert verify(bench.store, share=1, caches=[]).clean
    assert bench.store.get(layout.blob(digest_of(b"data"), 0)) == b"data"


def test_verifying_changes_nothing(bench):
    bench.add()
    lose(bench, bench.add(data=b"lost").reference.blob)
    before = bench.content_of_all()
    verify(bench.store, share=1)
    assert bench.content_of_all() == before
