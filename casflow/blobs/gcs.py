"""The blob store over Google Cloud Storage.

Owns how the client is opened (Application Default Credentials, the `GCP_CREDENTIALS` secret, the
emulator) and the requests that gcsfs makes two of where one will do. Invariant: a creation asks
for generation 0 (`ifGenerationMatch=0`), which no existing object has.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from functools import partial
from io import BytesIO, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from casflow import secrets
from casflow.blobs.base import ObjectInfo
from casflow.blobs.fsspec import MARK, FsspecBlobStore, seconds, size_of
from casflow.blobs.progress import BIG, reporting
from casflow.certificates import context_of
from casflow.config import ca_bundle, load
from casflow.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PART = 64 * 2**20  # bytes of one request of an upload, whose requests wait for one another
_READ_TIMEOUT = 60.0  # seconds after which an answer that says nothing more is given up


class GCSBlobStore(FsspecBlobStore):
    """Bytes by key in a bucket.

    Args:
        bucket: Name of the bucket.
        project: Project that is billed; that of the settings or the credential when left out.
        requester_pays: Whether the project pays for the requests, not the bucket's owner.
    """

    creates_once = True  # the service's contract

    def __init__(
        self, bucket: str, project: str | None = None, *, requester_pays: bool = False
    ) -> None:
        url = f"gs://{bucket}"
        own = load().options_of(url)
        pays = requester_pays or own.get("requester_pays", False)
        opening = partial(open_filesystem, project or own.get("project"), requester_pays=pays)
        super().__init__(opening, bucket, url)

    def _read(self, path: str) -> bytes:
        try:
            return super()._read(path)
        except FileNotFoundError as absent:
            self._require_bucket(absent)
            raise

    def _require_bucket(self, absent: FileNotFoundError) -> None:
        """Tell an absent bucket from an absent object: gcsfs drops the service's words."""
        try:
            self._page("", maxResults=1)
        except FileNotFoundError:
            raise self._rootless() from absent

    def _head(self, path: str) -> dict[str, Any]:
        bucket, key, _ = self.fs.split_path(path)
        answer: dict[str, Any] = self.fs.call("GET", "b/{}/o/{}", bucket, key, json_out=True)
        return answer

    def _object_info(self, key: str, path: str) -> ObjectInfo | None:
        head = self._head(path)
        return ObjectInfo(key, int(head["size"]), seconds(head["updated"]))

    def _pieces(self, path: str, start: int, end: int) -> Iterator[bytes]:
        from fsspec.asyn import sync

        body = sync(self.fs.loop, self._range, path, f"bytes={start}-{end - 1}")
        return self._streamed(body.content.read, body.close)

    async def _range(self, path: str, span: str) -> Any:
        """Return the answer to a request for a range; gcsfs has none whose body can be awaited."""
        from aiohttp import ClientTimeout
        from gcsfs.retry import validate_response

        headers = self.fs._get_headers({"Range": span})  # noqa: SLF001 - with its credential
        timeout = ClientTimeout(sock_connect=_READ_TIMEOUT, sock_read=_READ_TIMEOUT)
        given = {"headers": headers, "params": self.fs._get_params({}), "timeout": timeout}  # noqa: SLF001
        answer = await self.fs.session.get(self.fs.url(path), **given)
        if not answer.ok:
            validate_response(answer.status, await answer.read(), path)
        return answer

    def _mark_of(self, path: str) -> tuple[str | None, int]:
        head = self._head(path)
        return head.get("metadata", {}).get(MARK), int(head["size"])

    def _write_new(self, path: str, data: bytes | Path, mark: str) -> None:
        self._send(path, data, mode="create", metadata={MARK: mark})

    def _send(self, path: str, data: bytes | Path, **options: Any) -> None:
        if size_of(data) < BIG:
            super()._send(path, data, **options)
            return
        from fsspec.asyn import sync

        with data.open("rb") if isinstance(data, Path) else BytesIO(data) as source:
            sync(self.fs.loop, self._upload, path, source, size_of(data), options)

    async def _upload(self, path: str, source: BinaryIO, size: int, options: Any) -> None:
        """Send a big blob in parts that are read on their way; gcsfs has each in memory at once."""
        from gcsfs.core import initiate_upload

        bucket, key, _ = self.fs.split_path(path)
        session = await initiate_upload(self.fs, bucket, key, **options)
        sent, answer = 0, ""
        try:
            while sent < size:
                part = _Part(source, sent, min(sent + _PART, size))
                sent, answer = await self._send_part(session, part, size)
        except BaseException:
            with suppress(Exception):  # what went wrong first is what the user must know
                await self.fs._call("DELETE", session.replace("&ifGenerationMatch=0", ""))  # noqa: SLF001
            raise
        there = _size_in(answer, size)
        if there != size:
            raise UnavailableError(f"{there} bytes of {size} arrived", where=self.url)

    async def _send_part(self, session: str, part: _Part, size: int) -> tuple[int, str]:
        """Send a part; return how many bytes of the blob are there now, and the answer."""
        span = f"bytes {part.start}-{part.end - 1}/{size}"
        headers = {"Content-Range": span, "Content-Length": str(len(part))}
        told, answer = await self.fs._call("POST", session, headers=headers, data=part)  # noqa: SLF001
        taken = told.get("Range")
        return int(taken.rpartition("-")[2]) + 1 if taken else part.end, answer

    def _page(self, prefix: str, **request: Any) -> dict[str, Any]:
        bucket, root, _ = self.fs.split_path(f"{self._root}/")
        answer: dict[str, Any] = self.fs.call(
            "GET", "b/{}/o", bucket, prefix=root + prefix, json_out=True, **request
        )
        return answer

    def _entries(self, prefix: str) -> Iterator[ObjectInfo]:
        _, root, _ = self.fs.split_path(f"{self._root}/")
        token = None
        while True:
            page = self._page(prefix, pageToken=token)
            for each in page.get("items", ()):
                key, moment = each["name"][len(root) :], seconds(each["updated"])
                yield ObjectInfo(key, int(each["size"]), moment, each.get("generation", ""))
            if (token := page.get("nextPageToken")) is None:
                return


