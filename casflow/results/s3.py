"""Results in an S3 bucket.

Owns the way from `S3Result`'s parameters to a bucket. Invariant: credentials among the options
reach the client and are left behind by copies that travel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from casflow.errors import ConfigError
from casflow.results.store import StoreResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casflow.blobs.base import BlobStore


class S3Result(StoreResult):
    """A result in a bucket.

    Args:
        bucket: Name of the bucket.
        location: A template of the key.
        boto3_kwargs: Arguments of boto3's client, and `profile_name`.
        upload_options: Extra arguments of each upload, as boto3's `ExtraArgs`.
        options: `serializer` and `value`.
    """

    def __init__(
        self,
        bucket: str,
        boto3_kwargs: Mapping[str, Any] | None = None,
        *,
        location: Any = None,
        upload_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        if isinstance(boto3_kwargs, str):
            raise ConfigError(
                "boto3_kwargs is text", where=bucket, hint="write location=... by name"
            )
        from casflow.blobs.s3 import remember_credentials

        super().__init__(location, **options)
        self.bucket = bucket
        self.boto3_kwargs = dict(boto3_kwargs or {})
        remember_credentials(self.boto3_kwargs)
        self.upload_options = dict(upload_options or {})

    def _open(self) -> BlobStore:
        from casflow.blobs.s3 import S3BlobStore

        return S3BlobStore(self.bucket, self.boto3_kwargs, self.upload_options)

    def __getstate__(self) -> dict[str, Any]:
        from casflow.blobs.s3 import without_credentials

        shown = without_credentials(self.boto3_kwargs)
        return {**super().__getstate__(), "boto3_kwargs": shown}
