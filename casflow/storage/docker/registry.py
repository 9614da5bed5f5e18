"""The registry's HTTP API: manifests and blobs, without an engine.

Owns the requests of the distribution protocol that casflow needs. Invariant: bytes that were
asked for by digest are returned only when they have it; a manifest is put after everything that
it names, so nothing half-pushed resolves; errors are translated here.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import weakref
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urljoin

from casflow.errors import (
    AccessError,
    CasflowError,
    ConfigError,
    IntegrityError,
    MissingExtraError,
    NotFoundError,
    UnavailableError,
)
from casflow.storage.docker.layer import sha256
from casflow.storage.docker.names import ImageName, scheme_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from requests import Response

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_ACCEPT = f"{OCI_MANIFEST}, {DOCKER_MANIFEST}, {OCI_INDEX}, {DOCKER_INDEX}"
_IN_MEMORY = 8 << 20  # bytes of a blob that are kept in memory, not in a file
_LARGEST_MANIFEST = 16 << 20
_OK, _CREATED, _UNAUTHORIZED, _MISSING, _UNSUPPORTED = 200, 201, 401, 404, 405


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
        scheme: `http` or `https`; plain HTTP for this machine only when left out.
        credentials: As the docker client keeps them; looked up there when left out.

    Attributes:
        server_time: `Date` of the last answer, in seconds since the epoch; None if it had none.
    """

    def __init__(
        self, host: str, *, scheme: str | None = None, credentials: Mapping[str, Any] | None = None
    ) -> None:
        try:
            import requests
        except ImportError as error:
            raise MissingExtraError("requests", "docker") from error
        from casflow.storage.docker.auth import RegistryAuth

        self.host = host
        self._root = f"{scheme or scheme_of(host)}://{host}/v2/"
        self._session = requests.Session()
        self._auth = RegistryAuth(host, credentials)
        self._session.auth = self._auth
        self.server_time: float | None = None
        weakref.finalize(self, self._session.close)

    # ---- manifests -------------------------------------------------------------------------

    def get_manifest(self, name: ImageName) -> Manifest:
        """Return the manifest of an image, or the index of its platforms.

        Raises:
            NotFoundError: There is none of that name.
            IntegrityError: It is not what the name's digest says.
        """
        path = f"{name.api_repository}/manifests/{name.reference}"
        with self._request("GET", path, headers={"Accept": _ACCEPT}) as response:
            data = response.content
        digest = sha256(data)
        if name.digest is not None and name.digest != digest:
            raise IntegrityError(
                "the registry served another manifest",
                where=name,
                expected=name.digest,
                actual=digest,
            )
        return Manifest(data, _media_type(response, data, name), digest)

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
        self._request("PUT", path, headers=headers, data=manifest.data).close()

    def delete_manifest(self, name: ImageName) -> None:
        """Remove a manifest and all its tags; nothing happens when there is none."""
        try:
            self._request("DELETE", f"{name.api_repository}/manifests/{name.digest}").close()
        except NotFoundError:
            return

    def tags(self, name: ImageName) -> list[str]:
        """Return the tags of a repository, also of one that is not there."""
        found: list[str] = []
        path = f"{name.api_repository}/tags/list?n=1000"
        while path:
            try:
                with self._request("GET", path) as response:
                    found += response.json().get("tags") or ()
                    path = response.links.get("next", {}).get("url", "")
            except NotFoundError:
                break
            except ValueError as error:
                raise IntegrityError("not a list of tags", where=name) from error
        return found

    # ---- blobs -----------------------------------------------------------------------------

    def has_blob(self, name: ImageName, digest: str) -> bool:
        """Tell whether a repository has a blob."""
        try:
            self._request("HEAD", f"{name.api_repository}/blobs/{digest}").close()
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
        digest = str(descriptor["digest"])
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
            path = f"{name.api_repository}/blobs/{digest}"
            with self._request("GET", path, stream=True) as response:
                actual = self._copy(response, cast("BinaryIO", file), name)
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
        with self._request("POST", f"{name.api_repository}/blobs/uploads/") as started:
            place = urljoin(started.url, started.headers["Location"])
        headers = {"Content-Type": "application/octet-stream"}
        query = {"digest": digest}
        self._request("PUT", place, params=query, headers=headers, data=data).close()

    def mount_blob(self, name: ImageName, digest: str, source: ImageName) -> bool:
        """Take a blob over from another repository here; return False if that is refused."""
        query = {"mount": digest, "from": source.api_repository}
        with self._request("POST", f"{name.api_repository}/blobs/uploads/", params=query) as done:
            return done.status_code == _CREATED

    # ---- requests --------------------------------------------------------------------------

    def _request(self, method: str, path: str, **options: Any) -> Response:
        """Make a request, once more after the registry asked who we are."""
        url = urljoin(self._root, path)
        response = self._send(method, url, options)
        if response.status_code == _UNAUTHORIZED and self._authenticate(response):
            if hasattr(options.get("data"), "seek"):
                options["data"].seek(0)
            response.close()
            response = self._send(method, url, options)
        if response.ok:
            return response
        with response:
            raise _error(response)

    def _authenticate(self, response: Response) -> bool:
        import requests

        try:
            return self._auth.respond(self._session, response)
        except requests.RequestException as error:
            raise _unreachable(error, self.host) from error

    def _send(self, method: str, url: str, options: dict[str, Any]) -> Response:
        import requests

        from casflow.storage.docker.auth import TIMEOUT

        try:
            answer = self._session.request(method, url, timeout=TIMEOUT, **options)
        except requests.exceptions.InvalidURL as error:
            raise ConfigError("not a registry", where=self.host) from error
        except requests.RequestException as error:
            raise _unreachable(error, self.host) from error
        self.server_time = _server_time(answer)
        return answer

    def _copy(self, response: Response, target: BinaryIO, name: ImageName) -> str:
        import requests

        state = hashlib.sha256()
        try:
            for piece in response.iter_content(1 << 16):
                state.update(piece)
                target.write(piece)
        except requests.RequestException as error:
            raise UnavailableError("the download broke off", where=name) from error
        return f"sha256:{state.hexdigest()}"


