"""The one HTTP session of a process, with retries that wait as long as a host asks.

Owns the only import of `requests`, which is why it is a module of its own: a run that finds
everything in the cache needs none of it. Invariant: no address is logged with a secret in it.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

from casflow.errors import MissingExtraError
from casflow.secrets import redact
from casflow.storage.http import is_bearable, wait_of

try:
    from requests import RequestException, Session
    from requests.adapters import HTTPAdapter
    from urllib3.exceptions import MaxRetryError, ResponseError
    from urllib3.util import Retry
except ImportError as missing:
    raise MissingExtraError("requests", "git") from missing

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

__all__ = ["RequestException", "open_session"]

_AGAIN = frozenset({403, 429, 500, 502, 503, 504})


class Patient(Retry):
    """Tries again what may pass, after the wait that the host asked for, if that is bearable."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        """Return the seconds to wait that the answer states, or None."""
        return wait_of(response.headers)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        *rest: Any,
        **named: Any,
    ) -> Patient:
        """Count one attempt; give up at once where waiting is of no use."""
        if response is not None and not is_bearable(response.status, response.headers):
            reason = ResponseError("not worth the wait")
            raise MaxRetryError(named.get("_pool"), url or "", reason)  # type: ignore[arg-type]
        return super().increment(method, url, response, *rest, **named)


@functools.lru_cache(maxsize=4)
def open_session(process: int, retried: frozenset[str]) -> Session:  # noqa: ARG001
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
    session = Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=patient))
    return session


def _hide(record: logging.LogRecord) -> bool:
    record.msg, record.args = redact(record.getMessage()), ()
    return True
