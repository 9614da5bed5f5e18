"""The cache: verified bytes by digest, within a limit."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest

from casflow.cache import Cache, index, outages
from casflow.digests import digest_of, hex_of
from casflow.errors import IntegrityError

MB = 10**6


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache", limit=10 * MB)


def never(target):
    raise AssertionError("nothing should be downloaded")


def giving(data, count=None):
    def download(target):
        if count is not None:
            count.append(1)
        target.write(data)
        return "the store"

    return download


def keep(cache, data):
    digest = digest_of(data)
    cache.fetch(digest, len(data), giving(data))
    return digest


def test_what_was_downloaded_once_is_not_downloaded_again(cache):
    first = cache.fetch(digest_of(b"x"), 1, giving(b"x"))
    again = cache.fetch(digest_of(b"x"), 1, never)
    assert (bytes(first.data), first.hit, first.downloaded) == (b"x", False, 1)
    assert (bytes(again.data), again.hit, again.downloaded) == (b"x", True, 0)


def test_what_was_verified_is_a_copy_that_nobody_can_change(tmp_path):
    cache = Cache(tmp_path, limit=100 * MB)
    data = os.urandom(5 * MB)
    digest = keep(cache, data)
    found = cache.find(digest)
    with cache.path(digest).open("r+b") as file:
        file.write(b"other")
        file.truncate(9)
    assert found == data


def flip(path):
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "flipped bit": flip,
    "truncation": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "zero length": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name != "a folder"])
@pytest.mark.parametrize("size", [10, 5 * MB])
def test_damage_is_a_miss_that_heals(tmp_path, damage, size):
    cache = Cache(tmp_path, limit=100 * MB)
    data = bytes(size)
    digest = keep(cache, data)
    DAMAGES[damage](cache.path(digest))
    assert cache.find(digest) is None
    assert not cache.fetch(digest, size, giving(data)).hit
    assert cache.fetch(digest, size, never).hit


def test_a_wrong_download_is_refused_and_nothing_is_kept(cache):
    digest = digest_of(b"right")
    with pytest.raises(IntegrityError) as caught:
        cache.fetch(digest, 5, giving(b"wrong"))
    assert "the store" in str(caught.value)
    assert digest in str(caught.value)
    assert digest_of(b"wrong") in str(caught.value)
    assert cache.find(digest) is None
    assert list((cache.root / "tmp").iterdir()) == []


def test_a_link_in_the_place_of_a_file_is_not_followed(cache, tmp_path):
    digest = keep(cache, b"x")
    (tmp_path / "elsewhere").write_bytes(b"x")
    cache.path(digest).unlink()
    cache.path(digest).symlink_to(tmp_path / "elsewhere")
    assert cache.find(digest) is None


def test_files_and_folders_are_private(cache):
    digest = keep(cache, b"x")
    cache.set_alias("repo", "value")
    assert cache.path(digest).stat().st_mode & 0o777 == 0o600
    for folder in (cache.root, cache.path(digest).parent, cache.root / "index"):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert (cache.root / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172")


def on_disk(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_limit_holds_and_the_least_recently_used_go_first(tmp_path):
    digests, most = [], 0
    for number in range(200):
        if number % 50 == 0:
            cache = Cache(tmp_path / "cache", limit=10 * MB)  # a restart
        digests.append(keep(cache, number.to_bytes(2, "big") * (MB // 2)))
        most = max(most, on_disk(cache.root))
    assert most <= 11 * MB
    kept = {entry.digest for entry in cache.entries()}
    assert 5 <= len(kept) <= 10
    assert kept == set(digests[-len(kept) :])


def test_use_counts_also_after_a_restart(tmp_path):
    cache = Cache(tmp_path, limit=4 * MB)
    digests = [keep(cache, bytes([number]) * MB) for number in range(3)]
    long_ago = time.time() - 9000
    for age, digest in enumerate(digests):
        os.utime(cache.path(digest), (long_ago + age, long_ago + age))
    assert cache.find(digests[0]) is not None  # used now
    again = Cache(tmp_path, limit=4 * MB)
    keep(again, b"n" * MB)
    keep(again, b"m" * MB)
    assert again.find(digests[0]) is not None
    assert again.find(digests[1]) is None


def test_a_use_is_recorded_at_most_once_an_hour(cache):
    path = cache.path(keep(cache, b"x"))
    recent = time.time() - 60
    os.utime(path, (recent, recent))
    cache.find(digest_of(b"x"))
    assert path.stat().st_mtime == pytest.approx(recent)


def test_a_pinned_file_is_not_evicted(cache):
    pinned = keep(cache, b"p" * MB)
    cache.pin(pinned)
    for number in range(20):
        keep(cache, bytes([number]) * MB)
    assert cache.find(pinned) is not None
    cache.pin(pinned, on=False)
    assert pinned in {entry.digest for entry in cache.prune(0)}


def test_what_is_too_big_is_served_but_not_kept(cache):
    data = bytes(6 * MB)
    assert cache.fetch(digest_of(data), len(data), giving(data)).data == data
    assert cache.find(digest_of(data)) is None


def test_a_cache_that_cannot_be_written_still_serves(tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")
    cache = Cache(tmp_path / "file" / "cache", limit=MB)
    assert bytes(cache.fetch(digest_of(b"x"), 1, giving(b"x")).data) == b"x"
    assert caplog.text.count("the cache is not used") == 1


def test_a_warm_read_does_not_open_the_index(cache, monkeypatch):
    digest = keep(cache, b"x")
    again = Cache(cache.root, cache.limit)
    monkeypatch.setattr(Cache, "index", property(lambda self: pytest.fail("index opened")))
    assert again.fetch(digest, 1, never).hit


def test_a_damaged_index_keeps_nothing_from_being_evicted(tmp_path):
    cache = Cache(tmp_path, limit=10 * MB)
    cache.set_alias("repo", "value")
    for number in range(8):
        keep(cache, bytes([number]) * MB)
    cache.index.close()
    (tmp_path / "index" / "cache.db").write_bytes(b"this is no database" * 100)
    again = Cache(tmp_path, limit=10 * MB)
    for number in range(8, 20):
        keep(again, bytes([number]) * MB)
    assert again.size() <= 10 * MB
    again.set_alias("repo", "other")
    assert again.find_alias("repo") == "other"


def test_a_poisoned_index_runs_no_code(tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    cache = Cache(tmp_path / "cache", limit=MB)
    cache.set_alias("any", "value")
    cache.index.close()
    bomb = sqlite3.Binary(pickle.dumps(Bomb()))
    rows = sqlite3.connect(tmp_path / "cache/index/cache.db")
    with rows:
        rows.execute("UPDATE Cache SET mode = 4, value = ?", (bomb,))
        rows.execute(
            "INSERT INTO Cache(key, raw, store_time, access_time, mode, value)"
            " VALUES (?, 0, 1, 1, 4, ?)",
            (bomb, bomb),
        )
    rows.close()
    again = Cache(tmp_path / "cache", limit=MB)
    assert again.find_alias("any") is None
    again.prune(0)
    assert not (tmp_path / "exploded").exists()


def test_aliases_are_remembered(cache):
    assert cache.find_alias("repo@commit") is None
    cache.set_alias("repo@commit", "blake3:1")
    assert Cache(cache.root, MB).find_alias("repo@commit") == "blake3:1"


def test_verify_removes_what_is_damaged_and_only_that(cache):
    good, bad = keep(cache, b"good"), keep(cache, b"bad")
    flip(cache.path(bad))
    assert cache.verify() == [bad]
    assert [entry.digest for entry in cache.entries()] == [good]


def test_clean_removes_everything(cache):
    keep(cache, b"12345")
    assert cache.clean() == 5
    assert cache.entries() == []


@pytest.mark.parametrize("where", ["the same thread", "another thread"])
def test_a_cache_that_is_removed_while_it_is_open_begins_anew(cache, where):
    keep(cache, b"one")
    shutil.rmtree(cache.root)
    with ThreadPoolExecutor(1) as pool:
        if where == "the same thread":
            keep(cache, b"three")
        else:
            pool.submit(keep, cache, b"three").result()
    assert cache.find(digest_of(b"three")) == b"three"
    assert Cache(cache.root, cache.limit).size() == len(b"three")


def test_threads_that_open_a_removed_cache_at_once_wait_for_its_tables(cache, monkeypatch):
    cache.set_alias("one", "1")
    shutil.rmtree(cache.root)
    made = Event()

    def slow(folder, opened=index._open_database):
        folder.mkdir(parents=True)
        (folder / "cache.db").touch()  # as SQLite does before the tables are in it
        made.set()
        time.sleep(0.3)
        return opened(folder)

    with ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(index, "_open_database", slow)
        first = pool.submit(cache.set_alias, "two", "2")
        assert made.wait(10)
        pool.submit(cache.set_alias, "three", "3").result()
        first.result()
    assert (cache.find_alias("two"), cache.find_alias("three")) == ("2", "3")


def test_left_over_temporary_files_go(cache):
    keep(cache, b"x")
    old = cache.root / "tmp" / "1-dead"
    old.write_bytes(b"half")
    os.utime(old, (1, 1))
    fresh = cache.root / "tmp" / "2-alive"
    fresh.write_bytes(b"half")
    cache.prune(MB)
    assert not old.exists()
    assert fresh.exists()


def test_what_died_while_it_was_written_is_taken_over(cache):
    keep(cache, b"x")
    digest = digest_of(b"whole")
    (cache.root / "tmp" / hex_of(digest)).write_bytes(b"half of something longer")
    assert keep(cache, b"whole") == digest
    assert cache.find(digest) == b"whole"
    assert not list((cache.root / "tmp").iterdir())


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path.parent / "other")],
    ids=["fifo", "folder", "link"],
)
def test_what_stands_in_the_way_of_a_partial_file_is_passed_by(cache, make):
    keep(cache, b"x")
    make(cache.root / "tmp" / hex_of(digest_of(b"y")))
    assert cache.find(keep(cache, b"y")) == b"y"
    assert not (cache.root / "tmp" / "other").exists()


@pytest.mark.parametrize("damage", ["none", "lost", "huge"])
def test_the_limit_holds_whatever_the_count_says(tmp_path, damage):
    cache = Cache(tmp_path, limit=4 * MB)
    for number in range(3):
        keep(cache, bytes([number]) * MB)
    count = tmp_path / "size"
    assert count.stat().st_size * 512 == pytest.approx(3 * MB, abs=2000)
    if damage == "lost":
        count.unlink()
    elif damage == "huge":
        os.truncate(count, 2**40)
    keep(cache, b"n" * MB)
    if damage != "huge":  # then what is there was looked at, and fits
        keep(cache, b"m" * MB)
    assert cache.size() <= 4 * MB
    assert cache.find(digest_of(b"n" * MB)) is not None


def test_a_fill_opens_no_index(cache, monkeypatch):
    monkeypatch.setattr(Cache, "index", property(lambda self: pytest.fail("index opened")))
    keep(cache, b"x")
    cache.put(digest_of(b"y"), b"y")


def test_an_index_that_cannot_be_written_is_not_tried_for_ever(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("casflow.cache.index._TIMEOUT", 0.1)
    monkeypatch.setattr(outages, "_reported", set())
    cache = Cache(tmp_path / "cache", 10**6)
    cache.set_alias("a", "b")
    with closing(sqlite3.connect(tmp_path / "cache" / "index" / "cache.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        cache.set_alias("a", "c")
        cache.pin(digest_of(b"x"))
    assert caplog.text.count("its index cannot be written") == 1
    assert cache.find_alias("a") == "b"


@pytest.mark.parametrize(
    ("code", "made_anew"), [(sqlite3.SQLITE_FULL, 0), (sqlite3.SQLITE_CORRUPT, 1)]
)
def test_a_rollback_that_is_done_already_tells_as_much_as_what_it_was_for(
    tmp_path, caplog, code, made_anew
):
    opened = index.Index(tmp_path / "index")

    def fail(_):
        try:
            error = sqlite3.DatabaseError("what it was for")
            error.sqlite_errorcode = code
            raise error
        finally:
            again = sqlite3.OperationalError("cannot rollback - no transaction is active")
            again.sqlite_errorcode = sqlite3.SQLITE_ERROR
            raise again

    assert opened._call(fail, "default") == "default"
    assert ("made anew" in caplog.text) == bool(made_anew)
