"""The content store: blobs by digest and the references to them, in any blob store.

Owns the writer's half of the protocol by which a collector cannot lose a flow (docs/gc.md).
Invariant: a reference is created only after every blob that it names stands in the store under an
incarnation that was not condemned when the writer began, and within `DEADLINE` of that moment.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from casflow.blobs import layout
from casflow.digests import digest_of, digest_of_file
from casflow.errors import ConflictError, IntegrityError, NotFoundError, UnavailableError
from casflow.reference import FORMAT, BlobName, Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from casflow.blobs.base import BlobStore, ObjectInfo

DEADLINE = 3600.0  # seconds from a writer's first look at a marker to its reference
_ATTEMPTS = 5

Source = bytes | Path


def boottime() -> float:
    """Return seconds on a clock that also counts while the machine sleeps, where there is one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def utcnow() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Draft:
    """What one registration wants to have stored.

    Attributes:
        flow: Name of the flow.
        data: The flow's bytes, or the file that holds them.
        media_type: `casflow.reference.PICKLE` or `SCRIPT`.
        labels: Labels of the registration, sorted.
        attachments: Bytes of further blobs, by role.
        environment: Versions that the flow was built with.
    """

    flow: str
    data: Source
    media_type: str
    labels: tuple[str, ...] = ()
    attachments: Mapping[str, bytes] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)

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
        )

    def sources(self) -> dict[str, Source]:
        """Return all that is to be stored, by role; the flow's own bytes have the empty role."""
        return {"": self.data, **self.attachments}

    def preview(self) -> Reference:
        """Return the reference that this draft would have, to compare with one that exists."""
        blobs = {role: named(source) for role, source in self.sources().items()}
        return self.reference(datetime.min.replace(tzinfo=UTC), blobs)


@dataclass(frozen=True, slots=True)
class Committed:
    """A reference in a store.

    Attributes:
        key: Where it stands.
        reference: What it says.
        uploaded: Bytes of blobs that had to be written for it.
    """

    key: str
    reference: Reference
    uploaded: int = 0


def named(source: Source) -> BlobName:
    """Return the name that bytes have before a store gives them an incarnation."""
    if isinstance(source, bytes):
        return BlobName(digest_of(source), 0, len(source))
    return BlobName(digest_of_file(source), 0, source.stat().st_size)


