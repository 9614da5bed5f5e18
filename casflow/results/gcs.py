"""Results in a bucket of Google Cloud Storage.

Owns the way from `GCSResult`'s parameters to a bucket. Invariant: the result holds no credential.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from casflow.results.store import StoreResult

if TYPE_CHECKING:
    from casflow.blobs.base import BlobStore


class GCSResult(StoreResult):
    """A result in a bucket.

    Args:
        bucket: Name of the bucket.
        location: A template of the key.
        project: Project that is billed; that of the credential when left out.
        requester_pays: Whether the project pays for requests, not the owner of the bucket.
        options: `serializer` and `value`.
    """

    requester_pays = False

    def __init__(
        self,
        bucket: str,
        *,
        location: Any = None,
        project: str | None = None,
        requester_pays: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(location, **options)
        if requester_pays:  # one that does not is pickled as it always was
            self.requester_pays = True
        self.bucket = bucket
        self.project = project

    def _open(self) -> BlobStore:
        from casflow.blobs.gcs import GCSBlobStore

        return GCSBlobStore(self.bucket, self.project, requester_pays=self.requester_pays)
