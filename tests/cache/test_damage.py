"""A cache that is damaged, full, foreign or a trap never fails a run, and never reaches outside."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from casflow.cache import Cache, outages
from casflow.cache.locks import lock
from casflow.digests import digest_of
from casflow.trees.checkout import Checkouts, folder_for_process
from casflow.trees.memory import File, MemoryTree
from tests.cache.shim import build

MB = 1_000_000
ROUNDS = int(os.environ.get("CASFLOW_FUZZ_ROUNDS", "40"))
DATA = {digest_of(data): data for data in (b"one", b"two" * 1000)}
ALIASES = {f"repo@{n}": f"blake3:{n:064x}" for n in range(30)}


@pytest.fixture(autouse=True)
def _reports_again(monkeypatch):
    monkeypatch.setattr(outages, "_reported", set())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole") / "cache"
    cache = Cache(root, MB)
    use(cache)
    for alias, value in ALIASES.items():
        cache.set_alias(alias, value)
    cache.index.close()
    return root


def use(cache):
    for digest, data in DATA.items():
        assert cache.fetch(digest, len(data), lambda target, d=data: target.write(d)).data == data


def random_bytes(path, rng):
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 20, 200])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)


def truncated(path, rng):
    os.truncate(path, rng.choice([0, 1, 100, 4096, 5000, path.stat().st_size // 2]))


def foreign_schema(path, rng):
    path.unlink()
    with sqlite3.connect(path) as rows:
        rows.execute(rng.choice(["CREATE TABLE Cache (x)", "CREATE TABLE Settings (y)"]))
    rows.close()


def rows_of_others(path, rng):
    column = rng.choice(["key", "raw", "value", "mode", "filename", "size", "tag", "rowid"])
    value = rng.choice([None, -1, 2**62, "../../victim.txt", b"\xff\xfe", 1.5, "x" * 5000])
    with sqlite3.connect(path) as rows:
        try:
            rows.execute(f"UPDATE Cache SET {column} = ? WHERE rowid % 3 = 0", (value,))
        except sqlite3.Error:
            rows.execute("UPDATE Cache SET filename = '../../victim.txt'")
    rows.close()


def settings_of_others(path, rng):
    known = ["count", "size", "eviction_policy", "cull_limit", "sqlite_journal_mode", "size_limit"]
    key = rng.choice([*known, "disk_min_file_size", "sqlite_x; --", "_directory", "disk_evil"])
    value = rng.choice([None, "none", -1, 2**62, "../..", b"\xff", "text"])
    with sqlite3.connect(path) as rows:
        rows.execute("INSERT OR REPLACE INTO Settings VALUES (?, ?)", (key, value))
    rows.close()


@pytest.mark.parametrize(
    "damage", [random_bytes, truncated, foreign_schema, rows_of_others, settings_of_others]
)
def test_a_damaged_index_fails_nothing_and_reaches_no_file(whole, tmp_path, damage):
    victim = tmp_path / "victim.txt"
    for seed in range(ROUNDS // 5):
        victim.write_text("mine")
        root = tmp_path / "cache"
        shutil.copytree(whole, root)
        damage(root / "index/cache.db", random.Random(seed))
        cache = Cache(root, MB)
        for alias, value in ALIASES.items():
            assert cache.find_alias(alias) in (None, value), seed
        shutil.rmtree(root / "blobs")
        use(cache)
        for alias in ALIASES:
            cache.set_alias(alias, "new")
            assert cache.find_alias(alias) == "new", seed
        cache.prune(MB)
        cache.clean()
        cache.index.close()
        assert victim.read_text() == "mine", seed
        shutil.rmtree(root)


def test_what_can_be_read_of_a_damaged_index_stays(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "cache")
    with sqlite3.connect(tmp_path / "cache/index/cache.db") as rows:
        rows.execute("UPDATE Cache SET mode = 4, value = 'x' WHERE key = 'alias/repo@3'")
    rows.close()
    cache = Cache(tmp_path / "cache", MB)
    assert cache.find_alias("repo@3") is None
    assert all(
        cache.find_alias(each) == value for each, value in ALIASES.items() if each[-1] != "3"
    )


@pytest.mark.parametrize("folder", ["tmp", "blobs", "blobs/ab", "index", "locks"])
def test_nothing_is_removed_through_a_link(tmp_path, folder):
    outside = tmp_path / "outside"
    outside.mkdir()
    names = ["ab" + "0" * 62, "cache.db", "notes.txt"]
    for name in names:
        (outside / name).write_text("mine")
        os.utime(outside / name, (1, 1))
    cache = Cache(tmp_path / "cache", MB)
    (cache.root / folder).parent.mkdir(parents=True, exist_ok=True)
    (cache.root / folder).symlink_to(outside)
    use(cache)
    assert cache.find(f"blake3:{names[0]}") is None
    cache.prune(0)
    cache.verify()
    cache.clean()
    assert sorted(each.name for each in outside.iterdir()) == names


def test_a_fifo_does_not_hang(tmp_path):
    cache = Cache(tmp_path / "cache", MB)
    use(cache)
    digest = next(iter(DATA))
    cache.path(digest).unlink()
    os.mkfifo(cache.path(digest))
    assert cache.find(digest) is None
    use(cache)


@pytest.mark.parametrize("kind", ["writable by others", "foreign"])
def test_a_cache_of_others_is_not_read(tmp_path, kind, caplog):
    cache = Cache(tmp_path / "cache", MB)
    use(cache)
    cache.set_alias("repo", "their digest")
    if kind == "foreign":
        if os.geteuid() != 0:
            pytest.skip("only root can give a folder away")
        os.chown(cache.root, 12345, -1)
    else:
        cache.root.chmod(0o777)
    again = Cache(tmp_path / "cache", MB)
    assert again.find_alias("repo") is None
    assert again.find(next(iter(DATA))) is None
    use(again)
    assert caplog.text.count("the cache is not used") == 1


@pytest.mark.parametrize("name", ["CACHEDIR.TAG", "size", "locks/x", "tmp/" + "a" * 64])
def test_nothing_is_written_through_a_link_into_a_folder_of_others(tmp_path, name):
    cache = Cache(tmp_path / "cache", MB)
    cache.root.mkdir()
    (cache.root / name).parent.mkdir(exist_ok=True)
    (cache.root / name).symlink_to(tmp_path / "victim")
    cache.root.chmod(0o777)  # so anybody may have put it there
    use(cache)
    cache.set_alias("a", "b")
    with lock(cache.root / "locks", "x"):
        pass
    assert not (tmp_path / "victim").exists()


def test_a_tree_that_others_could_have_written_is_not_taken(tmp_path):
    tree = MemoryTree({"a.py": File(b"x")})
    digest = tree.index.listing.digest
    cache = Cache(tmp_path / "cache", MB)
    standing = folder_for_process(cache, digest, tree.index, tree)
    assert standing.is_relative_to(cache.root)
    assert Checkouts(Cache(cache.root, MB)).find(digest, full=True) == standing
    cache.root.chmod(0o777)
    others = Cache(cache.root, MB)
    assert Checkouts(others).find(digest, full=True) is None
    assert Checkouts(others).listing(digest) is None
    assert not folder_for_process(others, digest, tree.index, tree).is_relative_to(cache.root)


def test_more_bytes_than_registered_are_not_kept(tmp_path):
    cache = Cache(tmp_path / "cache", MB)
    written = []

    def endless(target):
        while True:
            written.append(target.write(bytes(1000)))

    with pytest.raises(Exception, match="more than the 603 bytes"):
        cache.fetch(digest_of(b"x"), 603, endless)
    assert not written
    assert not list((cache.root / "tmp").iterdir())


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return build(tmp_path_factory.mktemp("shim"))


FAULTY_USE = textwrap.dedent("""
    import itertools, logging, os, shutil, sys
    from pathlib import Path
    from casflow.cache import Cache, outages
    from casflow.digests import digest_of
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    import casflow.cache.index, casflow.cache.locks
    data, root = b"flow" * 5000, os.environ["FAULT_ROOT"]
    digest = digest_of(data)
    del os.environ["FAULT_FAMILY"]
    for family, number, after in itertools.product(
        ["open", "write", "mkdir", "rename", "unlink", "lock", "fsync"], [28, 13, 30, 5], range(8)
    ):
        outages._reported.clear()
        shutil.rmtree(root, ignore_errors=True)
        os.environ |= {"FAULT_FAMILY": family, "FAULT_ERRNO": str(number)}
        os.environ["FAULT_AFTER"] = str(after)
        # The shim counts over the whole process: it is loaded anew by a child for each case.
        child = os.fork()
        if not child:
            code = 1
            try:
                cache = Cache(Path(root), 10**6)
                for _ in "cold", "warm":
                    found = cache.fetch(digest, len(data), lambda target: target.write(data))
                    assert found.data == data
                    cache.set_alias("repo", "value")
                    assert cache.find_alias("repo") in (None, "value")
                assert len(outages._reported) <= 1
                code = 0
            except BaseException as error:
                print("FAILED", family, number, after, repr(error), flush=True)
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0, (family, number, after)
        del os.environ["FAULT_FAMILY"]
    print("done")
""")


def test_the_cache_may_fail_at_every_call(shim, tmp_path):
    environment = os.environ | {"FAULT_ROOT": str(tmp_path / "cache"), "FAULT_FAMILY": "none"}
    done = subprocess.run(
        [sys.executable, "-c", FAULTY_USE],
        env=environment | {"LD_PRELOAD": str(shim)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.endswith("done\n")
    assert "the cache is not used" in done.stdout, "no fault was met"
    assert "made anew" not in done.stdout, "an outage was taken for damage"


def test_writing_over_a_row_that_names_a_file_removes_no_file(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "cache")
    (tmp_path / "victim.txt").write_text("mine")
    with sqlite3.connect(tmp_path / "cache/index/cache.db") as rows:
        rows.execute("UPDATE Cache SET filename = '../../victim.txt' WHERE key LIKE 'alias/%'")
    rows.close()
    Cache(tmp_path / "cache", MB).set_alias("repo@3", "new")
    assert (tmp_path / "victim.txt").read_text() == "mine"