class ContentStore:
    """Blobs by digest and references, in one blob store.

    Args:
        store: Where the objects are.
        clock: Seconds that never run slower than real time, for the deadline.
        now: The present moment, for keys.
        deadline: Seconds that a writer may take; a collector's grace must be over four times it.
    """

    def __init__(
        self,
        store: BlobStore,
        *,
        clock: Callable[[], float] = boottime,
        now: Callable[[], datetime] = utcnow,
        deadline: float = DEADLINE,
    ) -> None:
        self.store = store
        self._clock = clock
        self._now = now
        self._deadline = deadline

    # ---- writing ---------------------------------------------------------------------------

    def commit(self, draft: Draft, *, name: str | None = None) -> Committed:
        """Store a draft's blobs and create a reference to them.

        Args:
            draft: What to store.
            name: A mutable key that shall hold the reference as well.

        Raises:
            UnavailableError: The store kept failing, or every attempt outlasted the deadline.
        """
        sources = draft.sources()
        for _ in range(_ATTEMPTS):
            started = self._clock()
            self._claim_format()
            stored = {role: self._ensure(source) for role, source in sources.items()}
            if self._late(started):
                continue
            blobs = {role: blob for role, (blob, _) in stored.items()}
            reference = draft.reference(self._now(), blobs)
            key = self._create(reference)
            if key is None or not self._safe(started, key, reference):
                continue
            if name is not None:
                self._point(name, reference)
            return Committed(name or key, reference, sum(each for _, each in stored.values()))
        raise UnavailableError("could not store a flow in time", where=self.store.url)

    def _ensure(self, source: Source) -> tuple[BlobName, int]:
        """Make sure that a blob stands under an incarnation that nobody condemned."""
        blob = named(source)
        incarnation = 0
        while True:
            marker, present = self._look(blob.digest, incarnation)
            if marker is None and (present is None or present.size == blob.size):
                break
            incarnation += 1  # condemned, or damaged: the next incarnation is ours to write
        name = BlobName(blob.digest, incarnation, blob.size)
        if present is not None:
            return name, 0
        try:
            self.store.create(layout.blob(blob.digest, incarnation), source)
        except ConflictError:  # somebody else won, with the same bytes
            return name, 0
        return name, blob.size

    def _look(self, digest: str, incarnation: int) -> tuple[ObjectInfo | None, ObjectInfo | None]:
        keys = (layout.marker(digest, incarnation), layout.blob(digest, incarnation))
        with ThreadPoolExecutor(len(keys)) as pool:
            marker, present = pool.map(self.store.find, keys)
        return marker, present

    def _create(self, reference: Reference) -> str | None:
        """Create a reference and return its key; None when the key is another's."""
        key = layout.reference(reference.flow, datetime.fromisoformat(reference.created))
        data = reference.to_bytes()
        try:
            self.store.create(key, data)
        except ConflictError:
            if self.store.get(key) != data:  # else our own write, whose answer was lost
                return None
        return key

    def _safe(self, started: float, key: str, reference: Reference) -> bool:
        """Tell whether a new reference may stand; take it back when it may not."""
        blobs = reference.blobs()
        markers = (layout.marker(each.digest, each.incarnation) for each in blobs)
        if not self._late(started) and all(self.store.find(each) is None for each in markers):
            return True
        if all(self._stands(each) for each in blobs):
            return True
        self.store.delete(key)
        return False

    def _point(self, name: str, reference: Reference) -> None:
        """Let a mutable name hold a reference; the collector must know the name first."""
        entry = layout.name(name)
        if self.store.find(entry) is None:
            self.store.put(entry, b"")
        self.store.put(name, reference.to_bytes())

    def _late(self, started: float) -> bool:
        return self._clock() - started > self._deadline

    def _claim_format(self) -> None:
        """Write the format's number into a new store; refuse a store of another format."""
        try:
            found = self.store.get(layout.FORMAT)
        except NotFoundError:
            mine = json.dumps({"format": FORMAT}).encode() + b"\n"
            try:
                self.store.create(layout.FORMAT, mine)
            except ConflictError:
                return
            return
        if _format_of(found) != FORMAT:
            hint = f"this casflow writes format {FORMAT}; use a newer one"
            where = self.store.location(layout.FORMAT)
            raise IntegrityError("a store of unknown format", where=where, hint=hint)

    # ---- reading ---------------------------------------------------------------------------

    def get_reference(self, key: str) -> Reference:
        """Return the reference at a key.

        Raises:
            NotFoundError: There is none.
            IntegrityError: It cannot be read.
        """
        return Reference.from_bytes(self.store.get(key), where=self.store.location(key))

    def reference_keys(self, flow: str) -> list[str]:
        """Return the keys in a flow's folder, oldest first; flows of one slug share it."""
        infos = self.store.list(layout.folder(flow))
        return [info.key for info in infos if layout.is_reference(info.key)]

    def find_latest(self, flow: str) -> Committed | None:
        """Return the newest reference of a flow, or None when it has none."""
        for key in reversed(self.reference_keys(flow)):
            reference = self.get_reference(key)
            if reference.flow == flow:
                return Committed(key, reference)
        return None

    def has(self, blob: BlobName) -> bool:
        """Tell whether a blob stands in the store with the right size, in any incarnation."""
        return self._stands(blob) or any(
            each.size == blob.size for each in self._incarnations(blob)
        )

    def _stands(self, blob: BlobName) -> bool:
        present = self.store.find(layout.blob(blob.digest, blob.incarnation))
        return present is not None and present.size == blob.size

    def copy_to(self, blob: BlobName, target: BinaryIO) -> str:
        """Write a blob's bytes, not verified yet, to a file; return where they came from.

        Raises:
            IntegrityError: No incarnation of the blob is left.
        """
        key = layout.blob(blob.digest, blob.incarnation)
        try:
            self.store.copy_to(key, target)
        except NotFoundError:  # before the first byte, by the store's contract
            return self._copy_other(blob, target)
        return self.store.location(key)

    def _copy_other(self, blob: BlobName, target: BinaryIO) -> str:
        for info in self._incarnations(blob):
            self.store.copy_to(info.key, target)
            return self.store.location(info.key)
        where = self.store.location(layout.blob(blob.digest, blob.incarnation))
        hint = "run `casflow verify` on the store"
        raise IntegrityError(
            "a blob is missing", where=where, expected=blob.digest, actual="nothing", hint=hint
        )

    def _incarnations(self, blob: BlobName) -> Iterator[ObjectInfo]:
        return self.store.list(layout.blob_prefix(blob.digest))


def _format_of(data: bytes) -> object:
    try:
        return json.loads(data)["format"]
    except (ValueError, TypeError, KeyError):
        return None
