"""HTTP for the storages that speak it: one session, bounded waits, errors of casflow.

Owns the session, its timeouts and retries, and the translation of answers. Invariant: a credential
travels in a header that `requests` drops when another host is redirected to, and stands in no
message, log line or chained error; a wait that a host asks for is honoured up to `PATIENCE`, and
beyond it the error says when to come back.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from casflow.errors import (
    AccessError,
    CasflowError,
    ConfigError,
    IntegrityError,
    MissingExtraError,
    NotFoundError,
    UnavailableError,
)
from casflow.secrets import redact, remember

try:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.exceptions import MaxRetryError, ResponseError
    from urllib3.util import Retry
except ImportError as missing:
    raise MissingExtraError("requests", "git") from missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import PreparedRequest, Response
    from urllib3 import BaseHTTPResponse

PATIENCE = 30.0  # seconds that a host may ask to wait before a request is tried again
TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two bytes
_AGAIN = frozenset({403, 429, 500, 502, 503, 504})
_SAFE = frozenset({"GET", "HEAD"})
_LONGEST = 200  # characters of a host's own message that are passed on


class Patient(Retry):
    """Tries again what may pass, after the wait that the host asked for, if that is bearable."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Return the seconds to wait that the answer states, or None."""
        return _wait(response.headers)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        *rest: Any,
        **named: Any,
    ) -> Patient:
        """Count one attempt; give up at once where waiting is of no use."""
        if response is not None and not _bearable(response.status, response.headers):
            raise MaxRetryError(named.get("_pool"), url or "", ResponseError("not worth the wait"))  # type: ignore[arg-type]
        return super().increment(method, url, response, *rest, **named)


def _wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds after which a host that limits its callers answers again."""
    if (after := headers.get("Retry-After", "")).isdigit():
        return float(after)
    if after:
        return max(0.0, _moment(after) - _now(headers))
    if headers.get("X-RateLimit-Remaining") == "0" and headers.get("X-RateLimit-Reset"):
        return max(0.0, float(headers["X-RateLimit-Reset"]) - _now(headers))
    return None


def _now(headers: Mapping[str, str]) -> float:
    return _moment(headers.get("Date", "")) or time.time()  # its clock rather than ours


def _moment(text: str) -> float:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return 0.0


def _bearable(status: int, headers: Mapping[str, str]) -> bool:
    wait = _wait(headers)
    if wait is None:
        return status not in (403, 429)
    return wait <= PATIENCE


class Credential(requests.auth.AuthBase):
    """Puts a credential on a request; without one it keeps `.netrc` from adding its own."""

    def __init__(self, header: str | None = None) -> None:
        self._header = header

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the header."""
        if self._header is not None:
            request.headers["Authorization"] = self._header
        return request


def bearer(token: str | None) -> Credential:
    """Return the credential of a token, or of nobody."""
    return Credential(None if token is None else f"Bearer {token}")


def basic(user: str, password: str) -> Credential:
    """Return the credential of a user and a password."""
    header = requests.auth._basic_auth_str(user, password)  # noqa: SLF001
    remember(header.removeprefix("Basic "))
    return Credential(header)


@functools.lru_cache(maxsize=4)
def _session(process: int, retried: frozenset[str]) -> requests.Session:  # noqa: ARG001
    """Return the session of a process; a forked child must not share its parent's sockets."""
    for name in ("urllib3.connectionpool", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(_hide)
    patient = Patient(
        total=3,
        connect=2,
        backoff_factor=0.2,
        status_forcelist=_AGAIN,
        allowed_methods=retried,
        raise_on_status=False,
    )
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=patient))
    return session


def _hide(record: logging.LogRecord) -> bool:
    record.msg, record.args = redact(record.getMessage()), ()
    return True


