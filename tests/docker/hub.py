"""A registry that asks for tokens, in front of a real one: challenge, token service, refusal."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

USER, PASSWORD = "casflow", "sentinel-password-7f3a"
_HOP = ("connection", "transfer-encoding", "host", "authorization", "content-length")


@dataclass
class Hub:
    """The front's address, and what it was asked.

    Attributes:
        host: Its host and port.
        upstream: The real registry's.
        tokens: Scope of each token that it has handed out, by token.
        seen: Authorization headers of all requests.
    """

    upstream: str
    host: str = ""
    tokens: dict[str, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    scheme: str = "Bearer"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_any(self):
        hub = self.hub
        hub.seen.append(self.headers.get("Authorization", ""))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/token"):
            return self.give_token(body)
        if not self.is_allowed():
            return self.challenge()
        return self.pass_on(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_any  # noqa: N815

    def is_allowed(self):
        sent = self.headers.get("Authorization", "")
        if self.hub.scheme == "Basic":
            return sent == basic()
        scope = self.hub.tokens.get(sent.removeprefix("Bearer "))
        action = "pull" if self.command in ("GET", "HEAD") else "push"
        return scope is not None and action in scope

    def challenge(self):
        repository = self.path.removeprefix("/v2/").split("/blobs/")[0].split("/manifests/")[0]
        action = "pull" if self.command in ("GET", "HEAD") else "pull,push"
        realm = f'realm="http://{self.hub.host}/token",service="test"'
        scope = f'scope="repository:{repository}:{action}"'
        value = f"Bearer {realm},{scope}" if self.hub.scheme == "Bearer" else 'Basic realm="x"'
        self.answer(401, {"WWW-Authenticate": value}, b"{}")

    def give_token(self, body):
        query = parse_qs(urlsplit(self.path).query) or parse_qs(body.decode())
        by_token = query.get("refresh_token") == [PASSWORD]
        if not by_token and self.headers.get("Authorization") != basic():
            return self.answer(401, {}, b"{}")
        token = f"token-{len(self.hub.tokens)}"
        self.hub.tokens[token] = query["scope"][0]
        key = "access_token" if by_token else "token"
        return self.answer(200, {}, json.dumps({key: token}).encode())

    def pass_on(self, body):
        there = http.client.HTTPConnection(self.hub.upstream)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
        there.request(self.command, self.path, body or None, headers)
        got = there.getresponse()
        data = got.read()
        kept = {k: v for k, v in got.getheaders() if k.lower() not in _HOP}
        kept = {k: v.replace(self.hub.upstream, self.hub.host) for k, v in kept.items()}
        length = got.getheader("Content-Length")
        there.close()
        self.answer(got.status, kept, data, length)

    def answer(self, status, headers, data, length=None):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_):
        """Say nothing."""


def basic():
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def serve(upstream, scheme="Bearer"):
    """Start a front; return it and what ends it."""
    hub = Hub(upstream, scheme=scheme)
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.host = f"127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def end():
        server.shutdown()
        server.server_close()

    return hub, end
