"""Trees under bad luck and bad will: kills, crowds, damage, and stores that lie."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

import casflow
from casflow.blobs.content import ContentStore
from casflow.blobs.draft import Draft
from casflow.blobs.local import LocalBlobStore
from casflow.cache import Cache
from casflow.cache.folders import Folders
from casflow.digests import digest_of, hex_of
from casflow.errors import (
    CasflowError,
    ConfigError,
    ConflictError,
    IntegrityError,
    UnavailableError,
)
from casflow.storage.urls import open_url
from casflow.store import finish_leases, origin_of
from casflow.store import promotion as promotion_module
from casflow.store.resolver import Resolver
from casflow.trees import checkout as writing
from casflow.trees import contents as contents_module
from casflow.trees import fetch as fetch_module
from casflow.trees.index import EMPTY
from casflow.trees.listing import SYMLINK, Entry
from tests.killing import Countdown, arm
from tests.store.conftest import contents, write

KILLS = int(os.environ.get("CASFLOW_TEST_TREE_KILLS", "12"))
FILES = {"a/one.py": "1", "a/two.py": "22", "b.txt": "three", "empty": ""}


@pytest.fixture
def project(tmp_path):
    return write(tmp_path / "project", FILES)


def reopened(store, tmp_path, machine):
    return casflow.Store(store.url, cache=Cache(tmp_path / machine, 10**9))


# ---- stores that lie -----------------------------------------------------------------------


def planted(store, entries, *, sizes=None, gaps=None, pack=b"onetwo"):
    """Put a tree into a store as an attacker would: consistent in all that the store can check."""
    lines = "".join(entry.to_line() for entry in entries).encode()
    files = [entry for entry in entries if entry.kind != SYMLINK]
    root = {
        "bytes": sum(entry.size for entry in files),
        "entries": len(entries),
        "format": 1,
        "listing": digest_of(lines),
        "listing_size": len(lines),
    }
    distinct = list(dict.fromkeys(entry.digest for entry in files if entry.size))
    columns = {
        "format": 1,
        "packs": [[hex_of(digest_of(pack)), len(pack)]],
        "paths": [entry.path for entry in entries],
        "kinds": "".join("l" if entry.kind == SYMLINK else "f" for entry in entries),
        "sizes": sizes or [entry.size for entry in files],
        "targets": [entry.target for entry in entries if entry.kind == SYMLINK],
        "repeats": [],
        "pack": [[0, len(distinct)]] if distinct else [],
        "gaps": gaps if gaps is not None else [[0, len(distinct)]] if distinct else [],
    }
    raw = b"".join(bytes.fromhex(hex_of(digest)) for digest in distinct)
    index = zlib.compress(json.dumps(columns).encode()) + raw
    draft = Draft(
        "evil",
        json.dumps(root).encode(),
        "application/vnd.casflow.tree+json",
        attachments={"index": index, "pack/0": pack},
        extra={"version": 1},
    )
    ContentStore(open_url(store.url)).commit(draft)


def one(path):
    return Entry(path, size=3, digest=digest_of(b"one"))


def two(path):
    return Entry(path, size=3, digest=digest_of(b"two"))


def link(path, target):
    return Entry(path, SYMLINK, target=target)


EVIL = {
    "up": [one("../evil")],
    "deep up": [one("a/../../evil")],
    "absolute": [one("/tmp/casflow-evil")],
    "twice": [one("a"), two("a")],
    "case twins": [one("A"), two("a")],
    "below a file": [one("a"), two("a/b")],
    "a link out": [link("l", "../evil")],
    "an absolute link": [link("l", "/etc")],
    "a link out by a link": [link("d", "."), link("l", "d/../..")],
    "a file below a link": [link("l", "."), one("l/x")],
    "unsorted": [two("b"), one("a")],
    "a content of two sizes": [one("a"), Entry("b", size=2, digest=digest_of(b"one"))],
    "another content": [Entry("a", size=3, digest=digest_of(b"six"))],
    "no digest": [Entry("a", size=3, digest=EMPTY)],
}


@pytest.mark.parametrize("entries", EVIL.values(), ids=EVIL)
def test_a_hostile_listing_writes_nothing_outside(local, tmp_path, entries):
    planted(local, entries)
    (tmp_path / "in").mkdir()
    before = contents(tmp_path / "in")
    with pytest.raises(IntegrityError):
        local.checkout("evil", tmp_path / "in" / "to")
    with pytest.raises(IntegrityError):
        local.checkout("evil")
    assert contents(tmp_path / "in") == before
    assert not Path("/tmp/casflow-evil").exists()
    assert list((tmp_path / "cache/trees").glob("*")) == []
    assert list((tmp_path / "cache/tmp").glob("*")) == []


@pytest.mark.parametrize(
    "changes",
    [{"gaps": [[3, 1], [-6, 1]]}, {"gaps": [[1, 2]]}, {"gaps": [[-1, 2]]}, {"sizes": [3, 4]},
     {"gaps": [[0, 1]]}, {"pack": b"oneTWO"}],
)  # fmt: skip
def test_ranges_that_lie_are_refused(local, changes):
    planted(local, [one("a"), two("b")], **changes)
    with pytest.raises(IntegrityError):
        local.checkout("evil")


def test_what_was_planted_well_is_a_tree(local):
    planted(local, [one("a"), two("b"), link("l", "a")])
    assert contents(local.checkout("evil")) == {"a": b"one", "b": b"two", "l": b"one"}


def test_a_damaged_pack_is_noticed(local, project, tmp_path):
    local.push(project, "p")
    packs = [
        path
        for path in Path(local.url).glob(".casflow/blobs/??/*")
        if b"122three" in path.read_bytes()
    ]
    assert packs
    for path in packs:
        path.write_bytes(path.read_bytes().replace(b"122", b"221"))
    with pytest.raises(IntegrityError):
        reopened(local, tmp_path, "there").checkout("p", tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_lost_pack_is_written_anew_by_the_next_push(local, project, tmp_path):
    local.push(project, "p")
    blobs = sorted(Path(local.url).glob(".casflow/blobs/??/*"))
    lost = [path for path in blobs if path.read_bytes() == b"122three"]
    lost[0].unlink()
    write(project, {"more": "x"})
    local.push(project, "p")
    assert contents(reopened(local, tmp_path, "there").checkout("p")) == contents(project)


def test_unchanged_is_only_said_of_what_can_be_read_back(local, project, tmp_path):
    local.push(project, "p")
    assert not local.push(project, "p").is_new
    for lost in (b"122three", None):
        blobs = sorted(Path(local.url).glob(".casflow/blobs/??/*"))
        for path in blobs:
            if lost is None or path.read_bytes() == lost:
                path.unlink()
        assert local.push(project, "p").is_new
        there = reopened(local, tmp_path, f"there {lost!r}")
        assert contents(there.checkout("p")) == contents(project)


# ---- folders that were changed ---------------------------------------------------------------


def test_a_changed_checkout_is_healed(local, project):
    local.push(project, "p")

    def edit(path):
        status = path.stat()
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[::-1] + b"")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        path.chmod(0o444)

    def edits(path):
        yield lambda: edit(path / "a/two.py")
        yield lambda: write(path, {"b.txt": "evil"})
        yield lambda: write(path, {"sitecustomize.py": "evil"})
        yield (path / "a/one.py").unlink
        yield lambda: ((path / "empty").unlink(), (path / "empty").symlink_to("/etc/passwd"))

    shared = local.checkout("p")
    for number, _ in enumerate(edits(shared)):
        for folder in (shared, shared / "a"):
            folder.chmod(0o755)
        (shared / "b.txt").chmod(0o644)
        list(edits(shared))[number]()
        assert contents(local.checkout("p")) == contents(project)
        assert not (shared / "empty").is_symlink()


def test_a_touched_but_equal_file_is_trusted_after_it_was_hashed(local, project):
    local.push(project, "p")
    shared = local.checkout("p")
    inode = shared.stat().st_ino
    os.utime(shared / "b.txt", (1, 1))
    assert local.checkout("p").stat().st_ino == inode
    assert local.checkout("p", verify="full").stat().st_ino == inode


def test_a_changed_checkout_that_a_run_uses_is_refused(local, project, tmp_path):
    local.push(project, "p")
    with holding(local, tmp_path, "p") as shared:
        shared.chmod(0o755)
        write(shared, {"new.py": "evil"})
        with pytest.raises(IntegrityError, match="was changed"):
            local.checkout("p")


HOLD = """
import sys, casflow
from pathlib import Path
from casflow.cache import Cache
store = casflow.Store(sys.argv[1], cache=Cache(Path(sys.argv[2]), int(sys.argv[4])))
print(store.checkout(sys.argv[3]), flush=True)
sys.stdin.read()
"""


class holding:  # noqa: N801 - used as a function
    """Hold a checkout in another process."""

    def __init__(self, store, tmp_path, ref):
        self.arguments = (store.url, str(tmp_path / "cache"), ref, str(store.cache.limit))

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, *self.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return Path(self.process.stdout.readline().strip())

    def __exit__(self, *_):
        self.process.communicate("")


def test_a_checkout_is_not_evicted_while_a_process_uses_it(local, project, tmp_path):
    local.push(project, "p")
    folders = Folders(tmp_path / "cache")
    with holding(local, tmp_path, "p") as shared:
        local.cache.prune(0)
        assert contents(shared) == contents(project)
    local.cache.prune(0)
    assert not shared.exists()
    assert folders.entries() == []
    assert contents(local.checkout("p")) == contents(project)


def test_checkouts_count_in_the_limit_and_the_oldest_goes_first(tmp_path):
    store = casflow.Store(tmp_path / "store", cache=Cache(tmp_path / "cache", 10**9))
    digests = []
    for number in range(4):
        folder = write(tmp_path / f"p{number}", {"data": bytes([number]) * 100_000})
        digests.append(store.push(folder, f"p{number}").digest)
    small = casflow.Store(tmp_path / "store", cache=Cache(tmp_path / "small", 500_000))
    for number, digest in enumerate(digests):
        path = small.checkout(f"p{number}")
        small.cache.folders.release(hex_of(digest))
        os.utime(small.cache.folders.record(hex_of(digest)), (1000 + number, 1000 + number))
        assert path.exists()
        assert small.cache.size() <= 500_000
    standing = [
        number
        for number, each in enumerate(digests)
        if small.cache.folders.path(hex_of(each)).exists()
    ]
    assert standing
    assert standing == list(range(standing[0], 4))


def test_a_tree_too_big_for_the_cache_goes_straight_to_its_folder(tmp_path):
    folder = write(tmp_path / "p", {"data": b"x" * 100_000, "more": "y"})
    casflow.Store(tmp_path / "store", cache=Cache(tmp_path / "cache", 10**9)).push(folder, "p")
    small = casflow.Store(tmp_path / "store", cache=Cache(tmp_path / "small", 1000))
    assert contents(small.checkout("p", tmp_path / "to")) == contents(folder)
    assert (tmp_path / "to/data").stat().st_mode & 0o200
    with pytest.raises(ConfigError, match="too big for the cache"):
        small.checkout("p")


# ---- kills and crowds ------------------------------------------------------------------------


def killed_at(number, when, action):
    """Do something in a forked child that is killed at its n-th effect; tell whether it was."""
    child = os.fork()
    if child == 0:
        try:
            arm(Countdown(number, when))
            action()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def test_a_push_that_is_killed_anywhere_leaves_a_clean_store(local, project, tmp_path):
    chance = random.Random(1)
    for round_ in range(KILLS):
        write(project, {"a/one.py": f"{round_}"})
        killed_at(
            chance.randint(1, 45),
            chance.choice(["before", "after"]),
            lambda: local.push(project, "p"),
        )
        assert local.verify(1.0).clean
    local.push(project, "p")
    assert contents(reopened(local, tmp_path, "there").checkout("p")) == contents(project)
    numbers = [version.version for version in local.versions("p")]
    assert len(set(numbers)) == len(numbers)


def test_a_checkout_that_is_killed_anywhere_leaves_no_half_folder(local, project, tmp_path):
    local.push(project, "p")
    chance = random.Random(2)
    for round_ in range(KILLS):
        machine, to = tmp_path / f"m{round_}", tmp_path / f"to{round_}"
        there = casflow.Store(local.url, cache=Cache(machine, 10**9))
        killed_at(
            chance.randint(1, 60),
            chance.choice(["before", "after"]),
            partial(there.checkout, "p", to),
        )
        if to.exists():
            assert contents(to) == contents(project)
        else:
            there.checkout("p", to)
        assert contents(there.checkout("p")) == contents(project)
        for path in (machine / "tmp").glob("*"):
            os.utime(path, (1, 1))
        there.cache.prune(10**9)
        assert list((machine / "tmp").glob("*")) == []


def test_a_copy_that_is_killed_anywhere_leaves_a_clean_store(local, project, tmp_path):
    chance = random.Random(3)
    for round_ in range(KILLS):
        if round_ % 10 == 0:  # a new store, so that each step of a first copy is met
            other = casflow.Store(tmp_path / f"other{round_}", cache=Cache(tmp_path / "o", 10**9))
        write(project, {"a/one.py": f"{round_}"})
        local.push(project, "p")
        killed_at(
            chance.randint(1, 45),
            chance.choice(["before", "after"]),
            lambda: local.copy("p", other),  # noqa: B023 - called at once
        )
        assert other.verify(1.0).clean
        local.copy("p", other)
        there = reopened(other, tmp_path, f"there{round_}")
        assert contents(there.checkout("p")) == contents(project)
        numbers = [version.version for version in other.versions("p")]
        assert len(set(numbers)) == len(numbers)


def test_pushes_of_one_name_at_once_get_numbers_of_their_own(local, tmp_path):
    def push(number):
        folder = write(tmp_path / f"p{number}", {"f": str(number)})
        return local.push(folder, "p").version

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(push, range(8)))
    assert sorted(numbers) == sorted(set(numbers))
    assert {each.version for each in local.versions("p")} == set(numbers)
    for number, folder in zip(numbers, range(8), strict=True):
        assert local.read_file(f"p@{number}", "f") == str(folder).encode()


@pytest.mark.service
@pytest.mark.slow
def test_sixteen_checkouts_at_once_are_one_download(
    s3_server, proxy_to, project, tmp_path, monkeypatch
):
    proxy = proxy_to(s3_server.url)
    for name, value in s3_server.environ.items():
        monkeypatch.setenv(name, value)
    url = f"s3://{s3_server.bucket()}/x"
    version = casflow.Store(url, cache=Cache(tmp_path / "cache", 10**9)).push(project, "p")
    for name, value in s3_server.environ.items():
        monkeypatch.setenv(name, value.replace(s3_server.url, proxy.url))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, url, str(tmp_path / "there"), "p", str(10**9)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(16)
    ]  # fmt: skip
    outputs = {process.communicate()[0].strip() for process in processes}
    assert outputs == {str(tmp_path / "there/trees" / hex_of(version.digest))}
    read = [each for each in proxy.requests if each.method == "GET" and "/blobs/" in each.path]
    assert len(read) == 3  # the root document, the index and one pack


def test_a_full_disk_leaves_nothing(local, project, tmp_path, monkeypatch):
    local.push(project, "p")
    there = reopened(local, tmp_path, "there")

    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(writing.os, "write", full)
        with pytest.raises(UnavailableError, match="make room"):
            there.checkout("p", tmp_path / "to")
    assert not (tmp_path / "to").exists()
    assert contents(there.checkout("p", tmp_path / "to")) == contents(project)


def test_the_current_folder_is_not_replaced(local, project, tmp_path, monkeypatch):
    local.push(project, "p")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for target in (".", tmp_path / "here"):
        with pytest.raises(ConflictError, match="current folder"):
            local.checkout("p", target)
    assert list(Path.cwd().iterdir()) == []
    assert contents(local.checkout("p", "new")) == contents(project)


# ---- contents that do not go through memory ----------------------------------------------------


@pytest.fixture
def big(monkeypatch, local, tmp_path):
    """A project with a file that counts as big, there twice; and the bytes downloaded so far."""
    for module in (contents_module, fetch_module, promotion_module):
        monkeypatch.setattr(module, "BIG", 5 << 20)
    data = random.Random(1).randbytes(6 << 20)
    project = write(tmp_path / "big", {"a/model": data, "b/model": data, "main.py": "1"})
    (project / "b/model").chmod(0o755)
    local.push(project, "p")
    moved = []
    copy_to = LocalBlobStore.copy_to

    def counted(self, key, target, size=None):
        copy_to(self, key, target, size)
        moved.append(target.seek(0, 1) if hasattr(target, "getvalue") else size or 0)

    monkeypatch.setattr(LocalBlobStore, "copy_to", counted)
    return project, moved


def test_a_big_content_comes_once_for_all_versions(local, big, tmp_path):
    project, moved = big
    there = reopened(local, tmp_path, "there")
    assert contents(there.checkout("p")) == contents(project)
    assert sum(moved) > 6 << 20
    assert sum(path.stat().st_size for path in (tmp_path / "there/blobs").rglob("*")) < 1 << 20
    write(project, {"main.py": "2"})
    local.push(project, "p")
    moved.clear()
    assert contents(there.checkout("p")) == contents(project)
    assert sum(moved) < 1 << 20
    assert (there.checkout("p") / "b/model").stat().st_mode & 0o777 == 0o555


def test_a_big_content_that_was_changed_on_this_machine_is_downloaded_again(local, big, tmp_path):
    project, _ = big
    there = reopened(local, tmp_path, "there")
    first = there.checkout("p")
    for name in ("a/model", "b/model"):
        (first / name).chmod(0o644)
        (first / name).write_bytes(b"x" * (6 << 20))
    write(project, {"main.py": "2"})
    local.push(project, "p")
    assert contents(there.checkout("p", tmp_path / "to")) == contents(project)


def test_a_big_content_is_read_copied_and_refused_when_damaged(local, big, tmp_path):
    project, _ = big
    there = reopened(local, tmp_path, "there")
    data = (project / "a/model").read_bytes()
    with there.open_file("p", "a/model") as file:
        assert file.seek(100) == 100
        assert file.read() == data[100:]
    assert there.get(digest_of(data)) == data
    other = casflow.Store(tmp_path / "other", cache=there.cache)
    there.copy("p", other)
    assert contents(other.checkout("p")) == contents(project)
    assert list((tmp_path / "there/tmp").glob("*")) == []
    for store in (local, other):
        for path in Path(store.url).glob(".casflow/blobs/??/*"):
            if path.stat().st_size == 6 << 20:
                path.write_bytes(data[::-1])
    last = reopened(local, tmp_path, "last")
    for action in (
        partial(last.read_file, "p", "a/model"),
        partial(last.checkout, "p"),
        partial(last.checkout, "p", tmp_path / "to"),
        partial(last.copy, "p", str(tmp_path / "third")),
    ):
        with pytest.raises(IntegrityError):
            action()
    assert not (tmp_path / "to").exists()
    assert list((tmp_path / "last/tmp").glob("*")) == []


@pytest.mark.service
def test_one_file_is_read_without_its_pack(s3_server, proxy_to, tmp_path, monkeypatch):
    proxy = proxy_to(s3_server.url)
    for name, value in s3_server.environ.items():
        monkeypatch.setenv(name, value.replace(s3_server.url, proxy.url))
    url, chance = f"s3://{s3_server.bucket()}/x", random.Random(1)
    project = write(tmp_path / "p", {f"f{n}": chance.randbytes(30_000) for n in range(100)})
    version = casflow.Store(url, cache=Cache(tmp_path / "cache", 10**9)).push(project, "p")
    store = casflow.Store(url, cache=Cache(tmp_path / "there", 10**9))
    proxy.requests.clear()
    ref = f"p@{version.digest}"
    assert store.read_file(ref, "f7") == (project / "f7").read_bytes()
    assert sum(each.down for each in proxy.requests) < 50_000
    proxy.requests.clear()
    assert store.read_file(ref, "f8") == (project / "f8").read_bytes()
    assert [each.down for each in proxy.requests] == [30_000]
    assert store.read_file(ref, "f7") == (project / "f7").read_bytes()
    store.checkout(ref)
    finish_leases()
    proxy.requests.clear()
    assert store.read_file(ref, "f9") == (project / "f9").read_bytes()
    assert proxy.requests == []


# ---- shapes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "files", [{}, {"empty": ""}, {"a": "", "b": ""}, {"big": b"z" * (5 << 20)}]
)
def test_folders_of_every_size(local, tmp_path, files):
    (tmp_path / "p").mkdir()
    write(tmp_path / "p", files)
    local.push(tmp_path / "p", "p")
    there = reopened(local, tmp_path, "there")
    assert contents(there.checkout("p")) == contents(tmp_path / "p")
    assert contents(there.checkout("p", tmp_path / "to")) == contents(tmp_path / "p")
    assert local.checkout("p").is_dir()


def test_equal_contents_are_stored_once(local, tmp_path):
    write(tmp_path / "p", {f"{n}": b"same" * 1000 for n in range(20)})
    assert local.push(tmp_path / "p", "p").uploaded < 6000


def test_ten_versions_take_little_more_than_one_and_a_checkout_reads_at_most_twice(local, tmp_path):
    chance = random.Random(3)
    project = write(tmp_path / "p", {f"f{n}": chance.randbytes(2000) for n in range(200)})
    for _ in range(30):
        local.push(project, "p")
        for _ in range(2):
            write(project, {f"f{chance.randrange(200)}": chance.randbytes(2000)})
    stored = sum(path.stat().st_size for path in Path(local.url).rglob("*") if path.is_file())
    assert stored < 3 * 400_000
    reference = local.resolve("p").reference
    packs = [blob.size for role, blob in reference.attachments.items() if role != "index"]
    assert sum(packs) <= 2 * 400_000
    assert len(packs) <= 14


def test_a_path_that_is_too_long_here_is_one_clear_error(local, tmp_path):
    deep = "/".join(["d" * 200] * 15) + "/f"
    folder = tmp_path / "p"
    folder.mkdir()
    before = Path.cwd()
    try:
        os.chdir(folder)
        for part in deep.split("/")[:-1]:
            Path(part).mkdir()
            os.chdir(part)
        Path("f").write_text("x")
    finally:
        os.chdir(before)
    try:
        local.push(folder, "p")
        target = tmp_path / ("t" * 200) / ("t" * 200) / ("t" * 200) / ("t" * 200) / ("t" * 200)
        reopened(local, tmp_path, "there").checkout("p", target / ("u" * 200) / ("u" * 200))
    except CasflowError as error:
        assert "\n" not in str(error)
    else:
        pytest.fail("such a path cannot be written")


def test_a_warm_checkout_asks_the_store_nothing(local, project, tmp_path, monkeypatch):
    version = local.push(project, "p")
    local.checkout("p")
    monkeypatch.setattr(Resolver, "select", None)
    assert local.checkout(f"p@{version.digest}").is_dir()
    assert local.checkout(version.digest).is_dir()
    private = local.checkout(f"p@{version.digest}", tmp_path / "private")
    assert contents(private) == contents(project)
    assert origin_of(private, local.cache)["digest"] == version.digest