class _Part(RawIOBase):
    """A part of a blob as the body of a request, which may have to be sent again."""

    def __init__(self, source: BinaryIO, start: int, end: int) -> None:
        self._source, self._at = source, start
        self.start, self.end = start, end

    def __len__(self) -> int:
        return self.end - self.start

    def tell(self) -> int:
        """Return how many of its bytes were read."""
        return self._at - self.start

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go back to where a reader once was."""
        del whence
        self._at = self.start + offset
        return offset

    def read(self, size: int = -1) -> bytes:
        """Return its next bytes."""
        most = self.end - self._at
        self._source.seek(self._at)
        data = self._source.read(min(size, most) if size >= 0 else most)
        self._at += len(data)
        return data

    def close(self) -> None:
        """Leave it open: who sends it closes it each time."""


def open_filesystem(project: str | None, *, requester_pays: bool = False) -> Any:
    """Return a gcsfs filesystem that caches nothing and asks through the environment's proxy.

    Raises:
        ImportError: The extra is not installed.
    """
    # The package's own name is a subclass that asks each bucket's layout over another protocol.
    from gcsfs.core import GCSFileSystem

    # gcsfs logs each failure with its traceback, and without a handler that goes to stderr.
    logging.getLogger("gcsfs").addHandler(logging.NullHandler())
    filesystem = GCSFileSystem(
        project=project or "",
        token=_credential(),
        consistency="size",  # a piece whose answer was lost is sent again, and must count once
        requester_pays=requester_pays,
        session_kwargs={"trust_env": True},
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    _trust(filesystem, ca_bundle())
    filesystem._call = reporting(filesystem._call, "data")  # noqa: SLF001 - no hook of its own
    return filesystem


def _trust(filesystem: Any, bundle: str | None) -> None:
    """Let a filesystem trust a file of authorities; a connector is made where its loop runs."""
    if bundle is None:
        return
    open_session = filesystem._set_session  # noqa: SLF001 - no hook of its own

    async def set_session() -> Any:
        from aiohttp import TCPConnector

        options = filesystem.session_kwargs
        if "connector" not in options:
            options["connector"] = TCPConnector(ssl=context_of(bundle))
        return await open_session()

    filesystem._set_session = set_session  # noqa: SLF001


def _credential() -> Any:
    given = secrets.decoded(secrets.find("GCP_CREDENTIALS"))
    if given is not None:
        if not isinstance(given, dict) or not isinstance(given.get("type"), str):
            hint = "write the key of a service account as JSON"
            raise ConfigError("not a credential", where="GCP_CREDENTIALS", hint=hint)
        return given
    return "anon" if secrets.variable("STORAGE_EMULATOR_HOST") else "google_default"


def _size_in(answer: str, size: int) -> int | str:
    """Return the size that the service says an object has; the one that was sent if it says none.

    What is no number is returned as it is, and is not the size that was sent.
    """
    try:
        said = json.loads(answer or "{}").get("size", size)
        return int(said)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return answer[:40]
