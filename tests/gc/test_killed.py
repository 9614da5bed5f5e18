"""kill -9 at every operation of the store, before and after its effect: nothing is ever lost."""

from __future__ import annotations

import os
from itertools import count

import pytest

from casflow.blobs.local import LocalBlobStore
from tests.gc.killing import CASES, LONG, kill_everywhere

EVERY = 1 if LONG else 12  # of the operations on a server, in the normal run

cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
both = pytest.mark.parametrize("when", ["before", "after"])


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Return what opens new stores in folders; a killed process needs no fsync."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    numbers = count()
    return lambda: LocalBlobStore(tmp_path / str(next(numbers)))


@cases
@both
def test_killed_on_a_folder(folders, case, when):
    assert kill_everywhere(case(), when, folders) > 1


@pytest.mark.service
@pytest.mark.slow
@cases
@both
def test_killed_on_s3(s3_server, monkeypatch, case, when):
    from casflow.blobs.s3 import S3BlobStore

    for name, value in s3_server.environ.items():
        monkeypatch.setenv(name, value)
    kill_everywhere(case(), when, lambda: S3BlobStore(s3_server.bucket()), EVERY)


@pytest.mark.service
@pytest.mark.slow
@cases
@both
def test_killed_on_gcs(gcs_server, monkeypatch, case, when):
    from casflow.blobs.gcs import GCSBlobStore

    for name, value in gcs_server.environ.items():
        monkeypatch.setenv(name, value)
    kill_everywhere(case(), when, lambda: GCSBlobStore(gcs_server.bucket()), EVERY)


@pytest.mark.service
@pytest.mark.slow
@cases
@both
def test_killed_on_azure(azure_server, case, when):
    from casflow.blobs.azure import AzureBlobStore

    def opened():
        return AzureBlobStore(azure_server.bucket(), azure_server.connection_string)

    kill_everywhere(case(), when, opened, EVERY)
