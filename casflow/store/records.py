"""What a store answers with.

Owns the two records of the public door. Invariant: they are plain values that can be compared,
pickled and printed; they hold no connection and no secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from casflow.digests import hex_of
from casflow.errors import IntegrityError
from casflow.trees.selected import BYTES, FILES, count_of, number_of

if TYPE_CHECKING:
    from casflow.reference import Reference
    from casflow.trees.selected import Selected


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes in a store.

    Attributes:
        digest: Their digest, by which `Store.get` returns them.
        size: How many they are.
        name: The name that they were put under, or None.
        version: Number of the version of that name, or None.
    """

    digest: str
    size: int
    name: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a name in a store.

    Attributes:
        name: The name.
        version: Its number; the versions of a name count from 1 in each store. 0 for a flow that
            was stored without a number.
        digest: Digest of its content.
        created: When it was pushed, by the clock of whoever pushed it.
        tags: Tags that name it now, sorted; filled in by `resolve` and `versions`.
        labels: Its labels, sorted.
        files: How many files and links its tree holds; None for another thing.
        bytes: How many bytes they have together; None for another thing.
        is_new: Whether the push that returns this made it.
        uploaded: Bytes that this push had to write.
        reference: What the store says of it.
        key: Where the store says so.
    """

    name: str
    version: int
    digest: str
    created: datetime
    tags: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    is_new: bool = field(default=False, compare=False)
    uploaded: int = field(default=0, compare=False)
    reference: Reference | None = field(default=None, repr=False, compare=False)
    key: str = field(default="", repr=False, compare=False)
    files: int | None = field(default=None, compare=False)
    bytes: int | None = field(default=None, compare=False)

    @property
    def path_safe(self) -> str:
        """The digest in a form that can be part of a path: `blake3-` and 64 digits."""
        return f"blake3-{hex_of(self.digest)}"

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "version": self.version,
            "digest": self.digest,
            "created": self.created.isoformat(),
            "tags": list(self.tags),
            "labels": list(self.labels),
            "files": self.files,
            "bytes": self.bytes,
        }


def version_of(selected: Selected, tags: tuple[str, ...] = ()) -> Version:
    """Return what a reference says of a version.

    Raises:
        IntegrityError: It does not say when it was made.
    """
    reference = selected.reference
    try:
        created = datetime.fromisoformat(reference.created)
    except ValueError as error:
        raise IntegrityError("a reference without a time", where=selected.key) from error
    return Version(
        reference.flow,
        number_of(reference),
        reference.digest,
        created,
        tags,
        reference.labels,
        files=count_of(reference, FILES),
        bytes=count_of(reference, BYTES),
        reference=reference,
        key=selected.key,
    )
