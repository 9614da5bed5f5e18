"""Public keys and certificates as OpenSSH writes them (PROTOCOL.certkeys, PROTOCOL.u2f).

Owns taking them apart. Invariant: nothing here computes or checks a signature; a key of a kind
that is not known, or of one that is too weak, is refused.
"""

from __future__ import annotations

import binascii
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256

from casflow.errors import IntegrityError
from casflow.signing.wire import Reader, integer, string

# How many strings a public key has after the name of its algorithm.
_FIELDS = {
    "ssh-ed25519": 1,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "ssh-rsa": 2,
    "sk-ssh-ed25519@openssh.com": 2,
    "sk-ecdsa-sha2-nistp256@openssh.com": 3,
}
_CERTIFICATE = "-cert-v01@openssh.com"
_PLAIN = {name.removesuffix("@openssh.com") + _CERTIFICATE: name for name in _FIELDS}
_USER = 1  # type of a certificate: for users, not for hosts
_SHORTEST_RSA = 2048  # bits
_ED25519 = 32  # bytes
_LARGEST = 32 * 1024  # bytes of a key
_MOST_PRINCIPALS = 256


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says beyond its key.

    Attributes:
        authority: The key that signed it, in wire form.
        principals: Whom it is for.
        is_for_users: Whether it is for users, not for hosts.
        after: Seconds since the epoch from which it is valid.
        before: Seconds since the epoch up to which it is.
        critical: Whether it has critical options.
        signed: The bytes that the authority signed.
        signature: The authority's signature, in wire form.
    """

    authority: bytes
    principals: tuple[str, ...]
    is_for_users: bool
    after: int
    before: int
    critical: bool
    signed: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key, with its certificate if it came with one.

    Attributes:
        algorithm: Name of the key's algorithm, without what a certificate adds.
        fields: What makes the key, each in its wire form without the length.
        certificate: Its certificate, or None.
    """

    algorithm: str
    fields: tuple[bytes, ...]
    certificate: Certificate | None = None

    @property
    def blob(self) -> bytes:
        """The wire form of the key itself."""
        return string(self.algorithm.encode()) + b"".join(map(string, self.fields))

    @property
    def fingerprint(self) -> str:
        """What `ssh-keygen -l` prints, such as `SHA256:…`."""
        return f"SHA256:{b64encode(sha256(self.blob).digest()).decode().rstrip('=')}"

    @property
    def application(self) -> bytes | None:
        """The application of a key on a security key, or None for another key."""
        return self.fields[-1] if self.algorithm.startswith("sk-") else None

    def __str__(self) -> str:
        kind = self.algorithm.removesuffix("@openssh.com").removeprefix("ssh-")
        return f"{kind.upper()} {self.fingerprint}"

    def to_line(self) -> str:
        """Return what `.pub` files hold, without a comment."""
        return f"{self.algorithm} {b64encode(self.blob).decode()}"


def parse_key(blob: bytes) -> PublicKey:
    """Return the key or certificate of a wire form.

    Raises:
        IntegrityError: It is none, of an unknown kind, or too weak.
    """
    if len(blob) > _LARGEST:
        raise IntegrityError(f"a public key of {len(blob)} bytes")
    reader = Reader(blob)
    name = reader.text()
    algorithm = _PLAIN.get(name, name)
    if algorithm not in _FIELDS:
        raise IntegrityError(f"a public key of unknown kind {name[:60]!r}")
    if name in _PLAIN:
        reader.string()  # the nonce
    fields = tuple(reader.string() for _ in range(_FIELDS[algorithm]))
    certificate = _certificate(reader, blob) if name in _PLAIN else None
    reader.end()
    _check_form(algorithm, fields)
    return PublicKey(algorithm, fields, certificate)


def _check_form(algorithm: str, fields: tuple[bytes, ...]) -> None:
    """Make sure that a key has its one form, so that two texts are never one key.

    Raises:
        IntegrityError: It has another, or is too weak.
    """
    kind = algorithm.removesuffix("@openssh.com").removeprefix("sk-")
    if kind == "ssh-ed25519":
        right = len(fields[0]) == _ED25519
    elif kind == "ssh-rsa":
        right = all(string(each) == integer(Reader(string(each)).integer()) for each in fields)
        bits = int.from_bytes(fields[1], "big").bit_length()
        if bits < _SHORTEST_RSA:
            raise IntegrityError(f"an RSA key of {bits} bits; it needs {_SHORTEST_RSA}")
    else:
        curve = kind.rpartition("-")[2]
        right = fields[0] == curve.encode() and fields[1][:1] == b"\x04"
        right = right and len(fields[1]) == 1 + 2 * -(-int(curve.removeprefix("nistp")) // 8)
    if not right:
        raise IntegrityError(f"a public key that is no {algorithm}")


def _certificate(reader: Reader, blob: bytes) -> Certificate:
    reader.number(8)  # the serial number
    kind = reader.number()
    reader.string()  # its name
    principals = _principals(reader.string())
    after, before = reader.number(8), reader.number(8)
    critical = reader.string()
    reader.string()  # extensions
    reader.string()  # reserved
    authority = reader.string()
    signed = blob[: reader.position]
    signature = reader.string()
    return Certificate(
        authority, principals, kind == _USER, after, before, bool(critical), signed, signature
    )


def _principals(data: bytes) -> tuple[str, ...]:
    reader, found = Reader(data), []
    while not reader.is_at_end():
        found.append(reader.text())
        if len(found) > _MOST_PRINCIPALS:
            raise IntegrityError(f"a certificate for more than {_MOST_PRINCIPALS} principals")
    return tuple(found)


def parse_line(text: str) -> PublicKey:
    """Return the key of what a `.pub` file holds: algorithm, base64, perhaps a comment.

    Raises:
        IntegrityError: It is no public key.
    """
    name, _, rest = text.strip().partition(" ")
    data = rest.split(maxsplit=1)[:1]
    try:
        blob = binascii.a2b_base64(data[0], strict_mode=True) if data else b""
    except ValueError as error:
        raise IntegrityError("not a public key", where=repr(text[:40])) from error
    key = parse_key(blob)
    if Reader(blob).text() != name:
        raise IntegrityError("a public key of another kind than it says", where=name[:60])
    return key


def plain_blob(key: PublicKey) -> bytes:
    """Return the wire form of the key that a security key signs with, as if it were without one."""
    if key.application is None:
        return key.blob
    algorithm = key.algorithm.removeprefix("sk-").removesuffix("@openssh.com")
    return string(algorithm.encode()) + b"".join(map(string, key.fields[:-1]))
