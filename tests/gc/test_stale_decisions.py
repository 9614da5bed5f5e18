"""Decisions that are carried out late, by real collectors on a timeline: nothing wanted is lost.

Each timeline is run by the real code, and by a variant that is broken as casflow once was: the
variant must lose something, or the timeline shows nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from casflow.blobs import concurrent, layout
from casflow.blobs.content import Draft
from casflow.gc.collector import Collector
from casflow.gc.digest_set import packed
from casflow.gc.limits import DAY, HOUR, Limits
from casflow.gc.plan import Planner
from casflow.gc.retention import Policy
from casflow.gc.roots import discard, undelete
from casflow.reference import PICKLE
from tests.gc.simulation import (
    BIRTH,
    LossError,
    SerialPool,
    Task,
    WatchedContent,
    World,
    WorldStore,
)

SEEDS = range(12)


@pytest.fixture(autouse=True)
def serial(monkeypatch):
    monkeypatch.setattr(concurrent, "ThreadPoolExecutor", SerialPool)


class Timeline:
    """A world whose tasks start and stall at given times."""

    def __init__(self, seed, collector=Collector):
        self.world = World(seed)
        self.store = WorldStore(self.world)
        self._collector = collector
        self.results = []

    def content(self):
        return WatchedContent(self.store, clock=self.world.boottime, now=self.world.now)

    def collect(self, **options):
        collector = self._collector(
            self.store, clock=self.world.boottime, now=self.world.now, **options
        )
        collector._content = self.content()
        return collector.run()

    def at(self, start, action, **stalls):
        stalls = {label.replace("_", " "): seconds for label, seconds in stalls.items()}
        now = self.world.clock - BIRTH
        self.world.add(Task(f"task{len(self.world.tasks)}", action, now + start, stalls))

    def commit(self, flow="a", data=b"one"):
        done = self.content().commit(Draft(flow, data, PICKLE))
        self.results.append(done.reference.digest)
        return done

    def wanted_and_nowhere(self):
        """Return the digests that somebody was promised and that no root names."""
        named = {blob.digest for _, blobs in self.world.roots() for blob in blobs}
        return set(self.results) - named

    def loses(self):
        try:
            self.world.run()
        except LossError:
            return True
        return bool(self.wanted_and_nowhere())


# ---- markers are for ever ---------------------------------------------------------------------


class Forgetful(Collector):
    """Removes a marker when it is 30 days old and its blob is gone."""

    def _plan(self, now):
        plan = super()._plan(now)
        there = {each[:2] for each in self.scan.blobs()}
        for marker in self.scan.markers():
            if marker[:2] not in there and now - marker.number / 1e6 >= 30 * DAY:
                plan.forgotten.add(packed(*marker[:2]), marker.number)
        return plan


def rarely_collected(seed, collector):
    """A and B overlap, B deletes, C comes months later, the flow is registered again, A wakes."""
    line = Timeline(seed, collector)
    line.commit("root", b"root")
    garbage = line.content().commit(Draft("a", b"one", PICKLE))
    line.store.delete(garbage.key)
    line.store.create(layout.marker(garbage.reference.digest, 0), b"")
    line.world.clock += 2 * DAY
    line.at(0, line.collect, delete_blob=70 * DAY)
    line.at(60, line.collect)
    line.at(40 * DAY, line.collect)
    line.at(41 * DAY, line.commit)
    return line


@pytest.mark.parametrize("seed", SEEDS)
def test_a_collector_that_wakes_after_months_deletes_nothing_that_came_back(seed):
    assert not rarely_collected(seed, Collector).loses()


def test_forgotten_markers_are_caught():
    assert any(rarely_collected(seed, Forgetful).loses() for seed in SEEDS)


# ---- undelete ---------------------------------------------------------------------------------


def undelete_in_place(content, key):
    """Create the same key again, and take the entry out of the trash."""
    reference = content.get_reference(layout.trash(key))
    content.copy(reference, key)
    content.store.delete(layout.trash(key))
    return reference


def undeleted(seed, act, *, purges):
    """Somebody undeletes while one collector carries out an old decision on the same reference."""
    line = Timeline(seed)
    old = line.content().commit(Draft("a", b"one", PICKLE))
    line.world.clock += 60
    line.commit("a", b"two")
    policy = {"policy": Policy(last=1)}
    if purges:
        discard(line.content(), old.key)
        line.world.clock += 7 * DAY
        line.at(0, line.collect, delete_trash=DAY / 2)
    else:
        line.at(0, lambda: line.collect(**policy), delete_live=DAY / 2)
        line.at(60, lambda: line.collect(**policy))

    def restore():
        act(line.content(), old.key)
        line.results.append(old.reference.digest)

    line.at(2 * HOUR, restore)
    return line


@pytest.mark.parametrize("purges", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_undeleted_stays_whatever_a_collector_decided_before(seed, purges):
    assert not undeleted(seed, undelete, purges=purges).loses()


def test_undeleting_in_place_is_caught():
    lines = [undeleted(seed, undelete_in_place, purges=False) for seed in SEEDS]
    assert any(line.loses() for line in lines)


# ---- leases -----------------------------------------------------------------------------------


class ByTime(Collector):
    """Ends a lease by the time at which its object was written last."""

    def _plan(self, now):
        plan = Planner(self.scan, self._policy, self.limits, self._claims).plan(now)
        infos = self.store.list(layout.LEASES)
        plan.leases = [each.key for each in infos if now - each.modified > 30 * DAY]
        return plan


def leased(seed, collector, *, overwrites):
    """A lease is renewed while a collector carries out its decision to end the old one."""
    line = Timeline(seed, collector)
    line.commit("root", b"root")
    done = line.content().commit(Draft("a", b"one", PICKLE))

    def key(moment):
        day = datetime.fromtimestamp(BIRTH if overwrites else moment, UTC).date()
        return layout.lease(done.reference.digest, "host", day)

    line.content().copy(done.reference, key(line.world.clock))
    line.store.delete(done.key)
    line.world.clock += 32 * DAY

    def renew():
        line.content().copy(done.reference, key(line.world.clock), replace=overwrites)
        line.results.append(done.reference.digest)

    line.at(0, line.collect, delete_lease=DAY / 2)
    line.at(2 * HOUR, renew)
    for number in range(4):
        line.at((2 + 2 * number) * DAY, line.collect)
    return line


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lease_that_was_renewed_keeps_its_blobs(seed):
    assert not leased(seed, Collector, overwrites=False).loses()


def test_overwritten_leases_are_caught():
    assert any(leased(seed, ByTime, overwrites=True).loses() for seed in SEEDS)


def test_a_lease_ends_30_days_after_its_day_and_its_blobs_go(bench):
    bench.add()
    done = bench.add("used", b"used")
    today = datetime.now(UTC).date()
    bench.content.copy(done.reference, layout.lease(done.reference.digest, "host", today))
    bench.store.delete(done.key)
    for _ in range(3):
        bench.collector(limits=Limits()).run()
        bench.wait(9 * DAY)
    assert bench.has(done.reference.blob)
    for _ in range(3):
        bench.wait(9 * DAY)
        report = bench.collector().run()
    assert not bench.has(done.reference.blob)
    assert bench.keys(layout.LEASES) == []
    assert report.missing == ()


def test_what_was_used_is_kept_and_said_to_be(bench):
    used, unused, _ = (bench.add(data=data) for data in (b"1", b"2", b"3"))
    today = datetime.now(UTC).date()
    bench.content.copy(used.reference, layout.lease(used.reference.digest, "host", today))
    kept = bench.collector(policy=Policy.parse("last=1 used=30d")).preview()
    assert kept.expired == {"flow": (unused.key,)}
    assert str(Policy.parse(kept.policy)) == "last=1 used=30d"
    taken = bench.collector(policy=Policy(last=1)).preview().explain()
    assert taken[used.key]["last_used"] == f"{today} by host"
    assert taken[unused.key]["last_used"] == ""


def test_of_a_tag_only_its_last_move_keeps_blobs(bench):
    old, new = bench.add("tree", b"old"), bench.add("tree", b"new")
    for number, done in enumerate((old, new), 1):
        bench.content.copy(done.reference, layout.tag_move("tree", "prod", number))
        bench.store.delete(done.key)
    for _ in range(3):
        report = bench.collector().run()
        bench.wait(2 * DAY)
    assert not bench.has(old.reference.blob)
    assert bench.has(new.reference.blob)
    assert report.missing == ()
