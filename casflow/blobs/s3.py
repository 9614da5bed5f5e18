"""The blob store over S3 and what speaks its protocol.

Owns how the client is opened (boto3's own chain of credentials, the `AWS_CREDENTIALS` secret, the
options of the user) and the requests that s3fs makes two of where one will do. Invariant: a
creation is a conditional write (`If-None-Match: *`), for one request and for many parts alike.
"""

from __future__ import annotations

import errno
import math
import os
from contextlib import suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from casflow import secrets
from casflow.blobs.base import ObjectInfo
from casflow.blobs.fsspec import MARK, PARALLEL, PIECE, FsspecBlobStore, seconds, size_of
from casflow.blobs.progress import reporting
from casflow.config import ca_bundle, load
from casflow.errors import (
    AccessError,
    CasflowError,
    ConfigError,
    ConflictError,
    UnavailableError,
)
from casflow.redaction import remember_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_ALWAYS = ("RequestPayer", "ExpectedBucketOwner")
MOST_PARTS = 10_000  # of one upload; the service's limit
_ATTEMPTS = 2  # of s3fs, for bodies that are cut short; botocore has retried all else by then


class S3BlobStore(FsspecBlobStore):
    """Bytes by key in a bucket.

    Args:
        bucket: Name of the bucket.
        client_options: Arguments of boto3's client, and `profile_name`.
        upload_options: Extra arguments of each upload, as boto3's `ExtraArgs`. `RequestPayer` and
            `ExpectedBucketOwner` go with every other request as well.
        exclusive_writer: Whether nobody else writes to the bucket, which is promised for a server
            that does not know, or ignores, conditional writes.

    What is left out is what the settings say of the bucket.
    """

    def __init__(
        self,
        bucket: str,
        client_options: Mapping[str, Any] | None = None,
        upload_options: Mapping[str, Any] | None = None,
        *,
        exclusive_writer: bool = False,
    ) -> None:
        url = f"s3://{bucket}"
        own = load().options_of(url)
        uploads = {**own.pop("upload_options", {}), **(upload_options or {})}
        self._upload_options = uploads
        self._exclusive_writer = own.pop("exclusive_writer", False) or exclusive_writer
        options = {**own, **(client_options or {})}
        always = {name: uploads[name] for name in _ALWAYS if name in uploads}
        super().__init__(partial(open_filesystem, options, always), bucket, url)
        self._deletes_singly = False

    def _read(self, path: str) -> bytes:
        # With more than one connection s3fs asks for the size first.
        data: bytes = self.fs.cat_file(path, max_concurrency=1)
        return data

    def _head(self, path: str) -> dict[str, Any]:
        bucket, key, _ = self.fs.split_path(path)
        answer: dict[str, Any] = self.fs.call_s3("head_object", Bucket=bucket, Key=key)
        return answer

    def _object_info(self, key: str, path: str) -> ObjectInfo | None:
        try:
            head = self._head(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            if isinstance(error, PermissionError) or error.errno != errno.EINVAL:
                raise
            self.fs.cat_file(path, start=0, end=1)  # a HEAD has no body that says what is wrong
            raise
        return ObjectInfo(key, head["ContentLength"], seconds(head["LastModified"]))

    def _pieces(self, path: str, start: int, end: int) -> Iterator[bytes]:
        bucket, key, _ = self.fs.split_path(path)
        span = f"bytes={start}-{end - 1}"
        body = self.fs.call_s3("get_object", Bucket=bucket, Key=key, Range=span)["Body"]
        return self._streamed(body.read, body.close)

    def _mark_of(self, path: str) -> tuple[str | None, int]:
        head = self._head(path)
        return head.get("Metadata", {}).get(MARK), head["ContentLength"]

    def _write_new(self, path: str, data: bytes | Path, mark: str) -> None:
        metadata = {**self._upload_options.get("Metadata", {}), MARK: mark}
        options = {**self._upload_options, "Metadata": metadata, **_parts(data)}
        if not self._exclusive_writer:
            self._send(path, data, mode="create", **options)
            return
        with suppress(FileNotFoundError):
            self._head(path)
            raise FileExistsError(path)
        self._send(path, data, **options)

    def _overwrite(self, path: str, data: bytes | Path) -> None:
        self._send(path, data, **_parts(data), **self._upload_options)

    def creates_parts_once(self, key: str, data: bytes) -> bool:
        """Tell whether the server honours the condition also when an upload in parts is completed.

        Args:
            key: Key of an object that is there.
            data: Its bytes; they are written again where the condition is ignored.
        """
        if self._exclusive_writer:
            return True
        bucket, name, _ = self.fs.split_path(self._path(key))
        at = {"Bucket": bucket, "Key": name}
        with self._border(self.location(key)):
            begun = self.fs.call_s3("create_multipart_upload", **self._upload_options, **at)
            at["UploadId"] = begun["UploadId"]
            tag = self.fs.call_s3("upload_part", PartNumber=1, Body=data, **at)["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
        try:
            with self._border(self.location(key)):
                request = {"MultipartUpload": parts, "IfNoneMatch": "*", **at}
                self.fs.call_s3("complete_multipart_upload", **request)
        except ConflictError:
            with self._border(self.location(key)):
                self.fs.call_s3("abort_multipart_upload", **at)
            return True
        return False

    def delete_many(self, keys: Sequence[str]) -> None:
        """Remove at most 1000 objects in one request, or singly where the server takes none such.

        Some ask for a Content-MD5, which clients of today do not send any more.
        """
        if self._deletes_singly or not keys:
            super().delete_many(keys)
            return
        try:
            self._delete_together(keys)
        except ConfigError:
            self._deletes_singly = True
            super().delete_many(keys)

    def _delete_together(self, keys: Sequence[str]) -> None:
        bucket, _, _ = self.fs.split_path(self._path(keys[0]))
        paths = [{"Key": self.fs.split_path(self._path(key))[1]} for key in keys]
        with self._border(self.url):
            request = {"Objects": paths, "Quiet": True}
            answer = self.fs.call_s3("delete_objects", Bucket=bucket, Delete=request)
        if errors := answer.get("Errors"):
            raise _refused(errors, self.url)

    def _entries(self, prefix: str) -> Iterator[ObjectInfo]:
        bucket, root, _ = self.fs.split_path(f"{self._root}/")
        request = {"Bucket": bucket, "Prefix": root + prefix}
        while True:
            page = self.fs.call_s3("list_objects_v2", **request)
            for each in page.get("Contents", ()):
                key = each["Key"][len(root) :]
                moment, tag = seconds(each["LastModified"]), each.get("ETag", "")
                yield ObjectInfo(key, each["Size"], moment, tag)
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]


def _refused(errors: Sequence[Mapping[str, Any]], url: str) -> CasflowError:
    """Return the error of a deletion that was carried out in part."""
    code, where = errors[0].get("Code", "unknown"), f"{url}/{errors[0].get('Key')}"
    kind = AccessError if code == "AccessDenied" else UnavailableError
    return kind(f"{len(errors)} objects could not be deleted ({code})", where=where)


def _parts(data: bytes | Path) -> dict[str, int]:
    return {
        "chunksize": max(PIECE, math.ceil(size_of(data) / MOST_PARTS)),
        "max_concurrency": PARALLEL,
    }


def open_filesystem(client_options: Mapping[str, Any], always: Mapping[str, Any]) -> Any:
    """Return an s3fs filesystem that caches nothing.

    Args:
        client_options: Arguments of boto3's client, and `profile_name`.
        always: Arguments of every request that takes them.

    Raises:
        ImportError: The extra is not installed.
    """
    from aiobotocore.session import AioSession
    from s3fs import S3FileSystem

    options = {**client_options, **given_credentials()}
    if "verify" not in options and not os.environ.get("AWS_CA_BUNDLE"):
        options |= {} if (bundle := ca_bundle()) is None else {"verify": bundle}
    remember_credentials(options)
    session = AioSession(profile=options.pop("profile_name", None))
    session.lazy_register_component(
        "data_loader", lambda: _loader(session.get_config_variable("data_path"))
    )
    config = options.pop("config", None)
    filesystem = S3FileSystem(
        client_kwargs=options,
        config_kwargs=dict(getattr(config, "_user_provided_options", None) or {}),
        s3_additional_kwargs=dict(always),
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    filesystem.session = session
    filesystem.retries = _ATTEMPTS
    filesystem._call_s3 = reporting(filesystem._call_s3, "Body")  # noqa: SLF001 - no hook of its own
    return filesystem


@lru_cache(maxsize=1)
def _loader(data_path: str | None) -> Any:
    """Return what reads the descriptions of services, once a process; to read them takes 80 ms."""
    from botocore.loaders import create_loader

    return create_loader(data_path)


_SECRET_NAMES = ("ACCESS_KEY", "SECRET_ACCESS_KEY", "SESSION_TOKEN")
_SECRET_OPTIONS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_PLAIN_OPTIONS = ("api_version", "endpoint_url", "profile_name", "region_name", "use_ssl", "verify")


def remember_credentials(client_options: Mapping[str, Any]) -> None:
    """Take note of the credentials among the arguments of a client, which nothing shall show."""
    secrets.remember([client_options.get(name) for name in _SECRET_OPTIONS])
    remember_url(str(client_options.get("endpoint_url", "")))


def without_credentials(client_options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that say where the service is, and none that could hold a credential."""
    shown = {name: client_options[name] for name in _PLAIN_OPTIONS if name in client_options}
    if "@" in str(shown.get("endpoint_url")):
        del shown["endpoint_url"]
    return shown


def given_credentials() -> dict[str, str]:
    """Return the options that the `AWS_CREDENTIALS` secret stands for.

    Raises:
        ConfigError: It is there, and is not what it must be.
    """
    given = secrets.decoded(secrets.find("AWS_CREDENTIALS"))
    if given is None:
        return {}
    names = dict(zip(_SECRET_OPTIONS, _SECRET_NAMES, strict=True))
    found = {} if not isinstance(given, dict) else {key: given.get(names[key]) for key in names}
    if not (isinstance(given, dict) and set(given) <= set(_SECRET_NAMES) and _are_keys(found)):
        hint = 'write it as JSON: {"ACCESS_KEY": "...", "SECRET_ACCESS_KEY": "..."}'
        raise ConfigError("not the keys of an account", where="AWS_CREDENTIALS", hint=hint)
    return {option: value for option, value in found.items() if value is not None}


def _are_keys(found: Mapping[str, Any]) -> bool:
    *needed, token = found.values()
    return all(isinstance(each, str) and each for each in needed) and isinstance(token, str | None)
