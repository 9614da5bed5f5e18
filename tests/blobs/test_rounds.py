"""The round trips of a commit do not grow with its blobs."""

from __future__ import annotations

import pytest

from casflow.blobs.content import ContentStore, Draft
from casflow.blobs.local import LocalBlobStore
from casflow.reference import PICKLE
from tests.services.rounds import Rounds

MOST = 7


def commit(folder, blobs):
    store = Rounds(LocalBlobStore(folder))
    parts = {f"part {number}": b"%d" % number for number in range(blobs - 1)}
    ContentStore(store).commit(Draft("etl", b"code", PICKLE, (), parts, {}))
    return store.asked


@pytest.mark.parametrize("blobs", [1, 4, 16])
def test_a_commit_asks_side_by_side(tmp_path, blobs):
    first = commit(tmp_path, blobs)
    assert len(first) <= MOST, first
    again = commit(tmp_path, blobs)
    assert len(again) <= MOST, again
