"""kill -9 at every operation of the store and at random moments: nothing is ever lost.

`GC_LONG=1` kills at each operation on every server, and more often in between; `--junitxml` with
`-o junit_family=xunit1` then tells how many processes were killed.
"""

from __future__ import annotations

import os
import random
from itertools import count

import pytest

from casflow.blobs.local import LocalBlobStore
from tests.gc.killing import CASES, LONG, kill_everywhere, kill_sometime

EVERY = 1 if LONG else 12  # of the operations on a server, in the normal run
TIMES = 12 if LONG else 1  # random moments, on a server
OFTEN = 240 if LONG else 1  # and in a folder, where it takes no time

cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
SERVERS = ("s3", "gcs", "azure")
server = [pytest.mark.service, pytest.mark.slow]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return what opens new stores in folders; a killed process needs no fsync."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    numbers = count()
    return lambda: LocalBlobStore(tmp_path / str(next(numbers)))


@pytest.fixture
def s3(s3_server, monkeypatch):
    """Return what opens new buckets."""
    from casflow.blobs.s3 import S3BlobStore

    for name, value in s3_server.environ.items():
        monkeypatch.setenv(name, value)
    return lambda: S3BlobStore(s3_server.bucket())


@pytest.fixture
def gcs(gcs_server, monkeypatch):
    """Return what opens new buckets."""
    from casflow.blobs.gcs import GCSBlobStore

    for name, value in gcs_server.environ.items():
        monkeypatch.setenv(name, value)
    return lambda: GCSBlobStore(gcs_server.bucket())


@pytest.fixture
def azure(azure_server):
    """Return what opens new containers."""
    from casflow.blobs.azure import AzureBlobStore

    return lambda: AzureBlobStore(azure_server.bucket(), azure_server.connection_string)


@pytest.fixture(params=["folder", *(pytest.param(each, marks=server) for each in SERVERS)])
def opened(request):
    """Return what opens new stores of each kind, at which operations and how often to kill."""
    is_folder = request.param == "folder"
    how = (1, OFTEN) if is_folder else (EVERY, TIMES)
    return request.getfixturevalue(request.param), *how


@cases
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_an_operation(opened, case, when, record_property):
    open_store, every, _ = opened
    kills = kill_everywhere(case(), when, open_store, every)
    record_property("kills", kills)
    assert kills > 0


@cases
def test_killed_at_a_random_moment(opened, case, record_property):
    open_store, _, times = opened
    kill_sometime(case(), open_store, times, random.Random(1))
    record_property("kills", times)