def send(
    method: str, url: str, *, where: str, retried: frozenset[str] = _SAFE, **options: Any
) -> Response:
    """Send a request and return the answer, whatever its status.

    Args:
        method: The verb.
        url: The address.
        where: What messages name instead of the address.
        retried: Verbs that are tried again when the host fails.
        options: What `requests` takes.

    Raises:
        UnavailableError: No answer came.
        ConfigError: No request can be made of this.
    """
    options = {"timeout": TIMEOUT, "auth": Credential(), **options}
    try:
        return _session(os.getpid(), retried).request(method, url, **options)
    except requests.RequestException as error:
        failed = _failure(error, where)
        cause = type(error)(redact(str(error)))
    # Raised out here and with a cleaned cause: the original names the address and the request.
    raise failed from cause


def _failure(error: requests.RequestException, where: str) -> CasflowError:
    if isinstance(error, ValueError):  # the address or a header is malformed
        return ConfigError(f"no request can be made ({type(error).__name__})", where=where)
    hint = "check the network and try again"
    return UnavailableError(f"no answer ({_kind(error)})", where=where, hint=hint)


def _kind(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "the host's certificate is not trusted"
    if isinstance(error, requests.Timeout):
        return "timed out"
    refused = isinstance(error, requests.ConnectionError)
    return "cannot be reached" if refused else type(error).__name__


def check(response: Response, *, where: str, hint: str | None = None) -> Response:
    """Return an answer that is a success or a 304.

    Args:
        response: The answer.
        where: What the request was about.
        hint: What helps where the answer is a refusal, or that there is nothing.

    Raises:
        NotFoundError: There is no such thing, or the caller may not know of it.
        AccessError: The credential was refused, or is missing.
        UnavailableError: The host fails, or limits its callers; the message says until when.
    """
    if response.status_code < 400 or response.status_code == 304:  # noqa: PLR2004
        return response
    raise _error(response, where, hint)


def _error(response: Response, where: str, hint: str | None) -> CasflowError:
    status, said = response.status_code, _said(response)
    wait = _wait(response.headers)
    if status == 429 or (status == 403 and wait is not None):  # noqa: PLR2004
        until = "later" if wait is None else f"after {_at(_now(response.headers) + wait)}"
        return UnavailableError("the host limits requests", where=where, hint=f"try again {until}")
    if status in (401, 403):
        what = "the host refused the request" if status == 403 else "the credential was refused"  # noqa: PLR2004
        return AccessError(f"{what} ({said})", where=where, hint=hint)
    if status in (404, 410, 422):
        return NotFoundError(f"not found ({said})", where=where, hint=hint)
    if status >= 500:  # noqa: PLR2004
        return UnavailableError(f"the host failed ({said})", where=where, hint="try again later")
    return ConfigError(f"the host did not understand the request ({said})", where=where)


def _at(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _said(response: Response) -> str:
    """Return the host's own words: its message in one of the forms that hosts use."""
    text = f"{response.status_code} {response.reason}"
    try:
        body = response.json()
    except ValueError:
        return text
    found = body if isinstance(body, dict) else {}
    nested = found.get("error") or (found.get("errors") or [None])[0]
    inner = nested if isinstance(nested, dict) else {}
    words = inner.get("message") or found.get("error_description") or found.get("message")
    if not words:
        return text
    text = f"{response.status_code} {str(words).removeprefix(str(response.status_code)).strip()}"
    return redact(text)[:_LONGEST]


def json_of(response: Response, *, where: str) -> Any:
    """Return the JSON of an answer.

    Raises:
        IntegrityError: It is not JSON.
    """
    try:
        return response.json()
    except ValueError as error:
        hint = "is this the address of the host's API?"
        raise IntegrityError("the answer is not JSON", where=where, hint=hint) from error


def clean_url(url: str, *, default: str = "https") -> str:
    """Return a host's address with its scheme and without a slash at the end.

    Raises:
        ConfigError: It holds a credential, which would be written wherever the address is.
    """
    url = url if "://" in url else f"{default}://{url}"
    parts = urlsplit(url)
    if parts.username or parts.password:
        remember(parts.password or parts.username)
        hint = "take it out and name a secret instead"
        raise ConfigError("the address holds a credential", where=parts.hostname, hint=hint)
    return url.rstrip("/")
