"""The collector on a folder: what it takes, when, and when it refuses."""

from __future__ import annotations

import os
import pickle
import time
from datetime import timedelta

import pytest

from casflow.blobs import layout
from casflow.errors import AccessError, ConfigError, IntegrityError, UnavailableError
from casflow.gc import Claims, Limits, Policy, history
from casflow.gc.foreign import is_foreign
from casflow.gc.limits import DAY

LATER = DAY + 60


def test_garbage_is_condemned_then_deleted_and_its_marker_stays(bench):
    kept, blob = bench.add().reference.blob, bench.add_garbage()
    assert bench.collector().run().condemned.blobs == 1
    assert bench.has(blob)
    bench.wait(LATER)
    report = bench.collector().run()
    assert (report.deleted.blobs, report.deleted.bytes) == (1, len(b"garbage"))
    assert not bench.has(blob)
    assert bench.has(kept)
    assert bench.keys(layout.CONDEMNED) == [layout.marker(blob.digest, 0)]
    bench.wait(400 * DAY)
    assert bench.collector().run().forgotten == 0
    assert bench.keys(layout.CONDEMNED) == [layout.marker(blob.digest, 0)]
    assert bench.collector(limits=Limits(exclusive=True)).run().forgotten == 1
    assert bench.keys(layout.CONDEMNED) == []


def test_nothing_is_deleted_before_its_grace_is_over(bench):
    bench.add()
    blob = bench.add_garbage()
    bench.collector().run()
    bench.wait(DAY - 60)
    report = bench.collector().run()
    assert (report.deleted.blobs, report.waiting.blobs) == (0, 1)
    assert report.until is not None
    assert bench.has(blob)


def test_a_blob_that_is_named_again_after_its_marker_gets_a_new_incarnation(bench):
    bench.add()
    bench.add_garbage()
    bench.collector().run()
    again = bench.add("back", b"garbage").reference.blob
    assert again.incarnation == 1
    bench.wait(LATER)
    bench.collector().run()
    assert bench.has(again)


def test_a_reference_made_just_before_the_marker_keeps_its_blob_for_ever(bench):
    done = bench.add()
    bench.store.create(layout.marker(done.reference.digest, 0), b"")
    bench.wait(40 * DAY)
    assert bench.collector().run().deleted.blobs == 0
    assert bench.has(done.reference.blob)


def test_an_attachment_is_a_root(bench):
    done = bench.add(attachments={"source_map": b"lines"})
    bench.collector().run()
    bench.wait(LATER)
    bench.collector().run()
    assert all(bench.has(each) for each in done.reference.blobs())


def test_a_mutable_name_is_a_root(bench):
    done = bench.content.commit(_draft(b"named"), name="fixed/name")
    (twin,) = bench.content.reference_keys("flow")
    bench.store.delete(twin)
    bench.collector().run()
    bench.wait(LATER)
    assert bench.collector().run().deleted.blobs == 0
    assert bench.has(done.reference.blob)


def _draft(data):
    from casflow.blobs.content import Draft
    from casflow.reference import PICKLE

    return Draft("flow", data, PICKLE)


def test_foreign_keys_are_left_alone(bench):
    bench.add()
    bench.store.put("notes/readme.txt", b"not ours")
    bench.store.put("flow/not-a-time", b"not ours")
    bench.store.put(".casflow/blobs/aa/readme", b"not ours")
    before = bench.content_of_all()
    bench.collector(policy=Policy(last=1)).run()
    bench.wait(LATER)
    bench.collector(policy=Policy(last=1)).run()
    after = bench.content_of_all()
    assert {key: after.get(key) for key in before} == before


# ---- retention --------------------------------------------------------------------------------


def test_what_retention_takes_goes_to_the_trash_and_ends_after_a_week(bench):
    old, new = bench.add(data=b"old"), bench.add(data=b"new")
    report = bench.collector(policy=Policy(last=1)).run()
    assert report.expired == {"flow": (old.key,)}
    assert report.kept == {"flow": 1}
    assert bench.keys("flow/") == [new.key]
    assert bench.keys(layout.TRASH) == [layout.trash(old.key)]
    assert bench.collector().run().condemned.blobs == 0
    bench.wait(8 * DAY)
    assert bench.collector().run().purged == (layout.trash(old.key),)
    assert bench.keys(layout.TRASH) == []
    bench.wait(LATER)
    bench.collector().run()
    bench.wait(LATER)
    bench.collector().run()
    assert not bench.has(old.reference.blob)
    assert bench.has(new.reference.blob)


def test_what_the_registry_names_is_never_taken(bench):
    by_key, by_digest, _ = (bench.add(data=data) for data in (b"1", b"2", b"3"))
    claims = Claims(frozenset({by_key.key}), frozenset({by_digest.reference.digest}))
    assert bench.collector(policy=Policy(last=1), claims=claims).run().expired == {}
    assert bench.collector(policy=Policy(last=1)).run().expired["flow"] == (
        by_digest.key,
        by_key.key,
    )


