"""Loopback hosts that answer as they are told, some of them one byte at a time."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Script:
    """An HTTP server whose answers are planned: (status, headers, body), the last one for ever."""

    def __init__(self, *planned: Any) -> None:
        self.planned = list(planned)
        self.log: list[Any] = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                script.log.append((self.command, self.path, dict(self.headers), body))
                plan = script.planned[0] if len(script.planned) == 1 else script.planned.pop(0)
                if plan == "reset":
                    self.connection.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
                    )
                    self.connection.close()
                    self.close_connection = True
                    return
                status, headers, answer = plan
                self.send_response(status)
                for name, text in headers.items():
                    self.send_header(name, text)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(answer)
                self.close_connection = "Content-Length" in headers

            do_GET = do_POST = do_PUT = do_HEAD = _serve  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Script]]:
    """Start a server with planned answers; it stops with the test."""
    started: list[Script] = []

    def start(*planned: Any) -> Script:
        started.append(Script(*planned))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def dribble() -> Iterator[Callable[[bytes], str]]:
    """Serve some bytes at once, and then one byte at a time without end."""
    stop = threading.Event()
    sockets = []

    def serve(first: bytes) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        sockets.append(listening)

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.recv(65536)
                        connection.sendall(first)
                        while not stop.wait(0.05):
                            connection.sendall(b"x")

        threading.Thread(target=answer, daemon=True).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield serve
    stop.set()
    for each in sockets:
        each.close()
