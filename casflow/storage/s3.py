"""Flows in an S3 bucket.

Owns the way from `S3`'s parameters to a bucket and a client. Invariant: credentials among the
options reach the client and nothing else; no form of the storage that leaves the process has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from casflow.blobs.s3 import S3BlobStore, remember_credentials, without_credentials
from casflow.errors import ConfigError
from casflow.storage.blob import BlobStorage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casflow.results import Result


class S3(BlobStorage):
    """Flows in a bucket, at `<slug>/<timestamp>`.

    Credentials are found as boto3 finds them, or in the secret `AWS_CREDENTIALS`: a dictionary
    with `ACCESS_KEY`, `SECRET_ACCESS_KEY` and, where needed, `SESSION_TOKEN`.

    Args:
        bucket: Name of the bucket.
        key: The exact, mutable key that shall hold the flow's reference.
        stored_as_script: Whether the script is stored instead of a pickle.
        local_script_path: The script that is stored.
        client_options: Arguments of boto3's client, and `profile_name`.
        upload_options: Extra arguments of each upload, as boto3's `ExtraArgs`; `RequestPayer` and
            `ExpectedBucketOwner` go with every other request as well.
        exclusive_writer: Promises that nobody else writes to the bucket, for a server that knows
            no conditional writes.
        options: What every storage takes.
    """

    fields = ("bucket", "key", "stored_as_script", "client_options", "upload_options")
    optional_fields = ("follow", "exclusive_writer")

    def __init__(
        self,
        bucket: str,
        key: str | None = None,
        stored_as_script: bool = False,  # noqa: FBT001, FBT002 - the original's signature
        local_script_path: str | None = None,
        client_options: Mapping[str, Any] | None = None,
        upload_options: Mapping[str, Any] | None = None,
        *,
        exclusive_writer: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            key=key,
            stored_as_script=stored_as_script,
            local_script_path=local_script_path,
            **options,
        )
        self.bucket = bucket
        self.client_options = dict(client_options or {})
        remember_credentials(self.client_options)
        self.upload_options = dict(upload_options or {})
        self.exclusive_writer = exclusive_writer
        if keys := [each for each in self.upload_options if each.startswith("SSECustomer")]:
            hint = "use ServerSideEncryption with KMS: every reader would need the customer's key"
            raise ConfigError("upload_options cannot hold " + keys[0], where=bucket, hint=hint)

    def open_store(self) -> S3BlobStore:
        """Return the bucket as a blob store."""
        promise = self.exclusive_writer
        return S3BlobStore(
            self.bucket, self.client_options, self.upload_options, exclusive_writer=promise
        )

    def identity(self) -> dict[str, Any]:
        """Return the JSON form without its flows and without credentials."""
        shown = without_credentials(self.client_options)
        return {**super().identity(), "client_options": shown}

    def __getstate__(self) -> dict[str, Any]:
        shown = without_credentials(self.client_options)
        return {**super().__getstate__(), "client_options": shown}

    @property
    def result(self) -> Result | None:
        """Results go to the same bucket."""
        if self._result is None:
            from casflow.results import S3Result

            self._result = S3Result(
                self.bucket, boto3_kwargs=self.client_options, upload_options=self.upload_options
            )
        return self._result
