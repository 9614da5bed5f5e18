"""The registry's HTTP API: manifests and blobs, without an engine.

Owns the requests of the distribution protocol that casflow needs. Invariant: bytes that were
asked for by digest are returned only when they have it; a manifest is put after everything that
it names, so nothing half-pushed resolves; errors are translated here.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urljoin

from casflow import http
from casflow.errors import ConfigError, IntegrityError, NotFoundError
from casflow.http.redirects import check_target, is_same_origin
from casflow.storage.docker.auth import RegistryAuth
from casflow.storage.docker.layer import sha256
from casflow.storage.docker.names import ImageName, scheme_of, split_url
from casflow.storage.docker.trust import authority, is_insecure, speaks_tls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from casflow.http import Answer

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_ACCEPT = f"{OCI_MANIFEST}, {DOCKER_MANIFEST}, {OCI_INDEX}, {DOCKER_INDEX}"
_IN_MEMORY = 8 << 20  # bytes of a blob that are kept in memory, not in a file
_LARGEST_MANIFEST = 4 << 20  # what the distribution specification wants of a registry
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_VERBS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})  # repeating any of them is harmless
_CREATED, _UNAUTHORIZED, _UNSUPPORTED = 201, 401, 405
_HINT = "check the name; run `docker login` for it if it is private"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as it was served: its bytes, media type and digest."""

    data: bytes
    media_type: str
    digest: str

    @property
    def form(self) -> dict[str, Any]:
        """The JSON object."""
        return cast("dict[str, Any]", json.loads(self.data))

    @property
    def is_index(self) -> bool:
        """Whether it lists manifests of several platforms."""
        return self.media_type in (OCI_INDEX, DOCKER_INDEX)

    @property
    def layers(self) -> list[dict[str, Any]]:
        """Descriptors of the layers, the lowest first."""
        return list(self.form.get("layers", ()))


