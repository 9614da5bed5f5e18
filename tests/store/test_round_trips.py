"""What a push and a checkout ask of a store: requests one after another, and bytes."""

from __future__ import annotations

import random

import pytest

import casflow
from casflow.blobs import reader
from casflow.blobs.local import LocalBlobStore
from casflow.cache import Cache
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
    assert asked(bucket, lambda: here.push(project, "p")) == ([["list"], ["get"]], 0)

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
    assert [sorted(set(each)) for each in rounds] == [["list"], ["get"], ["find"]]
