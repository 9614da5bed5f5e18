"""The base of every loopback host: an HTTP server that counts what it is asked.

A host is a table of routes over a real bare repository. The base keeps the log of requests, checks
the credential, answers conditional requests with 304, and can be told to fail, to limit, to stop
and to come back on the same port, between two requests of one client too.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.hosts.repository import Repository


@dataclass
class Answer:
    """What a host answers: a status, a body and headers."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200, **headers: str) -> Answer:
        """Return an answer with a JSON body; `_` in a header's name stands for a hyphen."""
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return cls(
            status, json.dumps(value).encode(), {"Content-Type": "application/json", **named}
        )


@dataclass(frozen=True)
class Request:
    """A request as it came in, and the status that it was answered with."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    status: int = 0

    @property
    def path(self) -> str:
        """The path without its query, still quoted."""
        return urlsplit(self.target).path

    def query(self, name: str, default: str = "") -> str:
        """Return one parameter of the query."""
        return parse_qs(urlsplit(self.target).query).get(name, [default])[0]


class Host:
    """A loopback server over one repository.

    Args:
        repository: What it serves.
        token: The credential that it wants; None serves everybody.
    """

    routes: ClassVar[Mapping[str, str]] = {}  # pattern -> name of the method that answers
    weak = True

    def __init__(self, repository: Repository, token: str | None = None) -> None:
        self.repository = repository
        self.token = token
        self.log: list[Request] = []
        self.next: deque[Answer] = deque()  # answers to give before any real one
        self.trouble: Answer | None = None  # what every request gets, while it is set
        self.then: deque[Callable[[], object]] = deque()  # what follows each of the next answers
        self.change: Callable[[bytes], bytes] = bytes  # what happens to content on its way
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """The address of the host."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def statuses(self) -> list[int]:
        """The status of every answer so far."""
        return [each.status for each in self.log]

    @property
    def asked(self) -> list[str]:
        """What clients asked for so far, in the host's own words."""
        return [f"{each.method} {each.path}" for each in self.log]

    def close(self) -> None:
        """Stop for good."""
        self.stop()

    def forget(self) -> None:
        """Empty the log of requests."""
        self.log.clear()

    def start(self) -> Self:
        """Listen, on the port of the last time if there was one."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler(self))
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop listening; nothing happens when the host is stopped."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def fail(self) -> None:
        """Answer that the host has failed, until `recover`."""
        self.trouble = Answer(503)

    def slow_down(self) -> None:
        """Answer that the caller must wait for an hour, until `recover`."""
        self.trouble = Answer.json({"message": "slow down"}, 429, Retry_After="3600")

    def recover(self) -> None:
        """Be up and without trouble again."""
        self.trouble = None
        if self._server is None:
            self.start()

    def answer(self, request: Request) -> Answer:
        """Answer a request and log it."""
        with self._lock:
            planned = self.next.popleft() if self.next else self.trouble
        answer = planned or self._allowed(request)
        if request.method == "GET" and answer.status == 200:
            answer = self._conditional(request, answer)
        with self._lock:
            self.log.append(
                Request(
                    request.method, request.target, request.headers, request.body, answer.status
                )
            )
            follows = self.then.popleft() if self.then else None
        if follows is not None:
            follows()
        return answer

    def _allowed(self, request: Request) -> Answer:
        refusal = self.refuse(request)
        return refusal or self.dispatch(request)

    def refuse(self, request: Request) -> Answer | None:
        """Return the answer to a request with a wrong credential, None to a right one."""
        raise NotImplementedError

    def dispatch(self, request: Request) -> Answer:
        """Give a request to the first route that matches."""
        for pattern, name in self.routes.items():
            if match := re.fullmatch(pattern, f"{request.method} {request.path}"):
                return getattr(self, name)(request, *map(unquote, match.groups()))
        return self.absent("no such endpoint")

    def absent(self, what: str) -> Answer:
        """Return the host's own answer for something that is not there."""
        raise NotImplementedError

    def _conditional(self, request: Request, answer: Answer) -> Answer:
        tag = f'"{hashlib.sha256(answer.body).hexdigest()}"'
        tag = f"W/{tag}" if self.weak else tag
        answer.headers.setdefault("ETag", tag)
        if request.headers.get("If-None-Match") == answer.headers["ETag"]:
            return Answer(304, b"", answer.headers)
        return answer


def page(items: Iterable[Any], number: int, size: int) -> tuple[list[Any], bool]:
    """Return one page of items, the first being 1, and whether there are more."""
    items = list(items)
    return items[(number - 1) * size : number * size], number * size < len(items)


def _handler(host: Host) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.title(): text for name, text in self.headers.items()}
            answer = host.answer(Request(self.command, self.path, headers, body))
            self.send_response(answer.status)
            for name, text in answer.headers.items():
                self.send_header(name, text)
            if answer.status != 304:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_HEAD = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