def test_a_pinned_reference_is_never_taken(bench):
    from casflow.gc import pin

    old, _ = bench.add(data=b"old"), bench.add(data=b"new")
    pin(bench.content, old.key, "release")
    assert bench.collector(policy=Policy(last=1)).run().expired == {}


def test_a_label_keeps_a_reference(bench):
    bench.add(data=b"old", labels=("release",))
    bench.add(data=b"new")
    policy = Policy(last=1, labels=frozenset({"release"}))
    assert bench.collector(policy=policy).run().expired == {}


def test_one_project_takes_nothing_of_another_in_the_same_bucket(bench):
    mine = [bench.add("mine", data) for data in (b"1", b"2")]
    theirs = [bench.add("theirs", data) for data in (b"2", b"3")]
    collector = bench.collector(
        policy=Policy(last=1), claims=Claims(flows=frozenset({("", "mine")}))
    )
    assert collector.run().expired == {"mine": (mine[0].key,)}
    for _ in range(4):
        bench.wait(9 * DAY)
        bench.collector(policy=Policy(last=1), claims=Claims(flows=frozenset({("", "mine")}))).run()
    assert not bench.has(mine[0].reference.blob)
    assert all(bench.store.find(each.key) for each in theirs)
    assert all(bench.has(each.reference.blob) for each in theirs)


# ---- dry runs ---------------------------------------------------------------------------------


def test_a_dry_run_changes_no_byte_and_says_what_the_next_run_does(bench):
    for number in range(20):
        bench.add(f"flow{number % 3}", f"data {number}".encode())
        bench.add_garbage(f"garbage {number}".encode())
    bench.collector().run()
    bench.add_garbage(b"new garbage")
    bench.wait(LATER)
    before = bench.content_of_all()
    preview = bench.collector(policy=Policy(last=2)).preview()
    assert bench.content_of_all() == before
    report = bench.collector(policy=Policy(last=2)).run()
    assert _comparable(preview) == _comparable(report)
    for table in ("condemned", "deleted", "waiting", "forgotten"):
        assert list(getattr(preview.plan, table)) == list(getattr(report.plan, table))
    after = bench.content_of_all()
    gone = {key for key in before if key not in after}
    assert report.deleted.blobs == sum(key.startswith(layout.BLOBS) for key in gone) == 20


def _comparable(report):
    form = report.to_dict()
    return {key: form[key] for key in form if key not in ("run", "dry_run", "started")}


def test_a_preview_of_no_store_makes_none(bench):
    report = bench.collector().preview()
    assert report.stored.blobs == 0
    assert bench.collector().run().dry_run
    assert not bench.store.root.exists()


# ---- refusals: in each of these nothing is deleted ---------------------------------------------


@pytest.fixture
def ripe(bench):
    """Return a bench with a blob that the next run would delete."""
    bench.add()
    bench.ripe = bench.add_garbage()
    bench.collector().run()
    bench.wait(LATER)
    return bench


UNREADABLE = [
    b"",
    b"{}",
    b"\0" * 300,
    b'{"format": 2}',
    b"[" * 10**5,
    b'{"format": 1, "size": 1e999}',
]


@pytest.mark.parametrize("data", UNREADABLE)
def test_no_blob_goes_while_nobody_knows_what_a_reference_names(ripe, data):
    done = ripe.add("other", b"other")
    ripe.store.put(done.key, data)
    for _ in range(3):
        report = ripe.collector(policy=Policy(last=1)).run()
        ripe.wait(LATER)
    assert report.unknown == (done.key,)
    assert ripe.has(ripe.ripe)
    assert ripe.has(done.reference.blob)


@pytest.mark.parametrize("data", UNREADABLE)
def test_a_registrys_copy_says_what_an_unreadable_reference_names(ripe, data):
    done = ripe.add("other", b"other")
    ripe.store.put(done.key, data)
    claims = Claims(copies={done.key: done.reference})
    report = ripe.collector(claims=claims).run()
    assert (report.deleted.blobs, report.unknown) == (1, ())
    assert list(report.unreadable) == [done.key]
    assert ripe.has(done.reference.blob)


FOREIGN = [
    pickle.dumps({"flow": b"x", "versions": {"prefect": "1.4.1"}}, 5),
    b"from prefect import Flow\n\nflow = Flow('x')\n",
    b'{"hello": 1}',
]


@pytest.mark.parametrize("data", FOREIGN)
def test_objects_of_other_programs_under_our_keys_are_counted_and_left_alone(ripe, data):
    key = "other/2021-01-02t03-04-05-678901-00-00"
    ripe.store.put(key, data)
    for _ in range(3):
        report = ripe.collector(policy=Policy(last=1)).run()
        assert (report.foreign, report.unreadable) == (1, {})
        ripe.wait(9 * DAY)
    assert ripe.store.get(key) == data
    assert not ripe.has(ripe.ripe)


@pytest.mark.parametrize("keep", [0, 1, 50, -2])
def test_a_reference_that_was_cut_short_is_never_taken_for_foreign(bench, keep):
    data = bench.store.get(bench.add().key)
    assert not is_foreign(data[:keep])
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            assert not is_foreign(bytes(flipped))


