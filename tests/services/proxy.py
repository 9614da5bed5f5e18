"""A reverse proxy that counts requests and breaks the ones that a test chooses.

It stands between a client and one real server, speaks HTTP/1.1 over real sockets, and streams
bodies both ways. Invariant: a request that is not chosen reaches the server as the client sent it
(but for the host) and its answer comes back unchanged, the server's own address in headers
replaced by the proxy's; every request has exactly one record, numbered by its arrival.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from tests.services.proxy_handler import ProxyHandler

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal[
    "cut-before",  # the server never sees the request
    "cut-after",  # the server answers, the client never hears
    "cut-upload",  # the server gets half of the request's body
    "truncated",  # the answer's body ends half-way
    "wrong-body",  # the answer's body has its right length and other bytes
    "500",
    "503",  # SlowDown
    "409",
    "403",
    "404",
    "429",
]
Dialect = Literal["s3", "gcs", "azure", "plain"]
Rule = Callable[[str, str, Any], tuple[int, str] | None]


@dataclass
class Record:
    """One request.

    Attributes:
        number: 1 for the first since the start or the last reset.
        method: GET, PUT, ...
        path: The path without the query.
        query: The query, without its question mark.
        up: Bytes of the request's body.
        down: Bytes of the answer's body as the client was sent them.
        status: What the client was answered; None when the connection was cut.
        fault: How the request was broken.
    """

    number: int
    method: str
    path: str
    query: str = ""
    up: int = 0
    down: int = 0
    status: int | None = None
    fault: str | None = None


class Proxy:
    """A running proxy of one server; a context manager.

    Args:
        upstream: URL of the server.
        latency: Seconds that every request waits before it is passed on.
        dialect: Whose error bodies the injected answers have.
    """

    def __init__(self, upstream: str, *, latency: float = 0.0, dialect: Dialect = "s3") -> None:
        self.upstream = upstream.rstrip("/")
        self.latency = latency
        self.dialect = dialect
        self.requests: list[Record] = []
        self.rule: Rule | None = None  # tells by method, path and headers who is refused, and how
        self.dropped: frozenset[str] = frozenset()  # names of headers that the server never sees
        self._faults: dict[int, Kind] = {}
        self._every: Kind | None = None
        self._lock = Lock()
        self._server = _Listener(("127.0.0.1", 0), ProxyHandler)
        self._server.proxy = self
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def host(self) -> str:
        """Host and port of the proxy."""
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """URL to give to the client in place of the server's."""
        return f"http://{self.host}"

    def fault(self, n: int | None, kind: Kind) -> None:
        """Break the n-th request from now on (1 is the next); every one when n is None."""
        if kind not in get_args(Kind):
            raise ValueError(kind)
        with self._lock:
            if n is None:
                self._every = kind
            else:
                self._faults[len(self.requests) + n] = kind

    def reset(self) -> None:
        """Forget all records and faults."""
        with self._lock:
            self.requests = []
            self._faults = {}
            self._every = None

    def count(self, method: str | None = None, containing: str = "") -> int:
        """Return how many requests there were of a method, with a text in their path."""
        return sum(
            method in (None, each.method) and containing in each.path for each in self.requests
        )

    @property
    def up(self) -> int:
        """Body bytes that clients have sent."""
        return sum(each.up for each in self.requests)

    @property
    def down(self) -> int:
        """Body bytes that clients were sent."""
        return sum(each.down for each in self.requests)

    def arrived(self, method: str, target: str) -> Record:
        """Record a request, with the fault that is meant for it."""
        path, _, query = target.partition("?")
        with self._lock:
            number = len(self.requests) + 1
            fault = self._faults.pop(number, self._every)
            record = Record(number, method, path, query, fault=fault)
            self.requests.append(record)
        if self.latency:
            time.sleep(self.latency)
        return record

    def connect(self) -> http.client.HTTPConnection:
        """Return a new connection to the server."""
        return http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=120)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Listener(ThreadingHTTPServer):
    """The listening socket; a broken connection is no news here."""

    daemon_threads = True
    request_queue_size = 128
    proxy: Proxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: tests break connections on purpose."""


def every_fault(requests: int) -> Iterator[tuple[int, Kind]]:
    """Yield each request's number with each way to break it."""
    for n in range(1, requests + 1):
        for kind in get_args(Kind):
            yield n, kind
