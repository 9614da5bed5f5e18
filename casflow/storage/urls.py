"""Blob stores by URL: a folder's path, `s3://bucket`, `gs://bucket`, `az://container`.

Owns which scheme means which storage. Invariant: a URL names a root, as the storages use it;
credentials come from where each storage finds them or from options, never from the URL.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

from casflow import config
from casflow.blobs.local import LocalBlobStore
from casflow.errors import ConfigError
from casflow.storage.plugins import find_class

if TYPE_CHECKING:
    from casflow.blobs.base import BlobStore
    from casflow.storage.base import Storage

_KINDS = {"s3": "S3", "s3a": "S3", "gs": "GCS", "gcs": "GCS", "az": "Azure", "azure": "Azure"}


def open_url(url: str, **options: Any) -> BlobStore:
    """Return the blob store at a URL, or in the folder that a path without a scheme names.

    Args:
        url: A folder's path, or `file://`, `s3://bucket`, `gs://bucket`, `az://container`, each
            with a prefix after it or without, or `memory://name` for one in this process.
        options: For S3, arguments of boto3's client, `upload_options` and `exclusive_writer`; for
            Google Cloud Storage `project` and `requester_pays`; for Azure `connection_string` or
            `connection_string_secret`.

    Raises:
        ConfigError: The scheme or an option is not known, or the URL names no root.
        MissingExtraError: The extra of that store is not installed.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        _refuse(options, url)
        return _folder(unquote(urlsplit(url).path) if separator else url)
    if scheme == "memory":
        _refuse(options, url)
        return _memory(rest)
    return cast("BlobStore", cast("Any", _bucket(url, options)).open_store())


def storage_of(url: str) -> Storage:
    """Return the storage at a URL, or in the folder that a path without a scheme names.

    Raises:
        ConfigError: The scheme is not known, or the URL names no root.
        MissingExtraError: The extra of that storage is not installed.
    """
    scheme, separator, _ = url.partition("://")
    if separator and scheme != "file":
        return _bucket(url, {})
    local: Any = find_class("Local")
    return cast("Storage", local(unquote(urlsplit(url).path) if separator else url))


def _bucket(url: str, options: dict[str, Any]) -> Storage:
    scheme = url.partition("://")[0]
    if scheme not in _KINDS:
        hint = "known are a folder's path, s3://, gs://, az:// and memory://"
        raise ConfigError("unknown kind of store", where=f"{scheme}://", hint=hint)
    parts = urlsplit(url if url.isprintable() else "")  # it would leave out line breaks
    prefix = unquote(parts.path).strip("/")
    if "@" in parts.netloc or not parts.netloc or parts.query or _is_unclean(prefix):
        hint = "write the name of a bucket or container, and a prefix where there is one"
        raise ConfigError("not the URL of a store", where=f"{scheme}://", hint=hint)
    return _made(_KINDS[scheme], f"{parts.netloc}/{prefix}".rstrip("/"), options)


_OWN_OF_S3 = ("upload_options", "exclusive_writer")


def _made(kind: str, root: str, options: dict[str, Any]) -> Storage:
    storage: Any = find_class(kind)
    known = dict(options)
    if kind == "S3":
        own = {name: known.pop(name) for name in _OWN_OF_S3 if name in known}
        known = {"client_options": known, "upload_options": _upload_options(), **own}
    try:
        return cast("Storage", storage(root, **known))
    except TypeError as error:
        raise ConfigError(f"unknown option of a store ({error})", where=root) from error


def _upload_options() -> dict[str, Any]:
    """Return what the settings say that every upload needs.

    Raises:
        ConfigError: It is no JSON object.
    """
    settings = config.load()
    try:
        found = json.loads(settings.s3_upload_options or "{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        hint = 'write it as JSON: {"ServerSideEncryption": "aws:kms"}'
        where = settings.origins["s3_upload_options"]
        raise ConfigError("not the options of an upload", where=where, hint=hint)
    return found


def _is_unclean(prefix: str) -> bool:
    return bool(prefix) and any(part in ("", ".", "..") for part in prefix.split("/"))


def _refuse(options: dict[str, Any], url: str) -> None:
    if options:
        raise ConfigError(f"unknown option of a store: {min(options)}", where=url)


def _memory(name: str) -> BlobStore:
    from casflow.blobs.fsspec import FsspecBlobStore

    if not name.strip("/") or _is_unclean(name.strip("/")):
        raise ConfigError("not the URL of a store", where="memory://", hint="write memory://name")
    return FsspecBlobStore(_memory_filesystem, f"/{name.strip('/')}", f"memory://{name}")


def _memory_filesystem() -> Any:
    from fsspec.implementations.memory import MemoryFileSystem

    return MemoryFileSystem()


def _folder(path: str) -> BlobStore:
    return LocalBlobStore(Path(path).expanduser().absolute())
