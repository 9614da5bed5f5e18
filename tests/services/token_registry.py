"""A registry that takes tokens alone, behind TLS by a private authority, and its token service.

Invariant: it is the registry itself that refuses: a token counts only when the service has signed
it for this repository and action, and the service gives one only for the right password.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.services.oci import Registry
from tests.services.tls_registry import PASSWORD, USER, TlsFront

_SERVICE, _ISSUER = "casflow test registry", "casflow test tokens"


class TokenService:
    """Gives signed tokens to who has the password; a context manager.

    Attributes:
        scopes: What tokens were given for.
        port: Port of 127.0.0.1 that it answers on.
    """

    def __init__(self) -> None:
        self.scopes: list[str] = []
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _ISSUER)])
        now = datetime.now(UTC)
        made = x509.CertificateBuilder(name, name, self._key.public_key(), serial_number=1)
        made = made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(1))
        self.certificate = made.sign(self._key, hashes.SHA256())
        handler = type("BoundHandler", (_Handler,), {"service": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        serve = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        serve.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def token(self, scopes: list[str]) -> str:
        """Return a token for scopes, such as `repository:a/b:pull,push`."""
        self.scopes += scopes
        parts = [each.rsplit(":", 1) for each in scopes]
        access = [
            {"type": what.partition(":")[0], "name": what.partition(":")[2], "actions": [*verbs]}
            for what, verbs in ((what, actions.split(",")) for what, actions in parts)
        ]
        now = int(time.time())
        times = {"iat": now, "nbf": now - 10, "exp": now + 300}
        who = {"iss": _ISSUER, "sub": USER, "aud": _SERVICE, "jti": str(len(self.scopes))}
        chain = [base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()]
        head = {"typ": "JWT", "alg": "RS256", "x5c": chain}
        signed = f"{_encode(head)}.{_encode({**who, **times, 'access': access})}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


class _Handler(BaseHTTPRequestHandler):
    service: TokenService

    def do_GET(self) -> None:
        self._answer(parse_qs(urlsplit(self.path).query), self.headers.get("Authorization"))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        form = parse_qs(body)
        given = [form.get(each, [""])[0] for each in ("username", "password")]
        self._answer({**form, "scope": form.get("scope", [""])[0].split()}, _basic(*given))

    def _answer(self, query: dict[str, list[str]], authorization: str | None) -> None:
        allowed = authorization == _basic(USER, PASSWORD)
        token = self.service.token(query.get("scope", [])) if allowed else None
        data = json.dumps({"token": token, "access_token": token} if allowed else {}).encode()
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _encode(form: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(form).encode()).rstrip(b"=").decode()


class TokenRegistry(Registry):
    """The registry, which knows the service by its certificate.

    Args:
        service: The token service.
        realm: Where clients reach it.
    """

    def __init__(self, service: TokenService, realm: str) -> None:
        super().__init__()
        self._service = service
        self._realm = realm

    def _settings(self) -> dict[str, object]:
        bundle = self.folder / "tokens.crt"
        bundle.write_bytes(self._service.certificate.public_bytes(Encoding.PEM))
        token = {"realm": self._realm, "service": _SERVICE, "issuer": _ISSUER}
        return {**super()._settings(), "auth": {"token": {**token, "rootcertbundle": str(bundle)}}}


class TokenFront(TlsFront):
    """TLS before both: `/token` is the service, all else the registry.

    Args:
        service: The token service.
    """

    def __init__(self, service: TokenService) -> None:
        super().__init__("")
        self.service = service
        place = f"location = /token {{{{ proxy_pass http://127.0.0.1:{service.port}; }}}}\n"
        self.settings = self.settings.replace(
            "        location /", f"        {place}        location /"
        )
        self.registry = TokenRegistry(service, f"{self.url}/token")
        self._upstream = self.registry.host

    def __enter__(self) -> Self:
        self.registry.__enter__()
        return super().__enter__()

    def __exit__(self, *arguments: object) -> None:
        super().__exit__(*arguments)
        self.registry.__exit__(*arguments)
