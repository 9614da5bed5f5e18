"""One request and its whole answer.

Owns the loop over attempts and redirects. Invariant: when `send` returns, the body was read to its
end within the limit and the deadline, or the request has failed with an error of casflow; of an
attempt that broke off nothing is left in the target.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO

from casflow import config
from casflow.errors import CasflowError, IntegrityError, UnavailableError
from casflow.http import redirects, retry
from casflow.http.answer import Answer
from casflow.http.auth import Credential
from casflow.http.errors import NoConnectionError, failure
from casflow.secrets import redact

if TYPE_CHECKING:
    from requests import Response

SOCKET = (10.0, 60.0)  # seconds to connect, and between two pieces of an answer
LIMIT = 9 << 20  # bytes of an answer by default: a script of 6 MB in base64, and what is around it
_SAFE = frozenset({"GET", "HEAD"})
_PIECE = 1 << 16


def send(
    method: str,
    url: str,
    *,
    where: str,
    retried: frozenset[str] = _SAFE,
    limit: int = LIMIT,
    seconds: float | None = None,
    target: BinaryIO | None = None,
    **options: Any,
) -> Answer:
    """Send a request and return the answer, whatever its status.

    Redirects are followed, without the credential where they lead to another host.

    Args:
        method: The verb.
        url: The address.
        where: What messages name instead of the address.
        retried: Verbs that are tried again when the host fails.
        limit: Bytes that the answer may have.
        seconds: How long the whole of it may take; by default as long as the limit needs.
        target: File that the body of a success goes to; it can seek.
        options: What `requests` takes.

    Raises:
        UnavailableError: No answer came, or not in time.
        AccessError: The connection is not trusted, or a redirect leads where nothing may be sent.
        IntegrityError: The answer is longer than the limit, or redirects in a circle.
        ConfigError: No request can be made of this.
    """
    deadline = retry.Deadline(retry.seconds_for(limit) if seconds is None else seconds)
    exchange = _Exchange(where, limit, deadline, target)
    may_repeat = method in retried
    for attempt in range(retry.ATTEMPTS - 1):
        wait = retry.backoff(attempt)
        try:
            answer = exchange.once(method, url, options)
        except UnavailableError as error:
            is_harmless = may_repeat or isinstance(error, NoConnectionError)
            if not is_harmless or not retry.sleep(wait, deadline):
                raise
        else:
            if not may_repeat or not retry.is_retryable(answer.status, answer.headers):
                return answer
            if not retry.sleep(max(wait, retry.wait_of(answer.headers) or 0.0), deadline):
                return answer
        _rewind(options)
    return exchange.once(method, url, options)


class _Exchange:
    """What the attempts of one request have in common."""

    def __init__(
        self, where: str, limit: int, deadline: retry.Deadline, target: BinaryIO | None
    ) -> None:
        self._where = where
        self._limit = limit
        self._deadline = deadline
        self._target = target
        self._start = 0 if target is None else target.tell()

    def once(self, method: str, url: str, options: dict[str, Any]) -> Answer:
        """Make one attempt, with its redirects."""
        from casflow.http.session import HTTPError, RequestException

        try:
            return self._follow(method, url, options)
        except CasflowError:
            raise
        except (RequestException, HTTPError, OSError, ValueError, TypeError) as error:
            if self._deadline.left <= 0:
                failed: Exception = self._timeout_error()
            else:
                failed = failure(error, self._where)
            cause = _cleaned(error)
        # Raised out here and with a cleaned cause: the original names the address and the request.
        raise failed from cause

    def _follow(self, method: str, url: str, options: dict[str, Any]) -> Answer:
        follows = options.get("allow_redirects", True)
        for _ in range(redirects.MOST + 1):
            with self._open(method, url, options) as response:
                if not (follows and redirects.is_redirect(response.status_code, response.headers)):
                    return self._read(response)
                method, url, options = redirects.follow(
                    *(method, str(response.url), response.status_code, response.headers),
                    *(options, self._where),
                )
            _rewind(options)
        raise IntegrityError("the host redirects without end", where=self._where)

    def _open(self, method: str, url: str, options: dict[str, Any]) -> Response:
        from casflow.http.session import deadline_of_answers, open_session

        if self._deadline.left <= 0:
            raise self._timeout_error()
        given: dict[str, Any] = {
            "timeout": SOCKET,
            "auth": Credential(),
            "verify": config.ca_bundle() or True,
        }
        given |= {**options, "allow_redirects": False, "stream": True}
        token = deadline_of_answers.set(self._deadline)
        try:
            return open_session(os.getpid()).request(method, url, **given)
        finally:
            deadline_of_answers.reset(token)

    def _read(self, response: Response) -> Answer:
        status, headers = response.status_code, response.headers
        body = bytearray()
        write = body.extend
        if self._target is not None and status < 400:  # noqa: PLR2004 - a success
            self._target.seek(self._start)
            self._target.truncate()
            write = self._target.write  # type: ignore[assignment]
        size = 0
        for piece in response.iter_content(_PIECE):
            size += len(piece)
            if size > self._limit:
                what = f"the answer is longer than {self._limit} bytes"
                raise IntegrityError(what, where=self._where)
            write(piece)
        return Answer(status, response.reason or "", headers, str(response.url), bytes(body))

    def _timeout_error(self) -> UnavailableError:
        what = f"no complete answer within {self._deadline.seconds:.0f} s"
        return UnavailableError(what, where=self._where, hint="try again later")


def _rewind(options: dict[str, Any]) -> None:
    """Let a body that is read from a file be sent again."""
    if hasattr(options.get("data"), "seek"):
        options["data"].seek(0)


def _cleaned(error: Exception) -> Exception:
    """Return an error of the same kind without the request that it carries."""
    try:
        return type(error)(redact(str(error)))
    except TypeError:
        return OSError(redact(str(error)))
