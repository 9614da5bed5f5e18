"""A store under load for a while: many registering processes, collectors, time that runs fast.

    python -m tests.gc.soaking register|collect URL NUMBER SECONDS EPOCH

Time is scaled: 200 seconds of the store, of its writers and of its collectors pass in one of the
wall; more would make a store that tells whole seconds look like one whose clock is off.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from casflow.blobs.content import ContentStore, Draft
from casflow.cache import Cache
from casflow.errors import CasflowError
from casflow.gc import Collector, Limits, Policy
from casflow.reference import PICKLE
from casflow.storage.urls import open_url
from tests.gc.aging import Later

SPEED = 200.0
DEADLINE = 3 * SPEED
LIMITS = Limits(grace=14 * SPEED, deadline=DEADLINE, trash=5 * SPEED)
CONTENTS = 12
FLOWS = 4


class Fast(Later):
    """A store whose clock runs fast since an epoch."""

    def __init__(self, store, epoch):
        super().__init__(store)
        self.epoch = epoch
        self.list = self._list

    def _scaled(self, moment):
        return self.epoch + (moment - self.epoch) * SPEED

    def now(self):
        return datetime.fromtimestamp(self._scaled(time.time()), UTC)

    def clock(self):
        return time.clock_gettime(time.CLOCK_BOOTTIME) * SPEED

    def find(self, key):
        info = self.store.find(key)
        return info and info._replace(modified=self._scaled(info.modified))

    def _list(self, prefix=""):
        for info in self.store.list(prefix):
            yield info._replace(modified=self._scaled(info.modified))


def register(store, number, until):
    """Register flows, half of them old ones that come back.

    In a long soak the writers pause for longer, so that the collectors run the more often.
    """
    pause = 0.2 if until - time.time() < 100 else 3.0
    chance = random.Random(number)
    content = ContentStore(store, clock=store.clock, now=store.now, deadline=DEADLINE)
    done = 0
    while time.time() < until:
        old = chance.random() < 0.5
        data = f"{chance.randrange(CONTENTS)}" if old else f"{number} {done}"
        try:
            content.commit(Draft(f"flow {chance.randrange(FLOWS)}", data.encode(), PICKLE))
            done += 1
        except CasflowError as error:
            print(error, file=sys.stderr)
        time.sleep(chance.random() * pause)
    return done


def collect(store, number, until):
    """Collect again and again; a run that finds something missing is a failure."""
    deleted = 0
    options = {"policy": Policy(last=2), "limits": LIMITS, "threads": 2}
    with tempfile.TemporaryDirectory() as folder:
        options["cache"] = Cache(Path(folder), 10**9)
        while time.time() < until:
            collector = Collector(store, clock=store.clock, now=store.now, **options)
            deleted += collector.run().deleted.blobs
            time.sleep(0.3 + number * 0.2)
    return deleted


if __name__ == "__main__":
    what, url, number, seconds, epoch = sys.argv[1:]
    fast = Fast(open_url(url), float(epoch))
    print(
        {"register": register, "collect": collect}[what](
            fast, int(number), time.time() + float(seconds)
        )
    )