def _media_type(response: Response, data: bytes, name: ImageName) -> str:
    if len(data) > _LARGEST_MANIFEST:
        raise IntegrityError("the manifest is too large", where=name)
    try:
        form = json.loads(data)
        stated = response.headers.get("Content-Type", "").partition(";")[0]
        return str(form.get("mediaType") or stated)
    except (ValueError, AttributeError) as error:
        raise IntegrityError(f"not a manifest ({error})", where=name) from error


def _server_time(response: Response) -> float | None:
    try:
        return parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return None


def _unreachable(error: Exception, host: str) -> UnavailableError:
    reason = type(error).__name__
    return UnavailableError(
        f"cannot reach the registry ({reason})", where=host, hint="is it running?"
    )


def _error(response: Response) -> CasflowError:
    """Return the error for a refusal; an address loses its query, which may hold a token."""
    status = response.status_code
    where = str(response.url).partition("?")[0]
    if status in (_UNAUTHORIZED, 403):
        hint = "run `docker login` for it, or ask for the right to this repository"
        return AccessError(f"the registry answered {status}", where=where, hint=hint)
    if status == _MISSING:
        return NotFoundError("the registry does not have it", where=where)
    if status == 429 or status >= 500:  # noqa: PLR2004 - too many requests, and its own failures
        return UnavailableError(f"the registry answered {status}", where=where, hint="try again")
    if status == _UNSUPPORTED:
        hint = "it may have to be result that manifests can be deleted"
        return ConfigError("the registry does not offer this", where=where, hint=hint)
    return ConfigError(f"the registry refused the request ({status})", where=where)
