"""Whether what is signed in a store is signed rightly, and what needs to be is.

Owns the check of a whole store that `casflow verify --signatures` makes. Invariant: it writes
nothing into the store; trust and policy are this machine's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from casflow.blobs import layout
from casflow.digests import PREFIX, digest_of
from casflow.errors import IntegrityError, NotFoundError, SignatureError
from casflow.gc.scan import Scan
from casflow.gc.verify import Finding
from casflow.signing import Signed, Verifier, load_trust, signer_of
from casflow.signing.statement import LARGEST
from casflow.trees.selected import Selected
from casflow.trees.signatures import Signatures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casflow.blobs.base import BlobStore
    from casflow.cache import Cache
    from casflow.config import Config
    from casflow.gc.scan import Found
    from casflow.signing.verifier import Trust


def find_bad_signatures(store: BlobStore, cache: Cache, settings: Config) -> Iterator[Finding]:
    """Yield each signature that does not count, and each name that needs one and has it not.

    Args:
        store: The store.
        cache: Where it is remembered what passed.
        settings: Whom this machine trusts, and its policy.

    Raises:
        CasflowError: The store refused or failed, or the trusted keys cannot be read.
    """
    trust, scan = load_trust(settings), Scan(store)
    for key, digest, _ in scan.signatures():
        finding = _check(store, key, digest, trust)
        if finding is not None:
            yield finding
    signatures = Signatures(store, lambda: Verifier(cache, settings))
    for found in (*scan.live(), *scan.named(), *scan.tags(), *scan.pins()):
        finding = _check_name(signatures, found)
        if finding is not None:
            yield finding


def _check(store: BlobStore, key: str, digest: str, trust: Trust) -> Finding | None:
    try:
        data = store.get_range(key, 0, LARGEST + 1)
    except NotFoundError:  # it went with its blob meanwhile
        return None
    try:
        signed = Signed.from_bytes(data)
        signer_of(signed, trust)
    except IntegrityError as error:
        return Finding("unreadable", key, digest, remedy=f"{error.what}; remove it")
    except SignatureError as error:
        remedy = f"{error.what}; remove it, or trust the key"
        return Finding(error.reason, key, digest, signed.statement.name, remedy=remedy)
    if digest_of(data) != PREFIX + key.rpartition("/")[2] or signed.statement.digest != digest:
        return Finding("altered", key, digest, remedy="it belongs at another key; remove it")
    return None


def _check_name(signatures: Signatures, found: Found) -> Finding | None:
    reference = found.reference
    moved = layout.parse_tag_move(found.key)
    tag = None if moved is None else moved[0].split("/")[-2]
    try:
        signatures.verify(reference.flow, Selected(found.key, reference), tag)
    except SignatureError as error:
        remedy = error.hint or error.what
        return Finding(error.reason, found.key, reference.digest, reference.flow, remedy=remedy)
    return None
