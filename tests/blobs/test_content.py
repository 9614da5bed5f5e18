"""The content store: blobs by digest, references, and the writer's protocol."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from casflow.blobs import layout
from casflow.blobs.content import ContentStore, Draft
from casflow.blobs.local import LocalBlobStore
from casflow.digests import digest_of
from casflow.errors import IntegrityError, UnavailableError
from casflow.reference import PICKLE, Reference

MOMENT = datetime(2026, 11, 22, 23, 38, 15, 315496, tzinfo=UTC)


class StoreOfMoment(LocalBlobStore):
    """A folder whose clock agrees with the moments that its writers are told."""

    def find(self, key):
        info = super().find(key)
        return info and info._replace(modified=MOMENT.timestamp())


@pytest.fixture
def store(tmp_path):
    return StoreOfMoment(tmp_path / "store")


def moments():
    moment = MOMENT
    while True:
        yield moment
        moment += timedelta(microseconds=1)


@pytest.fixture
def content(store):
    ticks = moments()
    return ContentStore(store, now=lambda: next(ticks))


def draft(data=b"flow", **parts):
    return Draft("My Flow", data, PICKLE, ("a",), **parts)


def read(content, blob):
    target = io.BytesIO()
    content.copy_to(blob, target)
    return target.getvalue()


def test_a_draft_becomes_a_blob_and_a_reference(content, store):
    done = content.commit(draft())
    assert done.key == "my-flow/2026-11-22t23-38-15-315496-00-00"
    assert done.uploaded == 4
    keys = [info.key for info in store.list()]
    assert keys == sorted([layout.FORMAT, layout.blob(digest_of(b"flow"), 0), done.key])
    assert content.get_reference(done.key) == done.reference
    assert read(content, done.reference.blob) == b"flow"


def test_equal_bytes_are_one_blob(content, store):
    first, second = content.commit(draft()), content.commit(draft())
    assert first.key != second.key
    assert second.uploaded == 0
    assert len(list(store.list(layout.BLOBS))) == 1


def test_attachments_are_blobs_of_their_own(content):
    done = content.commit(draft(attachments={"source_map": b"lines"}))
    (attachment,) = done.reference.attachments.values()
    assert read(content, attachment) == b"lines"
    assert done.uploaded == 9


def test_a_file_is_stored_like_its_bytes(content, tmp_path):
    (tmp_path / "big").write_bytes(b"flow")
    done = content.commit(draft(tmp_path / "big"))
    assert done.reference.digest == digest_of(b"flow")
    assert read(content, done.reference.blob) == b"flow"


def test_a_condemned_incarnation_is_never_used_again(content, store):
    content.commit(draft())
    store.create(layout.marker(digest_of(b"flow"), 0), b"")
    done = content.commit(draft())
    assert done.reference.blob.incarnation == 1
    assert done.uploaded == 4
    store.delete(layout.blob(digest_of(b"flow"), 0))
    assert read(content, done.reference.blob) == b"flow"


def test_a_blob_of_the_wrong_size_is_not_taken_for_stored(content, store):
    content.commit(draft())
    store.put(layout.blob(digest_of(b"flow"), 0), b"fl")
    done = content.commit(draft())
    assert (done.uploaded, done.reference.blob.incarnation) == (4, 0)
    assert read(content, done.reference.blob) == b"flow"


def test_a_reader_takes_any_incarnation(content, store):
    done = content.commit(draft())
    store.create(layout.blob(digest_of(b"flow"), 3), b"flow")
    store.delete(layout.blob(digest_of(b"flow"), 0))
    assert read(content, done.reference.blob) == b"flow"


def test_a_missing_blob_is_named(content, store):
    done = content.commit(draft())
    store.delete(layout.blob(digest_of(b"flow"), 0))
    with pytest.raises(IntegrityError, match=digest_of(b"flow")):
        read(content, done.reference.blob)


def test_a_writer_that_is_too_slow_leaves_no_reference(store):
    seconds = iter(range(0, 10**6, 100))
    slow = ContentStore(store, clock=lambda: next(seconds), deadline=50)
    with pytest.raises(UnavailableError, match="in time"):
        slow.commit(draft())
    assert list(store.list("my-flow/")) == []


def test_a_reference_is_taken_back_when_its_blob_was_collected_meanwhile(store):
    class Collected(LocalBlobStore):
        """Condemns and deletes the blob at the moment that the first reference appears."""

        armed = True

        def create(self, key, data):
            super().create(key, data)
            if layout.is_reference(key) and self.armed:
                self.armed = False
                super().create(layout.marker(digest_of(b"flow"), 0), b"")
                self.delete(layout.blob(digest_of(b"flow"), 0))

    done = ContentStore(Collected(store.root)).commit(draft())
    assert done.reference.blob.incarnation == 1
    assert [info.key for info in store.list("my-flow/")] == [done.key]


def test_a_lost_answer_to_the_reference_is_recognised(store):
    class Lossy(LocalBlobStore):
        def create(self, key, data):
            super().create(key, data)
            if layout.is_reference(key):
                super().create(key, data)  # the retry of a request whose answer was lost

    done = ContentStore(Lossy(store.root)).commit(draft())
    assert [info.key for info in store.list("my-flow/")] == [done.key]


def test_a_mutable_name_points_at_the_newest_content(content, store):
    content.commit(draft(), name="flows/mine")
    content.commit(draft(b"newer"), name="flows/mine")
    assert content.get_reference("flows/mine").digest == digest_of(b"newer")
    assert store.find(layout.name("flows/mine")) is not None


def test_the_latest_reference_is_of_the_flow_not_of_its_slug(content):
    content.commit(draft())
    content.commit(Draft("my_flow", b"other", PICKLE))
    assert content.find_latest("My Flow").reference.digest == digest_of(b"flow")
    assert content.find_latest("MY FLOW") is None


def test_a_store_of_unknown_format_is_refused(content, store):
    store.create(layout.FORMAT, b'{"format": 3}')
    with pytest.raises(IntegrityError, match="unknown format"):
        content.commit(draft())


def test_a_reference_of_unknown_format_is_refused(content, store):
    key = content.commit(draft()).key
    form = json.loads(store.get(key))
    store.put(key, json.dumps({**form, "format": 2}).encode())
    with pytest.raises(IntegrityError, match="unknown format 2"):
        content.get_reference(key)


def test_unknown_keys_of_a_reference_are_kept(content, store):
    done = content.commit(draft())
    form = {**done.reference.to_dict(), "signature": "abc"}
    kept = Reference.from_bytes(json.dumps(form).encode(), where="here")
    assert json.loads(kept.to_bytes()) == form
