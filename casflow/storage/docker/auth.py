"""Authentication at a registry: basic, and tokens.

Owns the response to a `WWW-Authenticate` challenge. Invariant: a password goes only to the host
that it is kept for and to the token service that this host names over a connection as safe; it is
read where the docker client keeps it (its settings, a credential helper) and written nowhere.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from casflow import http
from casflow.errors import AccessError, MissingExtraError, UnavailableError
from casflow.secrets import remember
from casflow.storage.docker.names import scheme_of
from casflow.storage.docker.trust import authority, is_insecure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casflow.http import Answer

_HUB_KEYS = ("registry-1.docker.io", "docker.io")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_SMALL = 1 << 20  # bytes that the answer of a token service may have


class RegistryAuth:
    """The credentials of requests to one registry.

    Args:
        host: The registry.
        credentials: User name and password, or an identity token, as the docker client keeps
            them; looked up there, when the registry asks for them, if left out.
        trusted: What the registry is verified by, if not as usual; its token service is, too.
    """

    def __init__(
        self,
        host: str,
        credentials: Mapping[str, Any] | None = None,
        *,
        trusted: str | bool | None = None,
    ) -> None:
        self.host = host
        self._credentials = credentials
        self._trusted = trusted
        self._given: dict[str, tuple[str, http.Credential]] = {}

    def credential(self, method: str, url: str) -> http.Credential:
        """Return what the registry has asked for of requests like this one."""
        given = self._given.get(_scope_of(method, url))
        return http.Credential() if given is None else given[1]

    def respond(self, method: str, refused: Answer) -> bool:
        """Get what a refusal asks for; return whether the request is worth repeating.

        Raises:
            AccessError: There is no credential, or it is not taken.
        """
        kind, _, rest = refused.headers.get("WWW-Authenticate", "").partition(" ")
        scope = _scope_of(method, refused.url)
        before = self._given.get(scope)
        wanted = dict(_CHALLENGE.findall(rest))
        if kind.lower() == "bearer" and "realm" in wanted:
            token = self._token(wanted)
            self._given[scope] = token, http.bearer(token)
            return before is None or before[0] != token
        if kind.lower() == "basic" and before is None:
            self._given[scope] = "", self._basic()
            return True
        return False

    def _basic(self) -> http.Credential:
        found = self._find()
        if "username" not in found:
            raise AccessError("no credential", where=self.host, hint="run `docker login` for it")
        return http.basic(str(found["username"]), str(found.get("password", "")))

    def _token(self, wanted: Mapping[str, str]) -> str:
        realm = wanted["realm"]
        found = self._find()
        if found and not self._is_safe(realm):
            raise AccessError(
                "the registry wants its password sent over plain HTTP", where=self.host
            )
        answer = self._ask(realm, wanted, found)
        if answer.status in (401, 403):
            hint = "run `docker login` for it"
            raise AccessError(
                f"the token service answered {answer.status}", where=self.host, hint=hint
            )
        http.check(answer, where=f"the token service of {self.host}")
        return _token_in(answer, self.host)

    def _ask(self, realm: str, wanted: Mapping[str, str], found: Mapping[str, Any]) -> Answer:
        query = {key: wanted[key] for key in ("service", "scope") if key in wanted}
        where = f"the token service of {self.host}"
        trusted = authority(urlsplit(realm).netloc) or self._trusted
        verified: dict[str, Any] = {} if trusted is None else {"verify": trusted}
        if found.get("identitytoken"):
            form = {"grant_type": "refresh_token", "client_id": "casflow", **query}
            form["refresh_token"] = str(found["identitytoken"])
            post = frozenset({"POST"})
            options = {"where": where, "retried": post, "limit": _SMALL, **verified}
            return http.send("POST", realm, data=form, **options)
        auth = self._basic() if "username" in found else http.Credential()
        scopes = query.pop("scope", "").split()  # two when a blob is taken from elsewhere
        given = {**query, "scope": scopes}
        options = {"where": where, "limit": _SMALL, **verified}
        return http.send("GET", realm, params=given, auth=auth, **options)

    def _is_safe(self, realm: str) -> bool:
        """Tell whether a token service may see the password: over TLS, or as engines show it."""
        parts = urlsplit(realm)
        is_open = scheme_of(parts.netloc) == "http" or is_insecure(parts.netloc)
        return parts.scheme == "https" or is_open

    def _find(self) -> Mapping[str, Any]:
        if self._credentials is None:
            self._credentials = find_credentials(self.host) or {}
        return self._credentials


def find_credentials(host: str) -> Mapping[str, Any] | None:
    """Return what the docker client keeps for a registry, in its settings or by a helper.

    Raises:
        AccessError: A credential helper failed, is not there, or what was read is not understood.
    """
    try:
        from docker import auth
        from docker.errors import DockerException
    except ImportError as error:
        raise MissingExtraError("docker", "docker") from error

    key = None if host in _HUB_KEYS else host
    try:
        with warnings.catch_warnings(action="ignore"):  # of a helper that is not there: an error
            found = _texts_of(auth.load_config().resolve_authconfig(key) or {})
    except DockerException as error:
        raise AccessError(f"cannot read the credential ({error})", where=host) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        hint = "look at the docker client's config.json and its credential helpers"
        what = "cannot understand the credential that the docker client keeps"
        raise AccessError(what, where=host, hint=hint) from error
    if not found:
        return None
    remember(
        [found.get(key) or "" for key in ("Password", "password", "IdentityToken", "identitytoken")]
    )
    return {key.lower(): value for key, value in found.items() if value}


def _texts_of(found: Mapping[str, Any]) -> dict[str, str]:
    """Return what is kept; TypeError when a value of it is not text."""
    kept = {key: value for key, value in found.items() if value}
    if not all(isinstance(each, str) for each in kept.values()):
        raise TypeError
    return kept


def _token_in(answer: Answer, host: str) -> str:
    form = http.read_object(answer, where=f"the token service of {host}")
    token = form.get("token") or form.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise UnavailableError("the token service gave no token", where=host)
    remember(token)
    return token


def _scope_of(method: str, url: str) -> str:
    """Return what a token is good for: reading or writing one repository."""
    repository = re.split(r"/(?:manifests|blobs|tags)/", urlsplit(url).path)[0]
    return f"{'read' if method in ('GET', 'HEAD') else 'write'} {repository}"
