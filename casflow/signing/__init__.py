"""Signatures on names and tags, and whom this machine trusts (docs/security.md).

Each name brings its module when it is first used: where nobody signs and no policy is set, nothing
of this is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from casflow.lazy import lazily

if TYPE_CHECKING:
    from casflow.signing.engines import SigningKey
    from casflow.signing.objects import (
        find_signatures,
        read_signatures,
        readable_signatures,
        signed_anew,
        write_signature,
    )
    from casflow.signing.statement import Move, Signed, Statement, same_statement
    from casflow.signing.verifier import Signer, Verifier, load_trust, signer_of, signers_of

__all__ = [
    "Move",
    "Signed",
    "Signer",
    "SigningKey",
    "Statement",
    "Verifier",
    "find_signatures",
    "load_trust",
    "read_signatures",
    "readable_signatures",
    "same_statement",
    "signed_anew",
    "signer_of",
    "signers_of",
    "write_signature",
]

_STATEMENT, _VERIFIER = "casflow.signing.statement", "casflow.signing.verifier"
_OBJECTS = "casflow.signing.objects"

__getattr__ = lazily(
    __name__,
    {
        "Move": _STATEMENT,
        "Signed": _STATEMENT,
        "Signer": _VERIFIER,
        "SigningKey": "casflow.signing.engines",
        "Statement": _STATEMENT,
        "Verifier": _VERIFIER,
        "find_signatures": _OBJECTS,
        "load_trust": _VERIFIER,
        "read_signatures": _OBJECTS,
        "readable_signatures": _OBJECTS,
        "same_statement": _STATEMENT,
        "signed_anew": _OBJECTS,
        "signer_of": _VERIFIER,
        "signers_of": _VERIFIER,
        "write_signature": _OBJECTS,
    },
)
