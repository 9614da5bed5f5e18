"""Authentication at a registry: basic, and tokens.

Owns the response to a `WWW-Authenticate` challenge. Invariant: a password goes only to the host
that it is kept for and to the token service that this host names over a connection as safe; it is
read where the docker client keeps it (its settings, a credential helper) and written nowhere.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from requests.auth import AuthBase, HTTPBasicAuth

from casflow.errors import AccessError, UnavailableError
from casflow.storage.docker.names import scheme_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import PreparedRequest, Response, Session

TIMEOUT = (10, 120)  # seconds to connect, and between two pieces of an answer
_HUB_KEYS = ("registry-1.docker.io", "docker.io")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_REFUSED = 400


class RegistryAuth(AuthBase):
    """What a session adds to its requests to one registry.

    Args:
        host: The registry.
        credentials: User name and password, or an identity token, as the docker client keeps
            them; looked up there, when the registry asks for them, if left out.
    """

    def __init__(self, host: str, credentials: Mapping[str, Any] | None = None) -> None:
        self.host = host
        self._credentials = credentials
        self._headers: dict[str, str] = {}

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the header that the registry has asked for, on its own host only."""
        header = self._headers.get(_scope_of(request))
        if header is not None and urlsplit(request.url or "").netloc == self.host:
            request.headers["Authorization"] = header
        return request

    def respond(self, session: Session, refused: Response) -> bool:
        """Get what a refusal asks for; return whether the request is worth repeating.

        Raises:
            AccessError: There is no credential, or it is not taken.
        """
        kind, _, rest = refused.headers.get("WWW-Authenticate", "").partition(" ")
        sent = refused.request.headers.get("Authorization", "")
        wanted = dict(_CHALLENGE.findall(rest))
        if kind.lower() == "bearer" and "realm" in wanted:
            header = f"Bearer {self._token(session, wanted)}"
        elif kind.lower() == "basic" and not sent:
            header = self._basic()
        else:
            return False
        self._headers[_scope_of(refused.request)] = header
        return header != sent

    def _basic(self) -> str:
        found = self._find()
        if "username" not in found:
            raise AccessError("no credential", where=self.host, hint="run `docker login` for it")
        return _basic_header(found)

    def _token(self, session: Session, wanted: Mapping[str, str]) -> str:
        realm = wanted["realm"]
        found = self._find()
        if found and not self._is_safe(realm):
            raise AccessError(
                "the registry wants its password sent over plain HTTP", where=self.host
            )
        answer = self._ask(session, realm, wanted, found)
        if answer.status_code >= _REFUSED:
            hint = "run `docker login` for it"
            raise AccessError(
                f"the token service answered {answer.status_code}", where=self.host, hint=hint
            )
        return _token_in(answer, self.host)

    def _ask(
        self, session: Session, realm: str, wanted: Mapping[str, str], found: Mapping[str, Any]
    ) -> Response:
        query = {key: wanted[key] for key in ("service", "scope") if key in wanted}
        if found.get("identitytoken"):
            form = {"grant_type": "refresh_token", "client_id": "casflow", **query}
            form["refresh_token"] = str(found["identitytoken"])
            return session.post(realm, data=form, auth=_NoAuth(), timeout=TIMEOUT)
        auth: AuthBase = _NoAuth()
        if "username" in found:
            auth = HTTPBasicAuth(str(found["username"]), str(found["password"]))
        return session.get(realm, params=query, auth=auth, timeout=TIMEOUT)

    def _is_safe(self, realm: str) -> bool:
        """Tell whether a token service may see the password: over TLS, or on this machine."""
        parts = urlsplit(realm)
        return parts.scheme == "https" or scheme_of(parts.netloc) == "http"

    def _find(self) -> Mapping[str, Any]:
        if self._credentials is None:
            self._credentials = find_credentials(self.host) or {}
        return self._credentials


class _NoAuth(AuthBase):
    """Sends no credential, not even one from a .netrc file."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add nothing."""
        return request


def find_credentials(host: str) -> Mapping[str, Any] | None:
    """Return what the docker client keeps for a registry, in its settings or by a helper.

    Raises:
        AccessError: A credential helper failed.
    """
    from docker import auth
    from docker.errors import DockerException

    key = None if host in _HUB_KEYS else host
    try:
        found = auth.load_config().resolve_authconfig(key)
    except DockerException as error:
        raise AccessError(f"cannot read the credential ({error})", where=host) from error
    if not found:
        return None
    return {key.lower(): value for key, value in found.items() if value}


def _basic_header(found: Mapping[str, Any]) -> str:
    from requests import Request

    auth = HTTPBasicAuth(str(found["username"]), str(found["password"]))
    return str(Request("GET", "https://none.invalid", auth=auth).prepare().headers["Authorization"])


def _token_in(answer: Response, host: str) -> str:
    try:
        form = answer.json()
        return str(form.get("token") or form["access_token"])
    except (ValueError, KeyError, AttributeError) as error:
        raise UnavailableError("the token service gave no token", where=host) from error


def _scope_of(request: PreparedRequest) -> str:
    """Return what a token is good for: reading or writing one repository."""
    path = urlsplit(request.url or "").path
    repository = re.split(r"/(?:manifests|blobs|tags)/", path)[0]
    return f"{'read' if request.method in ('GET', 'HEAD') else 'write'} {repository}"
