"""Where a redirect may lead, and what may go with the request.

Invariant: to another scheme, host or port goes neither a credential, nor a header that the caller
did not get from this module's list, nor a body, nor the trust in an authority of the host alone;
and nothing goes from TLS to plain HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from casflow.errors import AccessError, IntegrityError
from casflow.http.auth import Credential

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST = 10  # redirects of one request
_STATUSES = frozenset({301, 302, 303, 307, 308})
_FOUND = frozenset({301, 302})
_SEE_OTHER = 303
_PORTS = {"http": 80, "https": 443}
_SAFE_HEADERS = frozenset({"accept", "accept-encoding", "range", "user-agent"})
_BODIES = ("data", "json", "files")


def is_redirect(status: int, headers: Mapping[str, str]) -> bool:
    """Tell whether an answer sends its reader elsewhere."""
    return status in _STATUSES and bool(headers.get("Location"))


def is_same_origin(one: str, other: str) -> bool:
    """Tell whether two addresses have the same scheme, host and port."""
    return _origin(one) == _origin(other)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    return parts.scheme, parts.hostname, port or _PORTS.get(parts.scheme)


def follow(
    method: str,
    url: str,
    status: int,
    headers: Mapping[str, str],
    options: Mapping[str, Any],
    where: str,
) -> tuple[str, str, dict[str, Any]]:
    """Return method, address and options of the request that a redirect asks for.

    Raises:
        AccessError: It leads from TLS to plain HTTP, or would send a body to another host.
        IntegrityError: It leads to no address of HTTP.
    """
    target = urljoin(url, headers["Location"])
    check_target(url, target, where)
    kept = {key: each for key, each in options.items() if key != "params"}  # the target has its own
    if (status == _SEE_OTHER and method != "HEAD") or (status in _FOUND and method == "POST"):
        method = "GET"
        kept = {key: each for key, each in kept.items() if key not in _BODIES}
    if is_same_origin(url, target):
        return method, target, kept
    if any(kept.get(each) is not None for each in _BODIES):
        raise AccessError("the host sends the request's content to another host", where=where)
    given = kept.get("headers") or {}
    kept["headers"] = {name: each for name, each in given.items() if name.lower() in _SAFE_HEADERS}
    for name in ("cookies", "cert", "verify"):
        kept.pop(name, None)
    return method, target, {**kept, "auth": Credential()}


def check_target(url: str, target: str, where: str) -> None:
    """Check where an answer from one address leads.

    Raises:
        AccessError: From TLS to plain HTTP.
        IntegrityError: To no address of HTTP.
    """
    scheme, host, port = _origin(target)
    if scheme not in _PORTS or host is None or port == -1:
        raise IntegrityError("the host redirects to no address of HTTP", where=where)
    if scheme == "http" and urlsplit(url).scheme == "https":
        hint = "a proxy in front of it may have to set X-Forwarded-Proto"
        raise AccessError("the host redirects from TLS to plain HTTP", where=where, hint=hint)
