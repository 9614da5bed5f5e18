"""Flows in a container of Azure Blob Storage.

Owns the way from `Azure`'s parameters to a container. Invariant: a connection string that was
passed reaches the client and nothing else; only the name of its secret is ever written down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from casflow.blobs.azure import AzureBlobStore, find_connection
from casflow.errors import ConflictError
from casflow.storage.blob import BlobStorage
from casflow.storage.validation import refuse_unnamed

if TYPE_CHECKING:
    from casflow.results import Result


class Azure(BlobStorage):
    """Flows in a container, at `<slug>/<timestamp>`.

    The connection string is the one passed, or else the secret that was named, or else the secret
    or environment variable `AZURE_STORAGE_CONNECTION_STRING`. The account's address
    (`https://<account>.blob.core.windows.net`) may stand for it; Azure's default credential is
    used then.

    Args:
        container: Name of the container.
        connection_string: A connection string or the account's address.
        connection_string_secret: Name of the secret that holds it.
        blob_name: The exact, mutable key that shall hold the flow's reference.
        overwrite: Whether a blob of that name may be replaced by one with other content.
        stored_as_script: Whether the script is stored instead of a pickle.
        local_script_path: The script that is stored.
        options: What every storage takes.
    """

    fields = ("container", "connection_string_secret", "blob_name", "stored_as_script")

    def __init__(
        self,
        container: str,
        *unnamed: Any,
        connection_string: str | None = None,
        connection_string_secret: str | None = None,
        blob_name: str | None = None,
        overwrite: bool = False,
        stored_as_script: bool = False,
        local_script_path: str | None = None,
        **options: Any,
    ) -> None:
        refuse_unnamed(
            unnamed, "Azure", "connection_string_secret=, connection_string=, blob_name="
        )
        super().__init__(
            key=blob_name,
            stored_as_script=stored_as_script,
            local_script_path=local_script_path,
            **options,
        )
        self.container = container
        self._connection_string = connection_string
        self.connection_string_secret = connection_string_secret
        self.blob_name = blob_name
        self.overwrite = overwrite

    def open_store(self) -> AzureBlobStore:
        """Return the container as a blob store."""
        return AzureBlobStore(self.container, self.connection_string)

    @property
    def connection_string(self) -> str:
        """The connection string, looked up now where it is a secret.

        Raises:
            MissingSecretError: There is none.
        """
        return find_connection(
            self.container, self._connection_string, self.connection_string_secret
        )

    def no_script_text(self) -> str:
        """Return what to say when a script shall be stored and none is named."""
        return "A `blob_name` must be provided if stored as script without a `local_script_path`"

    def claim_key(self) -> None:
        """Refuse to write over a blob of the fixed name, unless that was allowed."""
        if self.blob_name is None or self.overwrite:
            return
        store = self.content.store
        if store.find(self.blob_name) is not None:
            where = store.location(self.blob_name)
            hint = "choose another name, or pass overwrite=True"
            raise ConflictError("there is a blob of that name", where=where, hint=hint)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_connection_string": None}

    @property
    def result(self) -> Result | None:
        """Results go to the same container."""
        if self._result is None:
            from casflow.results import AzureResult

            self._result = AzureResult(
                self.container,
                connection_string=self._connection_string,
                connection_string_secret=self.connection_string_secret,
            )
        return self._result
