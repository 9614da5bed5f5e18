"""Signing and checking by the package `cryptography`, for machines without ssh-keygen.

Owns the calls. Invariant: every computation with a key is the package's; here are only the forms
in which OpenSSH writes down what the package takes and gives (RFC 4253, 5656, 8332, PROTOCOL.u2f).
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from casflow.errors import AccessError, IntegrityError, MissingExtraError, os_errors
from casflow.signing.keys import PublicKey, parse_key, parse_line, plain_blob
from casflow.signing.sshsig import NAMESPACE, Signature, signed_bytes
from casflow.signing.wire import Reader, integer, string

if TYPE_CHECKING:
    from pathlib import Path

_HASH = "sha512"
_RSA = {"rsa-sha2-256": "SHA256", "rsa-sha2-512": "SHA512"}
_CURVES = {"nistp256": "SHA256", "nistp384": "SHA384", "nistp521": "SHA512"}


def is_installed() -> bool:
    """Tell whether the package is there."""
    from importlib.util import find_spec

    return find_spec("cryptography") is not None


def _package() -> Any:
    try:
        from cryptography.hazmat.primitives import hashes, serialization
    except ImportError as error:
        raise MissingExtraError("cryptography", "sign") from error
    return hashes, serialization


# ---- checking ------------------------------------------------------------------------------


def is_right(signature: Signature, message: bytes) -> bool:
    """Tell whether a signature is one of its key over a message, and its certificate's is, too.

    Raises:
        MissingExtraError: The package is not installed.
    """
    certificate = signature.key.certificate
    if certificate is not None:
        try:
            authority = parse_key(certificate.authority)
        except IntegrityError:
            return False
        if authority.certificate is not None or not _is_of(
            authority, certificate.signature, certificate.signed
        ):
            return False
    return _is_of(signature.key, signature.raw, signature.signed(message))


def _is_of(key: PublicKey, raw: bytes, data: bytes) -> bool:
    """Tell whether a signature in wire form is one of a key over some bytes."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        _verify(key, raw, data)
    except (InvalidSignature, IntegrityError, ValueError):
        return False
    except (UnsupportedAlgorithm, NotImplementedError):  # forms of keys that the package lacks
        return False
    return True


def _verify(key: PublicKey, raw: bytes, data: bytes) -> None:
    hashes, serialization = _package()
    reader = Reader(raw)
    algorithm, value = reader.text(), reader.string()
    if key.application is not None:
        counted = reader.take(5)  # flags, and the security key's counter
        data = sha256(key.application).digest() + counted + sha256(data).digest()
    reader.end()
    plain = plain_blob(key)
    name = Reader(plain).text()
    line = f"{name} {b64encode(plain).decode()}".encode()
    public = serialization.load_ssh_public_key(line)
    if name == "ssh-rsa" and algorithm in _RSA:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

        public.verify(value, data, PKCS1v15(), getattr(hashes, _RSA[algorithm])())
        return
    if algorithm != key.algorithm:
        raise IntegrityError(f"a signature of the unknown kind {algorithm[:40]!r}")
    if name == "ssh-ed25519":
        public.verify(value, data)
        return
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    public.verify(_der(value), data, ECDSA(getattr(hashes, _CURVES[name.rpartition("-")[2]])()))


def _der(value: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    reader = Reader(value)
    r, s = reader.integer(), reader.integer()
    reader.end()
    return encode_dss_signature(r, s)


# ---- signing -------------------------------------------------------------------------------


def sign(message: bytes, key: Path) -> Signature:
    """Sign with the private key in a file.

    Raises:
        AccessError: It is no private key, or is protected by a passphrase.
        MissingExtraError: The package is not installed.
    """
    hashes, serialization = _package()
    with os_errors(key):
        data = key.read_bytes()
    private = _load(data, key, serialization)
    encoding, form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    public = parse_line(private.public_key().public_bytes(encoding, form).decode())
    signed = signed_bytes(message, NAMESPACE, _HASH)
    raw = _raw_signature(private, public, signed, hashes)
    return Signature(public, NAMESPACE, _HASH, raw, public.blob)


def _load(data: bytes, key: Path, serialization: Any) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm

    is_ssh = b"BEGIN OPENSSH PRIVATE KEY" in data
    read = serialization.load_ssh_private_key if is_ssh else serialization.load_pem_private_key
    try:
        return read(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        hint = "it must be a private key without a passphrase, unless ssh-keygen is installed"
        raise AccessError("cannot sign with this key", where=key, hint=hint) from error


def _raw_signature(private: Any, public: PublicKey, data: bytes, hashes: Any) -> bytes:
    if public.algorithm == "ssh-ed25519":
        return string(b"ssh-ed25519") + string(private.sign(data))
    if public.algorithm == "ssh-rsa":
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

        signature = private.sign(data, PKCS1v15(), hashes.SHA512())
        return string(b"rsa-sha2-512") + string(signature)
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    chosen = getattr(hashes, _CURVES[public.algorithm.rpartition("-")[2]])()
    r, s = decode_dss_signature(private.sign(data, ECDSA(chosen)))
    return string(public.algorithm.encode()) + string(integer(r) + integer(s))
