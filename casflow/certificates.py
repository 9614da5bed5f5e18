"""Certificates that are not trusted: one message for every backend.

Owns how such a failure is told from an outage, whatever library it comes through, and what is said
of it. Invariant: the line names what the server showed, where that can be had, and the settings
that count for every backend alike.
"""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies, proxy_bypass

if TYPE_CHECKING:
    from collections.abc import Iterator

WHAT = "the server's certificate is not trusted"
HINT = (
    "name a file with the authority that signed it in SSL_CERT_FILE, "
    "REQUESTS_CA_BUNDLE or GIT_SSL_CAINFO"
)
_DEPTH = 8  # layers of a library's errors
_TIMEOUT = 3.0  # seconds that a look at a certificate may take


def find_distrust(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """Return the failed check of a certificate that an error comes from, or None."""
    found = (each for each in _causes(error) if isinstance(each, ssl.SSLCertVerificationError))
    return next(found, None)


def describe(error: BaseException) -> str:
    """Return what is wrong with the certificate that an error comes from, and whose it is.

    Args:
        error: An error of which `find_distrust` returns something.
    """
    distrust = find_distrust(error)
    reason = getattr(distrust, "verify_message", "") or "it cannot be verified"
    address = next(filter(None, map(_address, _causes(error))), None)
    shown = "" if address is None else shown_by(*address)
    return f"{WHAT} ({reason}{shown})"


def shown_by(host: str, port: int) -> str:
    """Return the words on whose certificate a server shows; none where that cannot be had."""
    subject = subject_of(host, port)
    return "" if subject is None else f", it is for {subject}"


def subject_of(host: str, port: int) -> str | None:
    """Return whose certificate a server shows, or None where that cannot be had directly."""
    if getproxies().get("https") and not proxy_bypass(host):
        return None
    with suppress(Exception):  # it only makes a message better
        from cryptography import x509

        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection((host, port), timeout=_TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=host) as wrapped,
        ):
            shown = wrapped.getpeercert(binary_form=True)
        found = x509.load_der_x509_certificate(shown or b"")
        return f"{found.subject.rfc4514_string()}, signed by {found.issuer.rfc4514_string()}"[:200]
    return None


def _address(error: BaseException) -> tuple[str, int] | None:
    """Return the server that an error of a library names."""
    host, port = getattr(error, "host", None), getattr(error, "port", None)
    if isinstance(host, str) and isinstance(port, int):
        return host, port
    pool: Any = getattr(error, "pool", None)
    host, port = getattr(pool, "host", None), getattr(pool, "port", None)
    return (host, port or 443) if isinstance(host, str) else None


def _causes(error: BaseException | None, depth: int = _DEPTH) -> Iterator[BaseException]:
    """Yield an error and what it wraps: in its arguments, reasons, causes and contexts."""
    if error is None or not depth:
        return
    yield error
    names = ("reason", "certificate_error", "os_error", "inner_exception", "__cause__")
    inner = [*error.args, *(getattr(error, name, None) for name in names), error.__context__]
    options = getattr(error, "kwargs", None)  # of botocore
    if isinstance(options, dict):
        inner.append(options.get("error"))
    for each in inner:
        if isinstance(each, BaseException) and each is not error:
            yield from _causes(each, depth - 1)


def context_of(bundle: str) -> ssl.SSLContext:
    """Return a context that trusts what a file or folder of certificates holds.

    Raises:
        OSError: It cannot be read, or holds none.
    """
    if os.path.isdir(bundle):  # noqa: PTH112 - a setting's text
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)
