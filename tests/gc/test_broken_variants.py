"""Each way in which casflow once lost something: the code holds, and the old way of it is caught.

A case is a history on a real store, and a question; the code must answer it, and the variant that
is broken as casflow once was must not, or the case shows nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from casflow.blobs import layout
from casflow.blobs.content import DEADLINE, ContentStore, Draft
from casflow.errors import CasflowError, IntegrityError
from casflow.gc import Claims, Policy, is_pin, pin, unpin, verify
from casflow.gc.limits import DAY
from casflow.gc.plan import Planner
from casflow.gc.repair import Repairer
from casflow.gc.roots import discard
from casflow.gc.verify import _Checker
from casflow.reference import PICKLE, Reference


def names(bench, done):
    """Tell whether a registration that was acknowledged is still there, or in the trash."""
    keys = (done.key, layout.trash(done.key))
    return any(bench.store.find(key) is not None for key in keys)


# ---- 1: projects are thinned out apart ---------------------------------------------------------


def projects_kept(bench):
    done = [
        bench.add(data=f"{project} {number}".encode(), project=project)
        for project in ("prod", "dev")
        for number in range(3)
    ]
    report = bench.collector(policy=Policy(last=3)).run()
    return report.expired == {} and all(bench.store.find(each.key) for each in done)


def all_projects_together(monkeypatch):
    monkeypatch.setattr(Planner, "_projects", lambda *_: ("",))


# ---- 2b: a lost source map is written again ----------------------------------------------------


def lost_attachment_heals(bench):
    draft = Draft("flow", b"flow", PICKLE, attachments={"source_map": b"lines"})
    done = bench.content.commit(draft)
    (lines,) = done.reference.attachments.values()
    bench.store.delete(layout.blob(lines.digest, lines.incarnation))
    if bench.content.is_whole(done.reference):  # then a registration says "unchanged"
        return False
    bench.content.commit(draft)
    return bench.has(lines) and verify(bench.store, share=1).clean


def only_the_flow_counts(monkeypatch):
    def is_whole(self, reference, objects=None):
        return self.has(reference.blob)

    monkeypatch.setattr(ContentStore, "is_whole", is_whole)


# ---- 5: time is the store's --------------------------------------------------------------------


def future_expires_nobody(bench):
    done = [bench.add(data=b"%d" % number) for number in range(3)]
    ahead = bench.content.get_reference(done[-1].key)
    moment = bench.store.now() + timedelta(days=400)
    ahead = replace(ahead, created=moment.isoformat())
    bench.store.create(layout.reference("flow", moment), ahead.to_bytes())
    policy = Policy(within=timedelta(days=30))
    return bench.collector(policy=policy).preview().expired == {}


def time_of_writers(monkeypatch):
    thinned = Planner._keep_recent

    def by_key(self, plan, live):
        moved = (each._replace(modified=layout.moment(each.key).timestamp()) for each in live)
        return thinned(self, plan, moved)

    monkeypatch.setattr(Planner, "_keep_recent", by_key)


# ---- 6: verify knows what registries need ------------------------------------------------------


def lost_version_is_found(bench):
    done = bench.add()
    claims = Claims(frozenset([done.key]), copies={done.key: done.reference})
    bench.store.delete(done.key)
    return not verify(bench.store, claims=claims).clean


def registries_ignored(monkeypatch):
    monkeypatch.setattr(_Checker, "_find_lost", lambda *_: 0)


# ---- 7: a reference that names nothing blocks nobody -------------------------------------------


def dangling_blocks_nobody(bench):
    bench.add()
    lost = bench.add("stalled", b"stalled!")
    bench.store.delete(layout.blob(lost.reference.digest, 0))
    old = bench.store.root / lost.key
    os.utime(old, (0, 0))
    garbage = bench.add_garbage()
    try:
        for _ in range(2):
            bench.collector().run()
            bench.wait(2 * DAY)
    except CasflowError:
        return False
    return not bench.has(garbage)


def missing_stops_gc(monkeypatch):
    check = Planner._check

    def strict(self, plan, blobs):
        check(self, plan, blobs)
        if plan.missing:
            raise IntegrityError("a blob is missing", where=plan.missing[0].key)

    monkeypatch.setattr(Planner, "_check", strict)


# ---- 8: a repair writes over no newer registration ---------------------------------------------


def newer_name_stays(bench):
    old = bench.content.commit(Draft("flow", b"old", PICKLE), name="fixed/key")
    bench.store.put("fixed/key", b"damaged")
    find = bench.content.store.get
    newer = None

    def get(key):  # between the reading of the damage and its repair somebody registers
        nonlocal newer
        data = find(key)
        if key == "fixed/key" and newer is None:
            newer = bench.content.commit(Draft("flow", b"new", PICKLE), name="fixed/key")
        return data

    bench.store.get = get
    claims = Claims(copies={"fixed/key": old.reference})
    verify(bench.store, caches=[], claims=claims)
    return bench.content.get_reference("fixed/key").digest == newer.reference.digest


def names_written_over(monkeypatch):
    def rewrite_reference(self, key, copy):
        self._content.copy(copy, key, replace=True)
        return True

    monkeypatch.setattr(Repairer, "rewrite_reference", rewrite_reference)


# ---- the key of a pin is used once -------------------------------------------------------------


def repinned_stays(bench):
    first, second = bench.add(data=b"1"), bench.add(data=b"2")
    pin(bench.content, first.key, "mine")
    delete = bench.store.delete

    def late(key):  # while the pin is being removed, somebody else removes it and pins anew
        bench.store.delete = delete
        unpin(bench.content, "mine")
        pin(bench.content, second.key, "mine")
        delete(key)

    bench.store.delete = late
    unpin(bench.content, "mine")
    return is_pin(bench.content, "mine")


def pins_by_name(monkeypatch):
    monkeypatch.setattr("casflow.gc.roots.layout.pin", lambda name, _: f"{layout.PINS}{name}")


# ---- two collectors move one reference to the trash --------------------------------------------


def moved_by_two_stays(bench):
    old = bench.add(data=b"old")
    create = bench.store.create

    def late(key, data):  # another collector moves it meanwhile, long before ours goes on
        bench.store.create = create
        discard(bench.content, old.key)
        find = bench.store.find

        def aged(key):
            info = find(key)
            is_entry = info is not None and key.startswith(layout.TRASH)
            return info._replace(modified=info.modified - DEADLINE) if is_entry else info

        bench.store.find = aged
        create(key, data)

    bench.store.create = late
    with suppress(CasflowError):
        discard(bench.content, old.key)
    return names(bench, old)


def clock_looked_at_for_any_key(monkeypatch):
    monkeypatch.setattr("casflow.blobs.content.layout.is_reference", lambda _: True)


# ---- a wrong digit in a reference --------------------------------------------------------------


def wrong_digit_loses_nothing(bench):
    done = bench.add()
    bench.add("other", b"other one")
    path = bench.store.root / done.key
    path.chmod(0o644)
    digit = "0" if done.reference.digest[-1] != "0" else "1"
    path.write_text(
        path.read_text().replace(done.reference.digest, done.reference.digest[:-1] + digit)
    )
    for _ in range(3):
        bench.collector().run()
        bench.wait(2 * DAY)
    if not bench.has(done.reference.blob):
        return False
    claims = Claims(frozenset([done.key]), copies={done.key: done.reference})
    verify(bench.store, claims=claims, caches=[])
    return bench.content.get_reference(done.key) == done.reference


def sizes_not_kept(monkeypatch):
    check = Planner._check

    def forgetful(self, plan, blobs):
        check(self, plan, blobs)
        self._sizes.clear()

    monkeypatch.setattr(Planner, "_check", forgetful)


CASES = {
    "projects": (projects_kept, all_projects_together),
    "a lost attachment": (lost_attachment_heals, only_the_flow_counts),
    "a clock in the future": (future_expires_nobody, time_of_writers),
    "a lost version": (lost_version_is_found, registries_ignored),
    "a dangling reference": (dangling_blocks_nobody, missing_stops_gc),
    "a newer registration under a fixed key": (newer_name_stays, names_written_over),
    "a pin that is made again": (repinned_stays, pins_by_name),
    "two collectors and one reference": (moved_by_two_stays, clock_looked_at_for_any_key),
    "a wrong digit": (wrong_digit_loses_nothing, sizes_not_kept),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_lost(bench, case):
    holds, _ = CASES[case]
    assert holds(bench)


@pytest.mark.parametrize("case", CASES)
def test_the_old_way_is_caught(bench, monkeypatch, case):
    holds, broken = CASES[case]
    broken(monkeypatch)
    assert not holds(bench)


def test_a_reference_without_its_list_of_attachments_is_damaged(bench):
    done = bench.add(attachments={"map": b"lines"})
    text = done.reference.to_bytes().replace(b'"attachments"', b'"attachmentz"')
    with pytest.raises(IntegrityError, match="damaged reference"):
        Reference.from_bytes(text, where="here")
