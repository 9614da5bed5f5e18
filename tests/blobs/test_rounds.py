"""The round trips of a commit do not grow with its blobs."""

from __future__ import annotations

import time
from threading import Condition, Thread

import pytest

from casflow.blobs.content import ContentStore, Draft
from casflow.blobs.local import LocalBlobStore
from casflow.reference import PICKLE

QUIET = 0.3  # seconds without a further question after which those that wait are answered
MOST = 7
ASKING = {"get", "find", "create", "put", "delete", "create_empty", "delete_many"}


class Rounds:
    """A store that answers no question before all that are asked at once were asked.

    Attributes:
        count: How often it has answered.
        asked: The questions of each round.
    """

    def __init__(self, store):
        self._store = store
        self._waiting = []
        self._turn = Condition()
        self._last = time.monotonic()
        self.asked = []
        Thread(target=self._answer, daemon=True).start()

    def __getattr__(self, name):
        found = getattr(self._store, name)
        if name not in ASKING:
            return found

        def ask(*arguments, **options):
            with self._turn:
                ticket = (name, object())
                self._waiting.append(ticket)
                self._last = time.monotonic()
                self._turn.wait_for(lambda: ticket not in self._waiting)
            return found(*arguments, **options)

        return ask

    def _answer(self):
        while True:
            time.sleep(QUIET / 10)
            with self._turn:
                if self._waiting and time.monotonic() - self._last > QUIET:
                    self.asked.append([name for name, _ in self._waiting])
                    self._waiting = []
                    self._turn.notify_all()


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
