"""A folder as a store: links are not followed, and what is written is on the disk."""

from __future__ import annotations

import os
import stat

import pytest

from casflow.blobs import layout
from casflow.blobs.content import ContentStore, Draft
from casflow.blobs.local import LocalBlobStore
from casflow.errors import CasflowError, ConflictError
from casflow.gc import Collector, Limits, stats, verify
from casflow.gc.limits import DAY
from casflow.reference import PICKLE


@pytest.fixture
def store(tmp_path):
    made = LocalBlobStore(tmp_path / "new" / "store")
    ContentStore(made).commit(Draft("flow", b"data", PICKLE))
    return made


@pytest.fixture
def elsewhere(tmp_path):
    """Return a folder of somebody's files, old enough for any housekeeping."""
    folder = tmp_path / "precious"
    folder.mkdir()
    for number in range(300):
        path = folder / f"{number:03}"
        path.write_bytes(b"mine")
        os.utime(path, (0, 0))
    return folder


def clean(store):
    now = Limits(grace=0, trash=0, exclusive=True)
    for _ in range(2):
        Collector(store, limits=now).run()


@pytest.mark.parametrize(
    "place",
    [
        ".casflow/gc/runs",
        ".casflow/tmp",
        ".casflow/trash",
        ".casflow/gc/condemned",
        ".casflow/blobs/ab",
    ],
)
def test_housekeeping_does_not_follow_a_linked_folder(store, elsewhere, place):
    path = store.root / place
    if path.exists():
        path.rename(store.root / "aside")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(elsewhere)
    try:
        clean(store)
        store.drop_leftovers(DAY)
    except CasflowError:
        pass
    assert len(list(elsewhere.iterdir())) == 300
    assert {each.read_bytes() for each in elsewhere.iterdir()} == {b"mine"}


def test_a_link_as_an_object_is_neither_read_nor_written_through(store, elsewhere):
    target = elsewhere / "000"
    (store.root / "flow" / "linked").symlink_to(target)
    assert store.find("flow/linked") is None
    assert "flow/linked" not in [info.key for info in store.list()]
    with pytest.raises(CasflowError):
        store.get("flow/linked")
    with pytest.raises(ConflictError):
        store.create("flow/linked", b"new")
    store.put("flow/linked", b"new")
    assert target.read_bytes() == b"mine"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK])
def test_what_is_no_file_is_named_and_nothing_waits_for_it(store, caplog, kind):
    key = "flow/2026-01-01t00-00-00-000000-00-00"
    for each in (key, f"{layout.TRASH}{key}", layout.pin("odd", "0" * 16)):
        path = store.root / each
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(path, kind | 0o644)
    with pytest.raises(CasflowError):
        store.get(key)
    clean(store)
    assert verify(store, share=1).clean
    assert stats(store).references == 1
    assert key in caplog.text
    assert (store.root / key).exists()


class Disk:
    """The log of what a process put on the disk, to tell what a power cut would leave."""

    def __init__(self, monkeypatch):
        self.synced = set()
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self.fsync)

    def fsync(self, descriptor):
        self._fsync(descriptor)
        found = os.fstat(descriptor)
        names = os.listdir(descriptor) if stat.S_ISDIR(found.st_mode) else ()  # noqa: PTH208
        self.synced.add(found.st_ino)
        for name in names:  # what a synced folder names stays named
            self.synced.add((found.st_ino, name))

    def survives(self, path, above):
        """Tell whether a file, its name, and all folders up to one would be there again."""
        if path.stat().st_ino not in self.synced and path.stat().st_size:
            return False
        while path != above:
            if (path.parent.stat().st_ino, path.name) not in self.synced:
                return False
            path = path.parent
        return True


def test_nothing_that_was_acknowledged_is_lost_at_a_power_cut(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    store = LocalBlobStore(tmp_path / "a" / "b" / "store")
    content = ContentStore(store)
    for number in range(3):
        content.commit(Draft("flow", b"%d" % number, PICKLE, (), {"map": b"m%d" % number}))
        lost = [
            info.key for info in store.list() if not disk.survives(store.root / info.key, tmp_path)
        ]
        assert lost == []


def test_a_folder_that_another_process_made_and_did_not_sync_is_synced(tmp_path, monkeypatch):
    (tmp_path / "store" / "flow").mkdir(parents=True)
    disk = Disk(monkeypatch)
    store = LocalBlobStore(tmp_path / "store")
    store.create("flow/key", b"data")
    assert disk.survives(store.root / "flow/key", store.root)


def test_markers_are_on_the_disk_before_a_blob_is_deleted(store, tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    deleted = []
    delete_many = store.delete_many

    def watched(keys):
        for key in keys:
            if (name := layout.parse_blob(key)) is not None:
                deleted.append(key)
                assert disk.survives(store.root / layout.marker(*name), store.root)
        delete_many(keys)

    monkeypatch.setattr(store, "delete_many", watched)
    for number in range(20):
        done = ContentStore(store).commit(Draft("gone", b"%d" % number, PICKLE))
        store.delete(done.key)
    clean(store)
    assert len(deleted) == 20


def test_a_root_that_was_removed_is_made_again(store):
    import shutil

    shutil.rmtree(store.root)
    store.create("flow/key", b"data")
    store.create_empty(["a/b", "a/c", "d/e"])
    assert [info.key for info in store.list()] == ["a/b", "a/c", "d/e", "flow/key"]