def test_a_missing_blob_is_named_and_the_rest_is_collected(ripe):
    done = ripe.add("other", b"other")
    ripe.store.delete(layout.blob(done.reference.digest, 0))
    ripe.store.create(layout.blob(done.reference.digest, 3), b"other")
    ripe.collector().run()
    ripe.wait(LATER)
    report = ripe.collector().run()
    assert report.missing == ((done.key, "other", done.reference.digest),)
    assert not ripe.has(ripe.ripe)
    assert ripe.store.find(layout.blob(done.reference.digest, 3)), "a reader may need it"


def test_a_store_without_any_reference_is_not_emptied(ripe):
    for key in ripe.keys("flow/"):
        ripe.store.delete(key)
    with pytest.raises(ConfigError, match="not a single reference"):
        ripe.collector().run()
    assert ripe.has(ripe.ripe)
    assert ripe.collector(limits=Limits(allow_empty=True)).run().deleted.blobs == 1


def test_a_store_that_lost_its_format_is_not_collected(ripe):
    ripe.store.delete(layout.FORMAT)
    with pytest.raises(IntegrityError, match="no format"):
        ripe.collector().run()
    assert ripe.has(ripe.ripe)


@pytest.mark.parametrize("off", [-301, 301, 10**7])
def test_a_clock_that_is_off_stops_the_run(ripe, off):
    collector = ripe.collector()
    collector._now = lambda: ripe.store.now() + timedelta(seconds=off)
    with pytest.raises(ConfigError, match="clock is"):
        collector.run()
    assert ripe.has(ripe.ripe)


@pytest.mark.parametrize("prefix", [layout.CONDEMNED, layout.BLOBS, "f", layout.PINS, layout.TRASH])
@pytest.mark.parametrize("error", [AccessError("refused"), UnavailableError("cut short")])
@pytest.mark.parametrize("after", [0, 1])
def test_a_listing_that_fails_stops_the_run(ripe, monkeypatch, prefix, error, after):
    whole = ripe.store.list

    def cut(asked=""):
        for count, info in enumerate(whole(asked)):
            if asked.startswith(prefix) and count == after:
                break
            yield info
        if asked.startswith(prefix):
            raise error

    monkeypatch.setattr(ripe.store, "list", cut)
    with pytest.raises(type(error)):
        ripe.collector().run()
    assert ripe.has(ripe.ripe)


def test_a_reference_that_may_not_be_read_stops_the_run(ripe, monkeypatch):
    whole = ripe.store.get

    def refused(key):
        if layout.is_reference(key):
            raise AccessError("403", where=key)
        return whole(key)

    monkeypatch.setattr(ripe.store, "get", refused)
    with pytest.raises(AccessError, match="403"):
        ripe.collector(threads=4).run()
    assert ripe.has(ripe.ripe)


def test_a_run_that_slept_too_long_deletes_nothing(ripe):
    ticks = iter([0.0, 0.0])
    collector = ripe.collector(clock=lambda: next(ticks, 20 * DAY))
    with pytest.raises(UnavailableError, match="asleep"):
        collector.run()
    assert ripe.has(ripe.ripe)


# ---- limits, reports, leftovers ---------------------------------------------------------------


def test_a_short_grace_needs_the_promise_that_nobody_writes():
    with pytest.raises(ConfigError, match="too short"):
        Limits(grace=4 * 3600)
    assert Limits(grace=4 * 3600 + 300).grace == 14700
    assert Limits(grace=0, exclusive=True).grace == 0


def test_an_exclusive_run_deletes_at_once_and_still_never_reuses_a_name(bench):
    bench.add()
    blob = bench.add_garbage()
    report = bench.collector(limits=Limits(grace=0, exclusive=True)).run()
    assert (report.deleted.blobs, report.waiting.blobs) == (1, 0)
    assert not bench.has(blob)
    assert bench.add("back", b"garbage").reference.blob.incarnation == 1


def test_every_run_leaves_its_report(bench):
    bench.add()
    bench.add_garbage()
    first, second = bench.collector().run(), bench.collector().run()
    assert [each["run"] for each in history(bench.store)] == [first.run, second.run]
    assert history(bench.store)[0] == first.to_dict()


def test_half_written_files_of_dead_writers_are_removed(bench):
    bench.add()
    folder = bench.store.root / ".casflow/tmp"
    (folder / "old").write_bytes(b"half")
    (folder / "new").write_bytes(b"half")
    os.utime(folder / "old", (time.time() - 2 * DAY,) * 2)
    assert bench.collector().run().leftovers == 1
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_threads_do_what_one_does(bench):
    for number in range(300):
        bench.store.parallel = 1
        bench.add(f"flow{number % 7}", f"{number % 50}".encode())
    one, many = bench.collector(threads=1), bench.collector(threads=8)
    one._policy = many._policy = Policy(last=3)
    assert _comparable(one.preview()) == _comparable(many.preview())
    assert sum(map(len, many.run().expired.values())) == 300 - 21


def test_progress_is_told(bench):
    bench.add()
    bench.add_garbage()
    stages = []
    bench.collector(progress=lambda *step: stages.append(step)).run()
    assert ("condemn", 1, 1) in stages
