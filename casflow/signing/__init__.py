"""Who said so: signatures on names and tags, and whom this machine trusts (docs/security.md)."""

from __future__ import annotations

from casflow.signing.engines import SigningKey
from casflow.signing.objects import signed_anew
from casflow.signing.statement import Move, Signed, Statement
from casflow.signing.verifier import Signer, Verifier, signers_of

__all__ = [
    "Move",
    "Signed",
    "Signer",
    "SigningKey",
    "Statement",
    "Verifier",
    "signed_anew",
    "signers_of",
]
