"""Where a redirect may lead, and what goes with the request."""

import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from casflow import http
from casflow.errors import AccessError, IntegrityError
from casflow.http.redirects import follow, is_same_origin

GIVEN = {
    "headers": {"X-Api-Key": "k", "Accept": "a/b", "Private-Token": "t"},
    "cookies": {"session": "s"},
    "auth": http.bearer("token"),
}
SECRETS = ("token", "X-Api-Key", "session", "Private-Token")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nothing_that_is_private_follows_to_another_port(status, serve):
    other = serve((200, {}, b"there"))
    host = serve((status, {"Location": f"{other.url}/x"}, b""))
    assert http.send("GET", host.url, where="here", **GIVEN).body == b"there"
    _, _, headers, _ = other.log[0]
    assert "token" in str(host.log[0][2])
    assert not any(each.lower() in str(headers).lower() for each in SECRETS)
    assert headers["Accept"] == "a/b"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_on_the_same_host_the_credential_stays(status, serve):
    host = serve((status, {"Location": "/x"}, b""), (200, {}, b"there"))
    assert http.send("GET", host.url, where="here", **GIVEN).body == b"there"
    assert host.log[1][1] == "/x"
    assert all(each.lower() in str(host.log[1][2]).lower() for each in SECRETS)


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("body", [{"data": b"secret"}, {"json": {"a": "secret"}}])
def test_a_body_does_not_follow_to_another_host(status, body, serve):
    other = serve((200, {}, b""))
    host = serve((status, {"Location": other.url}, b""))
    with pytest.raises(AccessError, match="another host"):
        http.send("POST", host.url, where="here", **body)
    assert other.log == []


def test_a_post_that_is_seen_elsewhere_becomes_a_get_without_body(serve):
    host = serve((302, {"Location": "/x"}, b""), (200, {}, b""))
    http.send("POST", host.url, where="here", data=b"secret")
    assert host.log[1][0] == "GET"
    assert host.log[1][3] == b""


def test_a_circle_of_redirects_ends(serve):
    host = serve((302, {"Location": "/x"}, b""))
    with pytest.raises(IntegrityError, match="without end"):
        http.send("GET", host.url, where="here")
    assert len(host.log) < 20


def test_no_cookie_of_an_answer_is_kept(serve):
    host = serve((302, {"Location": "/x", "Set-Cookie": "a=b; Path=/"}, b""), (200, {}, b""))
    http.send("GET", host.url, where="here")
    http.send("GET", host.url, where="here")
    assert not any("Cookie" in headers for _, _, headers, _ in host.log)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host/", "http://a:b/"])
def test_a_redirect_to_no_address_of_http_is_refused(target, serve):
    with pytest.raises(IntegrityError, match="no address"):
        http.send("GET", serve((302, {"Location": target}, b"")).url, where="here")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a/", "https://a:443/x", True),
        ("https://a/", "https://A/x", True),
        ("https://a/", "http://a/", False),
        ("https://a/", "https://a:8443/", False),
        ("https://a/", "https://b.a/", False),
        ("https://a/", "https://a@b/", False),
        ("http://a:80/", "http://a/", True),
    ],
)
def test_an_origin_is_scheme_host_and_port(one, other, same):
    assert is_same_origin(one, other) is same


def test_nothing_goes_from_tls_to_plain_http():
    with pytest.raises(AccessError, match="X-Forwarded-Proto"):
        follow("GET", "https://a/x", 302, {"Location": "http://a/x"}, {}, "there")


# ---- certificates ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The path of a certificate that signs itself, with its key in the same file."""
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=private", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(
        [*made, "-nodes", "-days", "2", *subject, *files], check=True, capture_output=True
    )
    return folder


@pytest.fixture
def secure(certificate):
    """The address of a server behind that certificate."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"secure")

        def log_message(self, *_):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")


@pytest.mark.parametrize("variable", VARIABLES)
def test_each_setting_of_an_authority_counts(variable, secure, certificate, monkeypatch):
    for each in VARIABLES:
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(variable, str(certificate / "cert.pem"))
    assert http.send("GET", secure, where="there").body == b"secure"


def test_a_certificate_that_is_not_trusted_is_no_outage(secure, monkeypatch):
    for each in VARIABLES:
        monkeypatch.delenv(each, raising=False)
    with pytest.raises(AccessError, match=r"not trusted.*SSL_CERT_FILE"):
        http.send("GET", secure, where="there")
