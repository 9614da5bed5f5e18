"""Flows in a bucket of Google Cloud Storage.

Owns the way from `GCS`'s parameters to a bucket. Invariant: the storage holds no credential; the
client finds one itself wherever the storage is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from casflow.blobs.gcs import GCSBlobStore
from casflow.storage.blob import BlobStorage

if TYPE_CHECKING:
    from casflow.results import Result


class GCS(BlobStorage):
    """Flows in a bucket, at `<slug>/<timestamp>`.

    Credentials are Application Default Credentials, or the secret `GCP_CREDENTIALS`: a service
    account's key as JSON.

    Args:
        bucket: Name of the bucket.
        key: The exact, mutable key that shall hold the flow's reference.
        project: Project that is billed; that of the credential when left out.
        stored_as_script: Whether the script is stored instead of a pickle.
        local_script_path: The script that is stored.
        requester_pays: Whether the project pays for requests, not the owner of the bucket.
        options: What every storage takes.
    """

    fields = ("bucket", "key", "project", "stored_as_script")
    optional_fields = ("follow", "requester_pays")

    def __init__(
        self,
        bucket: str,
        key: str | None = None,
        project: str | None = None,
        stored_as_script: bool = False,  # noqa: FBT001, FBT002 - the original's signature
        local_script_path: str | None = None,
        *,
        requester_pays: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            key=key,
            stored_as_script=stored_as_script,
            local_script_path=local_script_path,
            **options,
        )
        self.bucket = bucket
        self.project = project
        self.requester_pays = requester_pays

    def open_store(self) -> GCSBlobStore:
        """Return the bucket as a blob store."""
        return GCSBlobStore(self.bucket, self.project, requester_pays=self.requester_pays)

    @property
    def result(self) -> Result | None:
        """Results go to the same bucket."""
        if self._result is None:
            from casflow.results import GCSResult

            self._result = GCSResult(
                self.bucket, project=self.project, requester_pays=self.requester_pays
            )
        return self._result