class Registry:
    """One registry.

    Args:
        host: Host and port.
        scheme: `http` or `https`; when left out, plain HTTP is for this machine only, and for what
            this machine's engines speak to in that way.
        credentials: As the docker client keeps them; looked up there when left out.

    Attributes:
        server_time: `Date` of the last answer, in seconds since the epoch; None if it had none.
    """

    def __init__(
        self, host: str, *, scheme: str | None = None, credentials: Mapping[str, Any] | None = None
    ) -> None:
        self.host = host
        is_open = scheme is None and scheme_of(host) == "https" and is_insecure(host)
        if is_open:
            scheme = "https" if speaks_tls(host) else "http"
            warnings.filterwarnings("ignore", "Unverified HTTPS request")  # the settings ask for it
        self._root = f"{scheme or scheme_of(host)}://{host}/v2/"
        self._trusted: str | bool | None = False if is_open else authority(host)
        self._auth = RegistryAuth(host, credentials, trusted=self._trusted)
        self.server_time: float | None = None

    # ---- manifests -------------------------------------------------------------------------

    def get_manifest(self, name: ImageName) -> Manifest:
        """Return the manifest of an image, or the index of its platforms.

        Raises:
            NotFoundError: There is none of that name.
            IntegrityError: It is not what the name's digest says.
        """
        path = f"{name.api_repository}/manifests/{name.reference}"
        headers = {"Accept": _ACCEPT}
        answer = self._request("GET", path, headers=headers, limit=_LARGEST_MANIFEST)
        data = answer.body
        digest = sha256(data)
        if name.digest is not None and name.digest != digest:
            raise IntegrityError(
                "the registry served another manifest",
                where=name,
                expected=name.digest,
                actual=digest,
            )
        return Manifest(data, _media_type(answer, name), digest)

    def find_manifest(self, name: ImageName) -> Manifest | None:
        """Return the manifest of an image, or None when there is none."""
        try:
            return self.get_manifest(name)
        except NotFoundError:
            return None

    def put_manifest(self, name: ImageName, manifest: Manifest) -> None:
        """Let a tag name a manifest whose blobs are there."""
        path = f"{name.api_repository}/manifests/{name.tag}"
        headers = {"Content-Type": manifest.media_type}
        self._request("PUT", path, headers=headers, data=manifest.data)

    def delete_manifest(self, name: ImageName) -> None:
        """Remove a manifest and all its tags; nothing happens when there is none."""
        try:
            self._request("DELETE", f"{name.api_repository}/manifests/{name.digest}")
        except NotFoundError:
            return

    def tags(self, name: ImageName) -> list[str]:
        """Return the tags of a repository, also of one that is not there."""
        first = urljoin(self._root, f"{name.api_repository}/tags/list?n=1000")
        pages = http.read_pages(
            first, lambda url: self._request("GET", url), _next_page, where=str(name)
        )
        try:
            return [tag for page in pages for tag in _tags_of(page, name)]
        except NotFoundError:
            return []

    # ---- blobs -----------------------------------------------------------------------------

    def has_blob(self, name: ImageName, digest: str) -> bool:
        """Tell whether a repository has a blob."""
        try:
            self._request("HEAD", f"{name.api_repository}/blobs/{digest}")
        except NotFoundError:
            return False
        return True

    @contextmanager
    def open_blob(self, name: ImageName, descriptor: Mapping[str, Any]) -> Iterator[BinaryIO]:
        """Download a blob, verify it, and open it for reading from its first byte.

        Raises:
            IntegrityError: It is not what its digest says.
            UnavailableError: The connection broke off.
        """
        digest, size = _described(descriptor, name)
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
            path = f"{name.api_repository}/blobs/{digest}"
            self._request("GET", path, limit=size, target=file)
            file.seek(0)
            actual = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            if actual != digest:
                raise IntegrityError(
                    "the registry served another blob", where=name, expected=digest, actual=actual
                )
            file.seek(0)
            yield cast("BinaryIO", file)

    def get_blob(self, name: ImageName, descriptor: Mapping[str, Any]) -> bytes:
        """Return a small blob, verified."""
        with self.open_blob(name, descriptor) as file:
            return file.read()

    def put_blob(self, name: ImageName, data: bytes | BinaryIO, digest: str) -> bool:
        """Upload a blob unless it is there; return whether it had to be sent."""
        if self.has_blob(name, digest):
            return False
        self.upload_blob(name, data, digest)
        return True

    def upload_blob(self, name: ImageName, data: bytes | BinaryIO, digest: str) -> None:
        """Upload a blob, also one that is there."""
        started = self._request("POST", f"{name.api_repository}/blobs/uploads/")
        place = urljoin(started.url, started.headers.get("Location", ""))
        check_target(self._root, place, str(name))
        headers = {"Content-Type": "application/octet-stream"}
        seconds = http.seconds_for(_length_of(data))
        query = {"digest": digest}
        self._request("PUT", place, params=query, headers=headers, data=data, seconds=seconds)

    def mount_blob(self, name: ImageName, digest: str, source: ImageName) -> bool:
        """Take a blob over from another repository here; return False if that is refused."""
        query = {"mount": digest, "from": source.api_repository}
        done = self._request("POST", f"{name.api_repository}/blobs/uploads/", params=query)
        return done.status == _CREATED

    # ---- requests --------------------------------------------------------------------------

    def _request(self, method: str, path: str, **options: Any) -> Answer:
        """Make a request, once more after the registry asked who we are."""
        url = urljoin(self._root, path)
        answer = self._send(method, url, options)
        challenged = answer.status == _UNAUTHORIZED and is_same_origin(self._root, answer.url)
        if challenged and self._auth.respond(method, answer):
            if hasattr(options.get("data"), "seek"):
                options["data"].seek(0)
            answer = self._send(method, url, options)
        where = answer.url.partition("?")[0]  # the query may hold a token
        if answer.status == _UNSUPPORTED:
            hint = "it may have to be told that manifests can be deleted"
            raise ConfigError("the registry does not offer this", where=where, hint=hint)
        return http.check(answer, where=where, hint=_HINT)

    def _send(self, method: str, url: str, options: dict[str, Any]) -> Answer:
        is_own = is_same_origin(self._root, url)
        auth = self._auth.credential(method, url) if is_own else http.Credential()
        if is_own and self._trusted is not None:
            options = {**options, "verify": self._trusted}
        answer = http.send(method, url, where=self.host, retried=_VERBS, auth=auth, **options)
        self.server_time = answer.date
        return answer


def open_registry(image: ImageName, registry_url: str | None) -> Registry:
    """Return the registry of an image; the scheme of `registry_url` is that of its host."""
    scheme, rest = split_url(registry_url)
    return Registry(image.api_host, scheme=scheme if rest.partition("/")[0] == image.host else None)


def _media_type(answer: Answer, name: ImageName) -> str:
    form = http.read_object(answer, where=str(name))
    for part in ("layers", "manifests"):
        http.items(form, part, where=str(name))
    stated = answer.headers.get("Content-Type", "").partition(";")[0]
    return str(form.get("mediaType") or stated)


def _tags_of(page: Answer, name: ImageName) -> list[str]:
    found = http.read_object(page, where=str(name)).get("tags") or []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise IntegrityError("not a list of tags", where=name)
    return found


def _next_page(page: Answer) -> str | None:
    from requests.utils import parse_header_links

    links = parse_header_links(page.headers.get("Link", ""))
    return next((each["url"] for each in links if each.get("rel") == "next"), None)


def _described(descriptor: Mapping[str, Any], name: ImageName) -> tuple[str, int]:
    """Return digest and size of a blob.

    Raises:
        IntegrityError: The manifest does not state both.
    """
    digest, size = descriptor.get("digest"), descriptor.get("size")
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        raise IntegrityError("the manifest names a blob by no digest", where=name)
    if not isinstance(size, int) or size < 0:
        raise IntegrityError("the manifest states no size of a blob", where=name)
    return digest, size


def _length_of(data: bytes | BinaryIO) -> int:
    if isinstance(data, bytes):
        return len(data)
    length = data.seek(0, 2)
    data.seek(0)
    return length
