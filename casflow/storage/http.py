"""HTTP for the storages that speak it: one session, bounded waits, errors of casflow.

Owns waits, credentials and the translation of answers. Invariant: a credential
travels in a header that `requests` drops when another host is redirected to, and stands in no
message, log line or chained error; a wait that a host asks for is honoured up to `PATIENCE`, and
beyond it the error says when to come back.
"""

from __future__ import annotations

import base64
import os
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from casflow.errors import (
    AccessError,
    CasflowError,
    ConfigError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
)
from casflow.secrets import redact, remember

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import PreparedRequest, RequestException, Response

PATIENCE = 30.0  # seconds that a host may ask to wait before a request is tried again
TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two bytes
_SAFE = frozenset({"GET", "HEAD"})
_LONGEST = 200  # characters of a host's own message that are passed on


def wait_of(headers: Mapping[str, str]) -> float | None:
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


def is_bearable(status: int, headers: Mapping[str, str]) -> bool:
    """Tell whether a request that failed so is worth another try."""
    wait = wait_of(headers)
    if wait is None:
        return status not in (403, 429)
    return wait <= PATIENCE


class Credential:
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
    coded = base64.b64encode(f"{user}:{password}".encode()).decode()
    remember(coded)
    return Credential(f"Basic {coded}")


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
    from casflow.storage.session import RequestException, open_session

    options = {"timeout": TIMEOUT, "auth": Credential(), **options}
    try:
        return open_session(os.getpid(), retried).request(method, url, **options)
    except RequestException as error:
        failed = _failure(error, where)
        cause = type(error)(redact(str(error)))
    # Raised out here and with a cleaned cause: the original names the address and the request.
    raise failed from cause


def _failure(error: RequestException, where: str) -> CasflowError:
    if isinstance(error, ValueError):  # the address or a header is malformed
        return ConfigError(f"no request can be made ({type(error).__name__})", where=where)
    hint = "check the network and try again"
    return UnavailableError(f"no answer ({type(error).__name__})", where=where, hint=hint)


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
    wait = wait_of(response.headers)
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
