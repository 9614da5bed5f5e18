"""What a push and a checkout ask of a store: requests one after another, and bytes."""

from __future__ import annotations

import random

import pytest

import casflow
from casflow.blobs import layout, reader
from casflow.blobs.local import LocalBlobStore
from casflow.cache import Cache
from casflow.errors import AccessError
from casflow.store import finish_leases, named_versions
from tests.services.rounds import Rounds

FILES, SIZE = 1000, 20_000


class Far(LocalBlobStore):
    """A folder that is read as a bucket is."""

    parallel = 16


@pytest.fixture
def bucket(tmp_path):
    return Rounds(Far(tmp_path / "bucket"))


@pytest.fixture
def machine(bucket, tmp_path, monkeypatch):
    """Return what opens the store as a machine with a cache of its own sees it."""
    monkeypatch.setattr(named_versions, "open_url", lambda *_: bucket)
    return lambda name: casflow.Store("far", cache=Cache(tmp_path / name, 10**9))


@pytest.fixture
def project(tmp_path):
    draw = random.Random(1)
    for number in range(FILES):
        path = tmp_path / "project" / f"pkg{number % 20}" / f"mod_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw.randbytes(SIZE))
    return tmp_path / "project"


def asked(bucket, work):
    """Return the questions of each round trip, and the bytes that were written."""
    before, written = len(bucket.asked), bucket.written
    work()
    return bucket.asked[before:], bucket.written - written


def test_a_project_of_a_thousand_files_takes_few_round_trips(bucket, machine, project):
    here = machine("here")
    here.push(project, "p")
    assert asked(bucket, lambda: here.push(project, "p")) == ([["list"], ["get_range"]], 0)

    (project / "pkg1/mod_1.py").write_bytes(bytes(range(250)) * 80)
    rounds, sent = asked(bucket, lambda: here.push(project, "p"))
    assert len(rounds) <= 8, rounds
    assert sent <= 60_000

    here.tag("p@1", "prod")
    there = machine("there")
    rounds, _ = asked(bucket, lambda: there.checkout("p@prod"))
    downloads = [each.count("copy_to") for each in rounds]
    assert sum(downloads[:3]) == sum(downloads) == 4, rounds  # then the lease, which nobody awaits
    finish_leases()
    digest = there.resolve("p@prod").digest
    assert asked(bucket, lambda: there.checkout(f"p@{digest}")) == ([], 0)


def test_an_unchanged_push_to_a_large_store_looks_at_what_it_names(bucket, machine, tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "a.py").write_text("A = 1")
    here = machine("here")
    here.push(tmp_path / "project", "p")
    bucket.create_empty([f"other/{number}" for number in range(reader.PAGE)])
    rounds, written = asked(bucket, lambda: here.push(tmp_path / "project", "p"))
    assert (rounds[0], written) == (["list"], 0)
    rounds, _ = asked(bucket, lambda: here.push(tmp_path / "project", "p"))
    assert [sorted(set(each)) for each in rounds] == [["list"], ["get_range"], ["find"]]


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Return a project, and what opens a store of a kind that stands in a folder."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "a.py").write_text("A = 1")

    def opened(kind):
        folder = kind(tmp_path / "bucket")
        monkeypatch.setattr(named_versions, "open_url", lambda *_: folder)
        return folder, casflow.Store("far", cache=Cache(tmp_path / "cache", 10**9))

    return tmp_path / "project", opened


def test_one_listing_shows_what_is_lost_or_condemned(small):
    project, opened = small
    folder, store = opened(Far)
    blob = store.push(project, "p").reference.attachments["pack/0"]
    assert not store.push(project, "p").is_new
    folder.delete(layout.blob(blob.digest, blob.incarnation))
    assert store.push(project, "p").is_new
    assert not store.push(project, "p").is_new
    folder.create(layout.marker(blob.digest, blob.incarnation), b"")
    assert store.push(project, "p").is_new
    assert store.verify(1.0).clean


def test_a_writer_who_may_list_folders_only_pushes_as_well(small):
    class Narrow(Far):
        def list(self, prefix=""):
            if not prefix:
                raise AccessError("the listing is refused", where=self.url)
            return super().list(prefix)

    project, opened = small
    _, store = opened(Narrow)
    assert [store.push(project, "p").is_new for _ in range(3)] == [True, False, False]
