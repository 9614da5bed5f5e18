"""The blob store over Azure Blob Storage.

Owns how the client is opened (connection string, or account address with Azure's default
credential) and what adlfs does not offer: metadata of one's own, listings that fail when they
should. Invariant: a creation is a conditional write (`If-None-Match: *`).
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from casflow import secrets
from casflow.blobs.base import ObjectInfo
from casflow.blobs.fsspec import MARK, PARALLEL, PIECE, FsspecBlobStore, seconds
from casflow.blobs.progress import moved
from casflow.config import ca_bundle, load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

# adlfs takes whatever the environment holds for a connection string, and makes a client of it.
_UNUSED = "AccountName=unused;AccountKey=dW51c2Vk"
_HIDDEN_PARTS = ("AccountKey", "SharedAccessSignature")


class AzureBlobStore(FsspecBlobStore):
    """Bytes by key in a container.

    Args:
        container: Name of the container.
        connection: A connection string, or the address (`https://<account>.blob…`) of the account
            or of the container, with a shared access signature (`?sv=…&sig=…`) or without; then
            Azure's default credential is used.
    """

    creates_once = True  # the service's contract

    def __init__(self, container: str, connection: str) -> None:
        connection = _without_container(connection, container)
        secrets.remember(connection)
        address = account_address(connection)
        url = f"{address}/{container}"
        super().__init__(partial(open_filesystem, connection), container, url)

    def _call(self, client: Any, operation: str, *args: Any, **options: Any) -> Any:
        from fsspec.asyn import sync

        return sync(self.fs.loop, getattr(client, operation), *args, **options)

    def _container(self) -> Any:
        return self.fs.service_client.get_container_client(self._root.partition("/")[0])

    def _blob(self, path: str) -> Any:
        container, key, _ = self.fs.split_path(path)
        return self.fs.service_client.get_blob_client(container, key)

    def _object_info(self, key: str, path: str) -> ObjectInfo | None:
        found = self._call(self._blob(path), "get_blob_properties")
        return ObjectInfo(key, found.size, seconds(found.last_modified))

    def _pieces(self, path: str, start: int, end: int) -> Iterator[bytes]:
        body = self._call(self._blob(path), "download_blob", offset=start, length=end - start)
        chunks = body.chunks()
        return self._streamed(lambda _: anext(chunks, b""))

    def _mark_of(self, path: str) -> tuple[str | None, int]:
        found = self._call(self._blob(path), "get_blob_properties")
        return found.metadata.get(MARK), found.size

    def _write_new(self, path: str, data: bytes | Path, mark: str) -> None:
        self._upload(path, data, overwrite=False, metadata={MARK: mark})

    def _overwrite(self, path: str, data: bytes | Path) -> None:
        self._upload(path, data, overwrite=True)

    def _upload(self, path: str, data: bytes | Path, **options: Any) -> None:
        options |= {"max_concurrency": PARALLEL, "progress_hook": _reporting()}
        with ExitStack() as stack:
            body = stack.enter_context(data.open("rb")) if isinstance(data, Path) else data
            self._call(self._blob(path), "upload_blob", body, **options)

    def _entries(self, prefix: str) -> Iterator[ObjectInfo]:
        root = self.fs.split_path(f"{self._root}/")[1]
        pages = self._container().list_blobs(name_starts_with=root + prefix).by_page()
        while (page := self._call(_Pages(pages), "following")) is not None:
            for each in page:
                key, moment = each.name[len(root) :], seconds(each.last_modified)
                yield ObjectInfo(key, each.size, moment, each.etag or "")


def _reporting() -> Callable[[int, int | None], Awaitable[None]]:
    """Return a hook that is told how many bytes have been sent so far and reports it."""
    before = 0

    async def report(sent: int, _: int | None) -> None:
        nonlocal before
        moved(sent - before)
        before = sent

    return report


class _Pages:
    """A listing of the asynchronous client, page by page."""

    def __init__(self, pages: Any) -> None:
        self._pages = pages

    async def following(self) -> list[Any] | None:
        try:
            page = await anext(self._pages)
        except StopAsyncIteration:
            return None
        return [each async for each in page]


def find_connection(container: str, connection: str | None, secret: str | None) -> str:
    """Return the connection string: the given one, or that of a secret.

    The secret is the one that was named, or that the settings name for the container, or the usual
    one.

    Raises:
        MissingSecretError: There is none.
    """
    if connection is not None:
        return connection
    secret = secret or load().options_of(f"az://{container}").get("connection_string_secret")
    return str(secrets.Secret(secret or "AZURE_STORAGE_CONNECTION_STRING").get())


def account_address(connection: str) -> str:
    """Return the address of the account that a connection string is for."""
    if connection.startswith(("http://", "https://")):
        return connection.partition("?")[0].rstrip("/")
    parts = _parts(connection)
    if "BlobEndpoint" in parts:
        return parts["BlobEndpoint"].partition("?")[0].rstrip("/")
    protocol = parts.get("DefaultEndpointsProtocol", "https")
    suffix = parts.get("EndpointSuffix", "core.windows.net")
    return f"{protocol}://{parts.get('AccountName', 'unknown')}.blob.{suffix}"


def _without_container(connection: str, container: str) -> str:
    """Return a connection whose address is that of the account, also where it had the container."""
    if not connection.startswith(("http://", "https://")):
        return connection
    address, mark, signature = connection.partition("?")
    name = container.partition("/")[0]
    return address.rstrip("/").removesuffix(f"/{name}") + mark + signature


def _parts(connection: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in connection.split(";") if part)
    return {name.strip(): value for name, _, value in pairs}


def open_filesystem(connection: str) -> Any:
    """Return an adlfs filesystem that caches nothing, with a client of our own in it.

    Raises:
        ImportError: The extra is not installed.
    """
    from adlfs import AzureBlobFileSystem

    filesystem = AzureBlobFileSystem(
        connection_string=_UNUSED, use_listings_cache=False, skip_instance_cache=True
    )
    filesystem.service_client = _client(connection)
    return filesystem


def _client(connection: str) -> Any:
    from azure.storage.blob.aio import BlobServiceClient, ExponentialRetry

    options: dict[str, Any] = {
        # The library's own first pause is 15 seconds.
        "retry_policy": ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=4),
        "max_block_size": PIECE,
        "max_single_put_size": 2 * PIECE,
        "max_single_get_size": PIECE,
        "max_chunk_get_size": 5 * 2**20,  # up to three times in memory, for each part
    }
    # The library reads the bundle again for each request, also for one without TLS.
    if (bundle := ca_bundle()) is not None and "http://" not in connection:
        options["connection_verify"] = bundle
    if connection.startswith(("http://", "https://")):
        signature = connection.partition("?")[2]
        secrets.remember([signature, *parse_qs(signature).get("sig", [])])
        return BlobServiceClient(
            account_address(connection), signature or _default_credential(), **options
        )
    parts = _parts(connection)
    secrets.remember([parts.get(name) for name in _HIDDEN_PARTS])
    if any(name in parts for name in (*_HIDDEN_PARTS, "UseDevelopmentStorage")):
        return BlobServiceClient.from_connection_string(connection, **options)
    return BlobServiceClient(account_address(connection), _default_credential(), **options)


def _default_credential() -> Any:
    from azure.identity.aio import DefaultAzureCredential

    return DefaultAzureCredential()
