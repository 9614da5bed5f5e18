"""Signatures in a store: objects of their own beside the blob that they speak of.

Owns how they are written, found and carried. Invariant: each is created under a key that names the
blob's incarnation and the signature's own digest, and never changed; so it goes with that
incarnation when gc takes it, keeps nothing alive, and no decision of a collector concerns a later
one (docs/gc.md).
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from casflow.blobs import layout
from casflow.blobs.concurrent import run_concurrently
from casflow.digests import digest_of
from casflow.errors import AccessError, ConflictError, IntegrityError, NotFoundError
from casflow.signing.engines import is_right
from casflow.signing.statement import LARGEST, Signed, Statement

if TYPE_CHECKING:
    from collections.abc import Iterable

    from casflow.blobs.base import BlobStore, ObjectInfo
    from casflow.reference import BlobName
    from casflow.signing.engines import SigningKey

MOST = 256  # signatures of one digest that are looked at


def write_signature(store: BlobStore, blob: BlobName, signed: Signed) -> str:
    """Write a signature of what a blob holds; return its key.

    Args:
        store: The store.
        blob: The blob, whose incarnation stands in the store.
        signed: The signature.
    """
    data = signed.to_bytes()
    key = layout.signature(blob.digest, blob.incarnation, digest_of(data))
    with suppress(ConflictError):  # the same bytes
        store.create(key, data)
    return key


def read_signatures(store: BlobStore, digest: str) -> list[bytes]:
    """Return the signatures that speak of a digest, not checked yet, of all its incarnations.

    Raises:
        AccessError: There are too many to look at.
    """
    infos = list(_bounded(store, digest))
    fitting = [info.key for info in infos if 0 < info.size <= LARGEST]
    found: list[bytes] = []
    for start in range(0, len(fitting), max(store.parallel, 1)):
        calls = [partial(_get, store, key) for key in fitting[start : start + store.parallel]]
        found += [each for each in run_concurrently(*calls) if each is not None]
    return found


def _bounded(store: BlobStore, digest: str) -> Iterable[ObjectInfo]:
    for count, info in enumerate(store.list(layout.signatures(digest))):
        if count >= MOST:
            hint = "remove those that are not yours"
            where = store.location(layout.signatures(digest))
            raise AccessError(f"more than {MOST} signatures of one digest", where=where, hint=hint)
        yield info


def _get(store: BlobStore, key: str) -> bytes | None:
    try:
        return store.get(key)
    except NotFoundError:  # gc took it with its blob
        return None


def readable_signatures(texts: Iterable[bytes]) -> list[Signed]:
    """Return those of some signatures that can be read."""
    found = []
    for text in texts:
        with suppress(IntegrityError):
            found.append(Signed.from_bytes(text))
    return found


def find_signatures(texts: Iterable[bytes], statement: Statement) -> list[Signed]:
    """Return those signatures that can be read and say what a statement does, whenever it was."""
    return [
        each for each in readable_signatures(texts) if each.statement.subject == statement.subject
    ]


def signed_anew(statement: Statement, key: SigningKey, texts: Iterable[bytes]) -> Signed | None:
    """Return a statement signed by a key, or None when one of some signatures is that already.

    Raises:
        AccessError: The key refuses.
    """
    signed = key.signed(statement.now())
    mine = signed.signature.key.blob
    for other in find_signatures(texts, statement):
        if other.signature.key.blob == mine and is_right(other):
            return None
    return signed
