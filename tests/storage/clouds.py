"""The three clouds, each with what a test needs to use it as a user does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from casflow import results, storage


@dataclass(frozen=True)
class Cloud:
    """One object store that answers.

    Attributes:
        name: `s3`, `gcs` or `azure`; also the dialect of the proxy.
        server: How clients are told of it.
        bucket: A bucket or container of this test's own.
    """

    name: str
    server: Any
    bucket: str

    @property
    def kind(self):
        return {"s3": "S3", "gcs": "GCS", "azure": "Azure"}[self.name]

    @property
    def environ(self):
        return self.server.environ

    def storage(self, key=None, **options):
        if key is not None:
            options["blob_name" if self.name == "azure" else "key"] = key
        return getattr(storage, self.kind)(self.bucket, **options)

    def result(self, location=None, **options):
        kind = getattr(results, f"{self.kind}Result")
        return kind(self.bucket, location=location, **options)

    def through(self, proxy):
        """Return the same cloud behind a proxy."""
        return replace(self, server=self.server.through(proxy.url))

    @property
    def source(self):
        """The expression that makes the storage, for scripts."""
        return f"{self.kind}({self.bucket!r})"

    # ---- behind casflow's back -------------------------------------------------------------

    @cached_property
    def _fs(self):
        return self.server.filesystem()

    def objects(self, containing=""):
        found = self._fs.find(self.bucket)
        return sorted(path.partition("/")[2] for path in found if containing in path)

    def blobs(self):
        return self.objects("/.casflow/blobs/")

    def references(self):
        return [key for key in self.objects() if not key.startswith(".casflow/")]

    def read(self, key):
        return self._fs.cat_file(f"{self.bucket}/{key}")

    def write(self, key, data):
        self._fs.pipe_file(f"{self.bucket}/{key}", data)
