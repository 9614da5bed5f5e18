"""The collector on real servers: one request for many deletions, and a whole life of a blob."""

from __future__ import annotations

import pytest

from casflow.blobs import layout
from casflow.blobs.content import ContentStore
from casflow.errors import AccessError, UnavailableError
from casflow.gc import Limits, Policy, verify
from casflow.gc.limits import DAY
from casflow.storage.urls import open_url
from tests.gc.killing import collect, draft

pytestmark = pytest.mark.service


@pytest.fixture(params=["s3", "gs"])
def store(request, monkeypatch):
    """Return the store in a new bucket, opened by its URL."""
    server = request.getfixturevalue({"s3": "s3_server", "gs": "gcs_server"}[request.param])
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    return open_url(f"{request.param}://{server.bucket()}")


def test_many_objects_are_deleted_and_absent_ones_do_not_matter(store):
    for number in range(5):
        store.put(f"a/{number}", b"")
    store.delete_many([f"a/{number}" for number in range(1, 9)])
    store.delete_many([])
    assert [info.key for info in store.list()] == ["a/0"]


def test_a_life_of_a_blob(store):
    content = ContentStore(store)
    old, new = content.commit(draft("flow", b"old")), content.commit(draft("flow", b"new"))
    assert collect(store, policy=Policy(last=1)).expired == {"flow": (old.key,)}
    purged = collect(store, 8 * DAY)
    assert (len(purged.purged), purged.condemned.blobs) == (1, 1)
    assert content.has(old.reference.blob)
    assert collect(store, 10 * DAY).deleted.blobs == 1
    assert content.commit(draft("flow", b"old")).reference.blob.incarnation == 1
    assert collect(store, 60 * DAY, limits=Limits()).forgotten == 0
    assert content.has(new.reference.blob)
    assert verify(store, share=1).findings == ()


@pytest.mark.parametrize(
    ("code", "family"), [("AccessDenied", AccessError), ("InternalError", UnavailableError)]
)
def test_a_deletion_in_part_is_an_error(s3_server, monkeypatch, code, family):
    for name, value in s3_server.environ.items():
        monkeypatch.setenv(name, value)
    store = open_url(f"s3://{s3_server.bucket()}")
    answer = {"Errors": [{"Key": "a/1", "Code": code}]}
    monkeypatch.setattr(store.fs, "call_s3", lambda *_, **__: answer)
    with pytest.raises(family, match=f"a/1|{code}"):
        store.delete_many(["a/1"])


def test_markers_stand_on_the_clock_of_the_store(store):
    content = ContentStore(store)
    content.commit(draft("flow", b"kept"))
    gone = content.commit(draft("gone", b"gone"))
    store.delete(gone.key)
    report = collect(store)
    (marker,) = store.list(layout.CONDEMNED)
    assert report.condemned.blobs == 1
    assert abs(marker.modified - report.plan.now) < 60
