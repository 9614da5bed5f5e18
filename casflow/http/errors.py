"""Answers and failures of HTTP as errors of casflow.

Invariant: no address, header or body that may hold a credential stands in a message or in the
chain of causes; a host's own words are passed on without control characters and cut to length.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from casflow import certificates
from casflow.errors import (
    AccessError,
    CasflowError,
    ConfigError,
    NotFoundError,
    UnavailableError,
)
from casflow.http.parsing import parse
from casflow.http.retry import now, wait_of
from casflow.secrets import redact

if TYPE_CHECKING:
    from casflow.http.answer import Answer

_LONGEST = 200  # characters of a host's own message that are passed on
_UNAUTHORIZED, _FORBIDDEN, _PROXY, _TOO_MANY, _SERVER = 401, 403, 407, 429, 500
_ABSENT = (404, 410, 422)


def check(answer: Answer, *, where: str, hint: str | None = None) -> Answer:
    """Return an answer that is a success or a 304.

    Args:
        answer: The answer.
        where: What the request was about.
        hint: What helps where the answer is a refusal, or that there is nothing.

    Raises:
        NotFoundError: There is no such thing, or the caller may not know of it.
        AccessError: The credential was refused, or is missing.
        UnavailableError: The host fails, or limits its callers; the message says until when.
        ConfigError: The host takes the request for a wrong one, or sends it elsewhere.
    """
    if not answer.is_error:
        return answer
    raise _error(answer, where, hint)


def _error(answer: Answer, where: str, hint: str | None) -> CasflowError:
    status, message = answer.status, _message(answer)
    wait = wait_of(answer.headers)
    if status == _TOO_MANY or (status == _FORBIDDEN and wait is not None):
        until = "later" if wait is None else f"after {_at(now(answer.headers) + wait)}"
        return UnavailableError("the host limits requests", where=where, hint=f"try again {until}")
    if status == _PROXY:
        hint = "write its user and password into HTTPS_PROXY, HTTP_PROXY"
        return AccessError(f"the proxy asks for a login ({message})", where=where, hint=hint)
    if status in (_UNAUTHORIZED, _FORBIDDEN):
        refused = status == _FORBIDDEN
        what = "the host refused the request" if refused else "the credential was refused"
        return AccessError(f"{what} ({message})", where=where, hint=hint)
    if status in _ABSENT:
        return NotFoundError(f"not found ({message})", where=where, hint=hint)
    if status >= _SERVER:
        return UnavailableError(f"the host failed ({message})", where=where, hint="try again later")
    return ConfigError(f"the host did not understand the request ({message})", where=where)


def _at(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _message(answer: Answer) -> str:
    """Return the host's own words: its message in one of the forms that hosts use."""
    text = f"{answer.status} {answer.reason}"
    body = parse(answer.body)
    found = body if isinstance(body, dict) else {}
    errors = found.get("errors")
    nested = found.get("error") or (errors[0] if isinstance(errors, list) and errors else None)
    inner = nested if isinstance(nested, dict) else {}
    message = inner.get("message") or found.get("error_description") or found.get("message")
    if isinstance(message, str) and message:
        text = f"{answer.status} {message.removeprefix(str(answer.status)).strip()}"
    shown = "".join(each if each.isprintable() else " " for each in redact(text))
    return shown[:_LONGEST]


class NoConnectionError(UnavailableError):
    """No connection was made, so nothing of the request was sent."""


def failure(error: Exception, where: str) -> CasflowError:
    """Return the error of a request that got no answer."""
    from requests.exceptions import SSLError
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    name = type(error).__name__
    if certificates.find_distrust(error) is not None:
        return AccessError(certificates.describe(error), where=where, hint=certificates.HINT)
    if isinstance(error, SSLError):
        what = f"no TLS connection ({_tls_reason(error)})"
        return AccessError(what, where=where, hint=certificates.HINT)
    if isinstance(error, ValueError | TypeError):  # the address, a header or an option is malformed
        return ConfigError(f"no request can be made ({name})", where=where)
    hint = "check the network and try again"
    if any(isinstance(each, NewConnectionError | ConnectTimeoutError) for each in _causes(error)):
        return NoConnectionError(f"no answer ({name})", where=where, hint=hint)
    return UnavailableError(f"no answer ({name})", where=where, hint=hint)


def _tls_reason(error: BaseException) -> str:
    """Return the reason that the TLS library gave, from below the layers that wrap it."""
    import ssl

    for each in _causes(error):
        if isinstance(each, ssl.SSLError) and each.reason:
            return each.reason.lower().replace("_", " ")
    return "certificate or protocol"


def _causes(error: BaseException | None, depth: int = 8) -> list[BaseException]:
    """Return an error and what it wraps, in its arguments, reasons and contexts."""
    if error is None or not depth:
        return []
    inner = [*error.args, getattr(error, "reason", None), error.__cause__, error.__context__]
    found = [error]
    for each in inner:
        if isinstance(each, BaseException):
            found += _causes(each, depth - 1)
    return found
