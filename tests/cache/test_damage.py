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
from casflow.digests import digest_of

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


FAULTS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>
/* Lets the n-th and every later call of one family on the cache's folder fail. */
static long seen;
static int fails(const char *family, const char *path) {
    const char *wanted = getenv("FAULT_FAMILY"), *root = getenv("FAULT_ROOT");
    if (!wanted || !root || strcmp(wanted, family) || !path || strncmp(path, root, strlen(root)))
        return 0;
    if (seen++ < atol(getenv("FAULT_AFTER"))) return 0;
    errno = atoi(getenv("FAULT_ERRNO"));
    return 1;
}
static const char *path_of(int fd, char *buffer) {
    char link[64] = "/proc/self/fd/", digits[16]; int n = 0, at = 14;
    do digits[n++] = '0' + fd % 10; while (fd /= 10);
    while (n) link[at++] = digits[--n];
    ssize_t size = readlink(link, buffer, 4095);
    buffer[size < 0 ? 0 : size] = 0;
    return buffer;
}
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define OPEN(name) int name(const char *path, int flags, ...) { \\
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \\
    return fails("open", path) ? -1 : REAL(name)(path, flags, mode); }
OPEN(open) OPEN(open64)
int mkdir(const char *path, mode_t mode) {
    return fails("mkdir", path) ? -1 : REAL(mkdir)(path, mode); }
int rename(const char *a, const char *b) { return fails("rename", a) ? -1 : REAL(rename)(a, b); }
int unlink(const char *path) { return fails("unlink", path) ? -1 : REAL(unlink)(path); }
#define ON_FILE(name, family, type, args, names) type name args { char buffer[4096]; \\
    return fails(family, path_of(fd, buffer)) ? -1 : REAL(name) names; }
ON_FILE(write, "write", ssize_t, (int fd, const void *data, size_t size), (fd, data, size))
ON_FILE(pwrite, "write", ssize_t, (int fd, const void *d, size_t n, off_t at), (fd, d, n, at))
ON_FILE(pwrite64, "write", ssize_t, (int fd, const void *d, size_t n, off64_t at), (fd, d, n, at))
ON_FILE(fsync, "fsync", int, (int fd), (fd))
ON_FILE(fdatasync, "fsync", int, (int fd), (fd))
ON_FILE(ftruncate, "write", int, (int fd, off_t size), (fd, size))
int flock(int fd, int how) { char b[4096];
    return fails("lock", path_of(fd, b)) ? -1 : REAL(flock)(fd, how); }
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    compiler = shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("the faults need gcc and Linux")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "faults.c").write_text(FAULTS)
    library = folder / "faults.so"
    command = [compiler, "-shared", "-fPIC", "-w", "-o", library, folder / "faults.c", "-ldl"]
    subprocess.run(command, check=True)
    return library


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
