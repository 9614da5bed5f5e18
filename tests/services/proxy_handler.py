"""One client's connection to the proxy: forward, count, and break what is to be broken.

Invariant: what a fault does is decided here and nowhere else, and a cut connection is cut with a
reset, so that no client takes it for an end of its answer.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from tests.services.error_answers import error_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.proxy import Proxy, Record

_PIECE = 1 << 18
_OWN = {"connection", "transfer-encoding", "keep-alive", "host", "expect", "proxy-connection"}


class ProxyHandler(BaseHTTPRequestHandler):
    """Handles the requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: Any

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing; the proxy keeps records."""

    def do_GET(self) -> None:
        record = self._proxy.arrived(self.command, self.path)
        body = _Counted(self._body(), record)
        try:
            self._serve(record, body)
        except _Cut:
            self._cut()
        except (OSError, http.client.HTTPException):
            self._cut()

    # The standard library looks methods up by these names.
    do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do_OPTIONS = do_GET  # noqa: N815

    def handle_expect_100(self) -> bool:
        """Ask for the body at once: the client waits for it, and writes are buffered here."""
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    @property
    def _proxy(self) -> Proxy:
        return self.server.proxy

    def _serve(self, record: Record, body: _Counted) -> None:
        if record.fault == "cut-before":
            raise _Cut
        if record.fault and record.fault.isdigit():
            body.drain()
            self._refuse(record, int(record.fault))
            return
        rule = self._proxy.rule
        refusal = None if rule is None else rule(self.command, self.path, self.headers)
        if refusal is not None:
            body.drain()
            self._refuse_by_rule(record, *refusal)
            return
        with contextlib.closing(self._proxy.connect()) as upstream:
            self._forward(upstream, record, body)
            self._answer(upstream.getresponse(), record)

    def _forward(self, upstream: Any, record: Record, body: _Counted) -> None:
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        upstream.putheader("Host", f"{upstream.host}:{upstream.port}")
        for name, value in self.headers.items():
            if name.lower() not in _OWN | self._proxy.dropped:
                upstream.putheader(name, value)
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        if chunked:
            upstream.putheader("Transfer-Encoding", "chunked")
        upstream.endheaders()
        half = int(self.headers.get("Content-Length") or 0) // 2
        for piece in body:
            if record.fault == "cut-upload" and record.up >= half:
                upstream.send(piece[: len(piece) // 2] if not chunked else b"")
                raise _Cut
            upstream.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            upstream.send(b"0\r\n\r\n")
        if record.fault == "cut-upload":
            raise _Cut

    def _body(self) -> Iterator[bytes]:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            yield from self._chunks()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            piece = self.rfile.read(min(left, _PIECE))
            if not piece:
                raise _Cut
            left -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _answer(self, response: http.client.HTTPResponse, record: Record) -> None:
        if record.fault == "cut-after":
            response.read()
            raise _Cut
        record.status = response.status
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in _OWN:
                self.send_header(name, value.replace(self._proxy.upstream, self._proxy.url))
        chunked = response.chunked
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._send_body(response, record, chunked=bool(chunked))

    def _send_body(
        self, response: http.client.HTTPResponse, record: Record, *, chunked: bool
    ) -> None:
        length = response.length
        while piece := response.read(_PIECE):
            if record.fault == "truncated":
                half = len(piece) if length is None else length
                self._send(piece[: half // 2 - record.down], record, chunked=chunked)
                if record.down >= half // 2:
                    self.wfile.flush()
                    raise _Cut
                continue
            if record.fault == "wrong-body":
                piece = bytes(each ^ 0x20 for each in piece)
            self._send(piece, record, chunked=chunked)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        elif length is None:
            self.close_connection = True

    def _send(self, piece: bytes, record: Record, *, chunked: bool) -> None:
        if piece:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            record.down += len(piece)

    def _refuse(self, record: Record, status: int) -> None:
        headers, body = error_answer(self._proxy.dialect, status)
        record.status = status
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self._send(body, record, chunked=False)

    def _refuse_by_rule(self, record: Record, status: int, code: str) -> None:
        record.status = status
        text = f"<Error><Code>{code}</Code><Message>by rule</Message></Error>"
        body = b"" if status == HTTPStatus.NOT_MODIFIED else text.encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self._send(body, record, chunked=False)

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.wfile = _Nowhere()
        self.connection.close()


class _Cut(Exception):  # noqa: N818 - an order, not an error
    """The connection ends here."""


class _Nowhere:
    """Takes the last flush of a connection that is gone."""

    closed = True

    def write(self, data: bytes) -> int:
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Counted:
    """The pieces of a request's body, counted as they are read."""

    def __init__(self, pieces: Iterator[bytes], record: Record) -> None:
        self._pieces = pieces
        self._record = record

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._record.up += len(piece)
            yield piece

    def drain(self) -> None:
        """Read what is left."""
        for _ in self:
            pass
