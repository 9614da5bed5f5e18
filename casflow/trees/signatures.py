"""Signatures of versions and of the moves of tags in one store.

Owns how both are signed, and the question whether this machine's policy lets a name, or a tag of
it, mean what the store says. Invariant: what a signature says of a move is the number of its key,
not what the move claims of itself.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from casflow import signing
from casflow.blobs import layout
from casflow.trees.selected import counter_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from casflow.blobs.base import BlobStore
    from casflow.reference import Reference
    from casflow.signing import Move, Signed, SigningKey, Verifier
    from casflow.trees.selected import Selected


class Signatures:
    """What is signed of versions and moves in one store.

    Args:
        store: The store.
        verifier: Gives what holds names to this machine's policy; when left out nothing does.
    """

    def __init__(self, store: BlobStore, verifier: Callable[[], Verifier] | None = None) -> None:
        self._store = store
        self._verifier = verifier

    def verify(self, name: str | None, selected: Selected, tag: str | None = None) -> None:
        """Make sure that this machine's policy lets a name, or a tag of it, mean a reference.

        Args:
            name: The name that was asked for, or None for a bare digest.
            selected: What it led to.
            tag: The tag that was asked for.

        Raises:
            SignatureError: It does not.
        """
        if self._verifier is None:
            return
        verifier, reference = self._verifier(), selected.reference
        texts = partial(signing.read_signatures, self._store, reference.digest)
        if tag is None:
            remedy = f"sign it: casflow sign {reference.flow}@{reference.digest}"
            verifier.check(name, reference, texts, remedy)
            return
        verifier.check_move(
            self._store.url, str(name), reference, signed_move(selected, tag), texts
        )

    def newest_move(self, name: str, tag: str) -> int:
        """Return the number of the newest move of a tag that was seen on this machine, or 0."""
        if self._verifier is None:
            return 0
        return self._verifier().newest_move(self._store.url, name, tag)

    def sign(self, selected: Selected, key: SigningKey, tag: str | None = None) -> None:
        """Sign a version, or the move of a tag, unless the key has done so before.

        Args:
            selected: The version, or the move.
            key: The key.
            tag: The tag, when it is the move that is signed.
        """
        reference = selected.reference
        statement = signing.Statement.of(
            reference, None if tag is None else signed_move(selected, tag)
        )
        signed = signing.signed_anew(statement, key, self._read(reference))
        if signed is not None:
            self._write(signed, reference)

    def prepare(
        self, reference: Reference, key: SigningKey, move: Move | None = None
    ) -> Callable[[Reference], None]:
        """Sign what a reference will say; return what writes the signature beside its blob."""
        return partial(self._write, key.signed(signing.Statement.of(reference, move).now()))

    def find(self, selected: Selected, tag: str | None = None) -> list[Signed]:
        """Return the signatures of a version, or of the move of a tag; nobody checked them yet."""
        move = None if tag is None else signed_move(selected, tag)
        reference = selected.reference
        return signing.find_signatures(self._read(reference), signing.Statement.of(reference, move))

    def has_any(self) -> bool:
        """Tell whether anything in the store is signed."""
        return any(True for _ in self._store.list(layout.SIGNATURES))

    def carry(self, reference: Reference, other: Signatures, to: Reference) -> None:
        """Write what was signed of a reference beside the same one in another store."""
        content = signing.Statement.of(to)
        for signed in signing.readable_signatures(self._read(reference)):
            if signed.statement.content == content:
                other._write(signed, to)

    def _read(self, reference: Reference) -> list[bytes]:
        return signing.read_signatures(self._store, reference.digest)

    def _write(self, signed: Signed, reference: Reference) -> None:
        signing.write_signature(self._store, reference.blob, signed)


def signed_move(selected: Selected, tag: str) -> Move:
    """Return what a signature has to say of a move: the number of its key, not what it claims."""
    before = selected.reference.extra.get("before")
    return signing.Move(tag, counter_of(selected.key), None if before is None else str(before))
