"""Results in a container of Azure Blob Storage.

Owns the way from `AzureResult`'s parameters to a container. Invariant: a connection string that
was passed reaches the client and is left behind by copies that travel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from casflow.results.store import StoreResult

if TYPE_CHECKING:
    from casflow.blobs.base import BlobStore


class AzureResult(StoreResult):
    """A result in a container.

    Args:
        container: Name of the container.
        location: A template of the blob's name.
        connection_string: A connection string or the account's address.
        connection_string_secret: Name of the secret that holds it; when both are left out it is
            `AZURE_STORAGE_CONNECTION_STRING`.
        options: `serializer` and `value`.
    """

    def __init__(
        self,
        container: str,
        connection_string: str | None = None,
        connection_string_secret: str | None = None,
        *,
        location: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(location, **options)
        self.container = container
        self.connection_string = connection_string
        self.connection_string_secret = connection_string_secret

    def _open(self) -> BlobStore:
        from casflow.blobs.azure import AzureBlobStore, find_connection

        named = self.connection_string_secret
        return AzureBlobStore(
            self.container, find_connection(self.container, self.connection_string, named)
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "connection_string": None}
