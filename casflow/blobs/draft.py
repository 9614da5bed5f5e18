"""What a registration hands to a content store, and what it gets back.

Owns the two records of a commit. Invariant: neither knows a store; a draft names its blobs by
digest alone until a store gives them incarnations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casflow.digests import digest_of, digest_of_file
from casflow.reference import BlobName, Reference

if TYPE_CHECKING:
    from collections.abc import Mapping

Source = bytes | Path


@dataclass(frozen=True)
class Draft:
    """What one registration wants to have stored.

    Attributes:
        flow: Name of the flow.
        data: The flow's bytes, or the file that holds them.
        media_type: `casflow.reference.PICKLE` or `SCRIPT`.
        labels: Labels of the registration, sorted.
        attachments: Further blobs by role: bytes, a file, or the name of a blob that stands in the
            store already.
        environment: Versions that the flow was built with.
        project: Project of the registration.
        extra: Further keys of the reference.
    """

    flow: str
    data: Source
    media_type: str
    labels: tuple[str, ...] = ()
    attachments: Mapping[str, Source | BlobName] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    project: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def reference(self, created: datetime, blobs: Mapping[str, BlobName]) -> Reference:
        """Return the reference to this draft, whose blobs stand in a store already."""
        return Reference(
            flow=self.flow,
            blob=blobs[""],
            media_type=self.media_type,
            created=created.isoformat(timespec="microseconds"),
            labels=self.labels,
            attachments={role: blobs[role] for role in self.attachments},
            environment=self.environment,
            project=self.project,
            extra=self.extra,
        )

    def sources(self) -> dict[str, Source]:
        """Return the bytes to store, by role; the flow's own have the empty role."""
        given = {"": self.data, **self.attachments}
        return {role: each for role, each in given.items() if not isinstance(each, BlobName)}

    @cached_property
    def names(self) -> dict[str, BlobName]:
        """The names that all blobs have before a store gives them incarnations; computed once."""
        return {role: named(each) for role, each in {"": self.data, **self.attachments}.items()}

    def preview(self) -> Reference:
        """Return the reference that this draft would have, to compare with one that exists."""
        return self.reference(datetime.min.replace(tzinfo=UTC), self.names)


@dataclass(frozen=True, slots=True)
class Commit:
    """A reference in a store.

    Attributes:
        key: Where it stands.
        reference: What it says.
        uploaded: Bytes of blobs that had to be written for it.
    """

    key: str
    reference: Reference
    uploaded: int = 0


def named(source: Source | BlobName) -> BlobName:
    """Return the name that bytes have before a store gives them an incarnation."""
    if isinstance(source, BlobName):
        return source
    if isinstance(source, bytes):
        return BlobName(digest_of(source), 0, len(source))
    return BlobName(digest_of_file(source), 0, source.stat().st_size)
