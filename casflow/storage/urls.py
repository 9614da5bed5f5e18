"""Blob stores by URL: a folder's path, `s3://bucket`, `gs://bucket`, `az://container`.

Owns which scheme means which storage. Invariant: a URL names a whole root, as the storages use it;
credentials come from where each storage finds them, never from the URL.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

from casflow.blobs.local import LocalBlobStore
from casflow.errors import ConfigError
from casflow.storage.plugins import find_class

if TYPE_CHECKING:
    from casflow.blobs.base import BlobStore

_KINDS = {"s3": "S3", "s3a": "S3", "gs": "GCS", "gcs": "GCS", "az": "Azure", "azure": "Azure"}


def open_url(url: str) -> BlobStore:
    """Return the blob store at a URL, or in the folder that a path without a scheme names.

    Raises:
        ConfigError: The scheme is not known, or the URL names more or less than a root.
        MissingExtraError: The extra of that store is not installed.
    """
    if "://" not in url:
        return _folder(url)
    parts = urlsplit(url)
    if parts.scheme == "file":
        return _folder(unquote(parts.path))
    if parts.scheme not in _KINDS:
        hint = "known are a folder's path, s3://, gs:// and az://"
        raise ConfigError("unknown kind of store", where=f"{parts.scheme}://", hint=hint)
    if "@" in parts.netloc or not parts.netloc or parts.path.strip("/") or parts.query:
        hint = "write the name of a bucket or container and nothing else after it"
        raise ConfigError("not the URL of a store", where=f"{parts.scheme}://", hint=hint)
    storage: Any = find_class(_KINDS[parts.scheme])
    return cast("BlobStore", storage(parts.netloc).open_store())


def _folder(path: str) -> BlobStore:
    return LocalBlobStore(Path(path).expanduser().absolute())
