"""The contract of blob stores on every backend."""

from __future__ import annotations

import uuid

import fsspec
import pytest

from casflow.blobs.fsspec import FsspecBlobStore
from casflow.blobs.local import LocalBlobStore
from casflow.testing import BlobStoreTests


class FilesystemRaw:
    """Another client: a filesystem of its own."""

    def __init__(self, fs, root):
        self.fs, self.root = fs, root

    def write(self, key, data):
        self.fs.pipe_file(f"{self.root}/{key}", data)

    def read(self, key):
        return self.fs.cat_file(f"{self.root}/{key}")

    def remove(self, key):
        self.fs.rm_file(f"{self.root}/{key}")


class FolderRaw:
    """Another client: the folder itself."""

    def __init__(self, folder):
        self.folder = folder

    def write(self, key, data):
        file = self.folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def read(self, key):
        return (self.folder / key).read_bytes()

    def remove(self, key):
        (self.folder / key).unlink()


class TestLocal(BlobStoreTests):
    @pytest.fixture
    def store(self, tmp_path):
        return LocalBlobStore(tmp_path / "root")

    @pytest.fixture
    def raw(self, tmp_path):
        return FolderRaw(tmp_path / "root")


class TestMemory(BlobStoreTests):
    @pytest.fixture
    def store(self):
        fs = fsspec.filesystem("memory", skip_instance_cache=True)
        root = f"/{uuid.uuid4().hex}"
        yield FsspecBlobStore(fs, root, f"memory:/{root}")
        if fs.exists(root):
            fs.rm(root, recursive=True)

    @pytest.fixture
    def raw(self, store):
        return FilesystemRaw(fsspec.filesystem("memory"), store.url.removeprefix("memory:/"))


class ServerTests(BlobStoreTests):
    @pytest.fixture
    def bucket(self, server):
        return server.bucket()

    @pytest.fixture
    def raw(self, server, bucket):
        return FilesystemRaw(server.filesystem(), bucket)


@pytest.mark.service
class TestS3(ServerTests):
    @pytest.fixture
    def server(self, s3_server, monkeypatch):
        for name, value in s3_server.environ.items():
            monkeypatch.setenv(name, value)
        return s3_server

    @pytest.fixture
    def store(self, server, bucket):
        from casflow.blobs.s3 import S3BlobStore

        return S3BlobStore(bucket)


@pytest.mark.service
class TestGCS(ServerTests):
    @pytest.fixture
    def server(self, gcs_server, monkeypatch):
        for name, value in gcs_server.environ.items():
            monkeypatch.setenv(name, value)
        return gcs_server

    @pytest.fixture
    def store(self, server, bucket):
        from casflow.blobs.gcs import GCSBlobStore

        return GCSBlobStore(bucket)


@pytest.mark.service
class TestAzure(ServerTests):
    @pytest.fixture
    def server(self, azure_server):
        return azure_server

    @pytest.fixture
    def store(self, server, bucket):
        from casflow.blobs.azure import AzureBlobStore

        return AzureBlobStore(bucket, server.connection_string)
