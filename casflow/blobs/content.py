"""The content store: blobs by digest and the references to them, in any blob store.

Owns the writer's half of the protocol by which a collector cannot lose a flow (docs/gc.md).
Invariant: a reference is created only after every blob that it names stands in the store under an
incarnation that was not condemned when the writer began, and within `DEADLINE` of that moment.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace as replace_fields
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

from casflow.blobs import layout
from casflow.blobs.concurrent import run_concurrently
from casflow.blobs.draft import Commit, Draft, Source, named
from casflow.digests import verify
from casflow.errors import ConflictError, IntegrityError, NotFoundError, UnavailableError
from casflow.reference import FORMAT, BlobName, Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from casflow.blobs.base import BlobStore, ObjectInfo

__all__ = [
    "DEADLINE",
    "Commit",
    "ContentStore",
    "Draft",
    "boottime",
    "check_format",
    "named",
    "utcnow",
]

DEADLINE = 3600.0  # seconds from a writer's first look at a marker to its reference
_ATTEMPTS = 5


def boottime() -> float:
    """Return seconds on a clock that also counts while the machine sleeps, where there is one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def utcnow() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


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

    def commit(self, draft: Draft, *, name: str | None = None) -> Commit:
        """Store a draft's blobs and create a reference to them.

        Args:
            draft: What to store.
            name: A mutable key that shall hold the reference as well.

        Raises:
            UnavailableError: The store kept failing, or every attempt outlasted the deadline.
        """
        names, sources = draft.names, draft.sources()
        for _ in range(_ATTEMPTS):
            started = self._clock()
            self.claim_format()
            supplies = {role: self._supply(blob, sources.get(role)) for role, blob in names.items()}
            calls = [partial(self._ensure, blob, supplies[role]) for role, blob in names.items()]
            stored = dict(zip(names, run_concurrently(*calls), strict=True))
            if self._late(started):
                continue
            blobs = {role: blob for role, (blob, _) in stored.items()}
            reference = draft.reference(self._now(), blobs)
            key = layout.reference(reference.flow, datetime.fromisoformat(reference.created))
            if not (self._create(key, reference) and self._safe(started, key, reference)):
                continue
            if name is None or self._point(started, name, reference):
                return Commit(name or key, reference, sum(each for _, each in stored.values()))
        raise UnavailableError("could not store a flow in time", where=self.store.url)

    def ensure(self, source: Source) -> BlobName:
        """Store bytes that no reference names yet; gc takes them after its grace.

        Raises:
            UnavailableError: The store kept failing.
        """
        self.claim_format()
        blob = named(source)
        return self._ensure(blob, lambda: source)[0]

    def _supply(self, blob: BlobName, source: Source | None) -> Callable[[], Source]:
        return partial(self._read, blob) if source is None else lambda: source

    def copy(
        self,
        reference: Reference,
        key: str,
        *,
        supply: Callable[[BlobName], Source] | None = None,
        replace: bool = False,
    ) -> Reference:
        """Create a reference at another key to what one names: a pin, a restored flow.

        The copy names other incarnations where those of the original were condemned or lost.

        Args:
            reference: What to create again.
            key: Where.
            supply: Gives the verified bytes of a blob that must be written again; when left out,
                they are read from any incarnation in this store.
            replace: Write over the reference at the key instead of creating one.

        Raises:
            ConflictError: Another reference stands at the key, and `replace` was not asked for.
            IntegrityError: A blob must be written again, and its bytes are nowhere.
            UnavailableError: The store kept failing, or every attempt outlasted the deadline.
        """
        supply = supply or self._read
        for _ in range(_ATTEMPTS):
            started = self._clock()
            copied = _renamed(reference, lambda blob: self._ensure(blob, lambda: supply(blob))[0])
            if self._late(started):
                continue
            if replace:
                self.store.put(key, copied.to_bytes())
            elif not self._create(key, copied):
                raise ConflictError("another reference is there", where=self.store.location(key))
            if self._safe(started, key, copied):
                return copied
        raise UnavailableError("could not store a reference in time", where=self.store.url)

    def _read(self, blob: BlobName) -> bytes:
        memory = BytesIO()
        where = self.copy_to(blob, memory)
        verify(memory.getbuffer(), blob.digest, where=where)
        return memory.getvalue()

    def _ensure(self, blob: BlobName, source: Callable[[], Source]) -> tuple[BlobName, int]:
        """Make sure that a blob stands under an incarnation that nobody condemned."""
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
            self.store.create(layout.blob(blob.digest, incarnation), source())
        except ConflictError:  # somebody else won, with the same bytes
            return name, 0
        return name, blob.size

    def _look(self, digest: str, incarnation: int) -> tuple[ObjectInfo | None, ObjectInfo | None]:
        marker, present = run_concurrently(
            lambda: self.store.find(layout.marker(digest, incarnation)),
            lambda: self.store.find(layout.blob(digest, incarnation)),
        )
        return marker, present

    def _create(self, key: str, reference: Reference) -> bool:
        """Create a reference; tell whether it is ours."""
        data = reference.to_bytes()
        try:
            self.store.create(key, data)
        except ConflictError:
            return self._holds(key, data)  # our own write, whose answer was lost?
        return True

    def _safe(self, started: float, key: str, reference: Reference) -> bool:
        """Tell whether a new reference may stand; take it back when it may not.

        In time it may, also if a marker appeared since: no collector deletes what it names before
        it saw it. A late one may only if its blobs were not condemned after it became visible.
        """
        late = self._late(started)
        blobs = reference.blobs()
        markers = (layout.marker(each.digest, each.incarnation) for each in blobs)
        condemned = any(self.store.find(each) is not None for each in markers)
        if not (late or condemned):
            return True
        if not (late and condemned) and all(self._stands(each) for each in blobs):
            return True
        if self._holds(key, reference.to_bytes()):
            self.store.delete(key)
        return False

    def _holds(self, key: str, data: bytes) -> bool:
        try:
            return self.store.get(key) == data
        except NotFoundError:
            return False

    def _point(self, started: float, name: str, reference: Reference) -> bool:
        """Let a mutable name hold a reference; the collector must know the name first."""
        entry = layout.name(name)
        if self.store.find(entry) is None:
            self.store.put(entry, b"")
        if self._late(started):
            return False
        self.store.put(name, reference.to_bytes())
        return self._safe(started, name, reference)

    def _late(self, started: float) -> bool:
        return self._clock() - started > self._deadline

    def claim_format(self) -> None:
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
        check_format(found, where=self.store.location(layout.FORMAT))

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

    def find_latest(self, flow: str) -> Commit | None:
        """Return the newest reference of a flow, or None when it has none."""
        for key in reversed(self.reference_keys(flow)):
            reference = self.get_reference(key)
            if reference.flow == flow:
                return Commit(key, reference)
        return None

    def has(self, blob: BlobName) -> bool:
        """Tell whether a blob stands in the store with the right size, in any incarnation."""
        return self._stands(blob) or any(
            each.size == blob.size for each in self._incarnations(blob)
        )

    def find_blob(self, digest: str) -> ObjectInfo:
        """Return what is known of an incarnation of a blob.

        Raises:
            NotFoundError: There is none.
        """
        for info in self.store.list(layout.blob_prefix(digest)):
            return info
        raise NotFoundError("no such blob", where=f"{digest} in {self.store.url}")

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
            self.store.copy_to(key, target, blob.size)
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


def _renamed(reference: Reference, rename: Callable[[BlobName], BlobName]) -> Reference:
    attachments = {role: rename(each) for role, each in reference.attachments.items()}
    return replace_fields(reference, blob=rename(reference.blob), attachments=attachments)


def check_format(data: bytes, *, where: object) -> None:
    """Check what a store says of its format.

    Raises:
        IntegrityError: It is another than this casflow's.
    """
    try:
        known = json.loads(data)["format"] == FORMAT
    except (ValueError, TypeError, KeyError):
        known = False
    if not known:
        hint = f"this casflow uses format {FORMAT}; use a newer one"
        raise IntegrityError("a store of unknown format", where=where, hint=hint)
