"""SSHSIG: OpenSSH's form of a signature over any bytes (PROTOCOL.sshsig).

Owns its envelope and its text form. Invariant: a signature is bound to one namespace; nothing here
tells whether one is right, or whose it is.
"""

from __future__ import annotations

import binascii
from base64 import b64encode
from dataclasses import dataclass
from hashlib import new as new_hash

from casflow.errors import IntegrityError
from casflow.signing.keys import PublicKey, parse_key
from casflow.signing.wire import Reader, string

NAMESPACE = "casflow"
BEGIN = "-----BEGIN SSH SIGNATURE-----"
END = "-----END SSH SIGNATURE-----"
_MAGIC = b"SSHSIG"
_VERSION = 1
_HASHES = ("sha256", "sha512")
_LARGEST = 64 * 1024  # bytes of text
_LINE = 70  # characters of base64


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature.

    Attributes:
        key: Who signed, as the signature says.
        namespace: What it was made for.
        hash: Name of the hash of the message.
        raw: The signature of the key, in wire form.
        key_blob: The key or certificate in wire form, as it stands in the signature.
    """

    key: PublicKey
    namespace: str
    hash: str
    raw: bytes
    key_blob: bytes

    def signed(self, message: bytes) -> bytes:
        """Return the bytes that the key signed, if the message is this one."""
        return signed_bytes(message, self.namespace, self.hash)

    def to_text(self) -> str:
        """Return the text form, with a newline at its end."""
        parts = (self.key_blob, self.namespace.encode(), b"", self.hash.encode(), self.raw)
        data = _MAGIC + _VERSION.to_bytes(4, "big") + b"".join(map(string, parts))
        text = b64encode(data).decode()
        lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
        return "\n".join([BEGIN, *lines, END, ""])


def signed_bytes(message: bytes, namespace: str, hash_name: str) -> bytes:
    """Return what a key signs for a message."""
    digest = new_hash(hash_name, message).digest()
    parts = (namespace.encode(), b"", hash_name.encode(), digest)
    return _MAGIC + b"".join(map(string, parts))


def parse_signature(text: str) -> Signature:
    """Return the signature of its text form.

    Raises:
        IntegrityError: It is none.
    """
    if len(text) > _LARGEST:
        raise IntegrityError(f"a signature of {len(text)} characters")
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    first, last = (lines[0].rstrip("\r"), lines[-1].rstrip("\r")) if lines else ("", "")
    if (first, last) != (BEGIN, END):
        raise IntegrityError("not a signature of ssh-keygen")
    try:
        data = binascii.a2b_base64("".join(each.strip() for each in lines[1:-1]), strict_mode=True)
    except ValueError as error:  # also text that is not ASCII
        raise IntegrityError("a damaged signature") from error
    return _parse(data)


def _parse(data: bytes) -> Signature:
    reader = Reader(data)
    if reader.take(len(_MAGIC)) != _MAGIC or reader.number() != _VERSION:
        raise IntegrityError("not a signature of ssh-keygen")
    key_blob, namespace = reader.string(), reader.text()
    reader.string()  # reserved: not signed for what it says here, so nothing is read from it
    hash_name, raw = reader.text(), reader.string()
    reader.end()
    if hash_name not in _HASHES:
        raise IntegrityError(f"a signature with the unknown hash {hash_name[:40]!r}")
    return Signature(parse_key(key_blob), namespace, hash_name, raw, key_blob)
