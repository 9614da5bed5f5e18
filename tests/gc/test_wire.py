"""Answers of a real server that are refused, cut or wrong: a run ends, and deletes nothing."""

from __future__ import annotations

import pytest

from casflow.blobs import layout
from casflow.blobs.content import ContentStore
from casflow.blobs.s3 import S3BlobStore
from casflow.errors import CasflowError
from casflow.gc import Collector, verify
from casflow.gc.limits import DAY
from tests.gc.aging import Later
from tests.gc.killing import collect, draft

pytestmark = [pytest.mark.service, pytest.mark.slow]


class Ripe:
    """A bucket behind a proxy, with a blob that the next run would delete, and one it must not."""

    def __init__(self, server, proxy):
        self.proxy = proxy
        bucket = server.bucket()
        self.store = S3BlobStore(bucket)
        self.content = ContentStore(self.store)
        self.content.commit(draft("other", b"other"))
        gone = self.content.commit(draft("gone", b"gone"))
        self.store.delete(gone.key)
        kept = self.content.commit(draft("kept", b"kept", lines=b"lines"))
        self.store.create(layout.marker(kept.reference.digest, 0), b"")  # named before its marker
        collect(self.store)
        self.seen = Later(S3BlobStore(bucket, {"endpoint_url": proxy.url}), 2 * DAY)
        self.seen.find("nothing")
        self.before = self.blobs()

    def blobs(self):
        return [info.key for info in self.store.list(layout.BLOBS)]

    def plan(self, number=None, kind=None):
        """Make a plan while an answer is broken; return what it would delete, or the error."""
        self.proxy.reset()
        if number:
            self.proxy.fault(number, kind)
        try:
            return Collector(self.seen, now=self.seen.now, threads=1).preview().deleted.blobs
        except CasflowError as error:
            return error

    def requests(self, path):
        """Return the numbers of the requests whose address holds a text."""
        return [each.number for each in self.proxy.requests if path in f"{each.path}?{each.query}"]


@pytest.fixture
def ripe(s3_server, proxy_to, monkeypatch):
    for name, value in s3_server.environ.items():
        monkeypatch.setenv(name, value)
    return Ripe(s3_server, proxy_to(s3_server.url))


LISTINGS = {
    "markers": "condemned",
    "blobs": "blobs%2F0",
    "references": "prefix=k",
    "pins": "pins",
    "trash": "trash",
    "a reference": "/kept/",
}


@pytest.mark.parametrize("kind", ["403", "404", "truncated"])
@pytest.mark.parametrize("what", LISTINGS)
def test_a_broken_answer_ends_the_run_or_was_asked_again(ripe, what, kind):
    assert ripe.plan() == 1
    (number, *_) = ripe.requests(LISTINGS[what])
    planned = ripe.plan(number, kind)
    if kind == "403":
        assert isinstance(planned, CasflowError)
    assert isinstance(planned, CasflowError) or planned == 1
    assert ripe.blobs() == ripe.before


def test_a_run_whose_every_answer_is_refused_deletes_nothing(ripe):
    ripe.plan()
    ripe.proxy.fault(None, "403")
    with pytest.raises(CasflowError):
        Collector(ripe.seen, now=ripe.seen.now).run()
    ripe.proxy.reset()
    assert ripe.blobs() == ripe.before
    assert collect(ripe.store, 3 * DAY).deleted.blobs == 1
    assert verify(ripe.store, share=1).findings == ()
