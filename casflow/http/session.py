"""The one HTTP session of a process.

Owns the only import of `requests`, which is why it is a module of its own: a run that finds
everything in the cache needs none of it. Invariant: no address is logged with a secret in it; no
cookie of one answer is sent with another request; an answer that comes slower than the deadline
of its request is cut off, be it one byte at a time.
"""

from __future__ import annotations

import functools
import http.client
import io
import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from casflow.errors import MissingExtraError
from casflow.secrets import redact

try:
    from requests import RequestException, Response, Session
    from requests.adapters import HTTPAdapter
    from requests.cookies import RequestsCookieJar
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.exceptions import HTTPError
except ImportError as missing:
    raise MissingExtraError("requests", "git") from missing

if TYPE_CHECKING:
    import socket

    from urllib3 import PoolManager

    from casflow.http.retry import Deadline

__all__ = ["HTTPError", "RequestException", "Response", "deadline_of_answers", "open_session"]

deadline_of_answers: ContextVar[Deadline | None] = ContextVar("casflow_http_deadline", default=None)


class _Reader(io.RawIOBase):
    """Reads a socket until a deadline, however little comes at a time."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: Deadline) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline.left
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        before = self._sock.gettimeout()
        self._sock.settimeout(left if before is None else min(before, left))
        try:
            return self._raw.readinto(buffer)
        finally:
            self._sock.settimeout(before)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *rest: Any, **named: Any) -> None:
        super().__init__(sock, *rest, **named)
        deadline = deadline_of_answers.get()
        if deadline is not None:
            self.fp.close()
            raw = sock.makefile("rb", buffering=0)
            self.fp = io.BufferedReader(_Reader(raw, sock, deadline))


class _HTTPConnection(HTTPConnection):
    response_class = _TimedResponse


class _HTTPSConnection(HTTPSConnection):
    response_class = _TimedResponse


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class _Adapter(HTTPAdapter):
    """Sends each request once; `casflow.http.client` is what tries again."""

    def init_poolmanager(self, *rest: Any, **named: Any) -> None:
        super().init_poolmanager(*rest, **named)
        _use_timed_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **named: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **named)
        _use_timed_pools(manager)
        return manager


def _use_timed_pools(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}


class _NoCookies(RequestsCookieJar):
    """A jar that keeps nothing."""

    def set_cookie(self, *_: Any, **__: Any) -> None:
        """Forget a cookie."""


@functools.lru_cache(maxsize=4)
def open_session(process: int) -> Session:  # noqa: ARG001
    """Return the session of a process; a forked child must not share its parent's sockets."""
    for name in ("urllib3.connectionpool", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(_hide)
    session = Session()
    session.cookies = _NoCookies()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter())
    return session


def _hide(record: logging.LogRecord) -> bool:
    record.msg, record.args = redact(record.getMessage()), ()
    return True
