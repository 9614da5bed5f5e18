"""The content store: blobs by digest and the references to them, in any blob store.

Owns the writer's half of the protocol by which a collector cannot lose a flow (docs/gc.md);
how one reads is `casflow.blobs.reader`. Invariant: a reference is created only after every blob
that it names stands in the store under an incarnation that was not condemned when the writer began,
and within `DEADLINE` of that moment; no key of a reference is created twice.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace as replace_fields
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from casflow.blobs import layout
from casflow.blobs.concurrent import run_concurrently
from casflow.blobs.draft import Commit, Draft, Source, named
from casflow.blobs.format import claim_format
from casflow.blobs.reader import ContentReader
from casflow.digests import PREFIX
from casflow.errors import (
    ConfigError,
    ConflictError,
    NotFoundError,
    UnavailableError,
)
from casflow.reference import BlobName, Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from casflow.blobs.base import BlobStore, ObjectInfo

__all__ = [
    "DEADLINE",
    "SKEW",
    "Commit",
    "ContentStore",
    "Draft",
    "boottime",
    "clock_error",
    "named",
    "utcnow",
]

DEADLINE = 3600.0  # seconds from a writer's first look at a marker to its reference
SKEW = 300.0  # seconds that the clocks of a store and of this machine may differ by
_ATTEMPTS = 5


def boottime() -> float:
    """Return seconds on a clock that also counts while the machine sleeps, where there is one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def utcnow() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


class ContentStore(ContentReader):
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
        super().__init__(store)
        self._clock = clock
        self._now = now
        self._deadline = deadline

    def commit(
        self,
        draft: Draft,
        *,
        name: str | None = None,
        rewrite: bool = False,
        moment: datetime | None = None,
        prepare: Callable[[Reference], object] | None = None,
    ) -> Commit:
        """Store a draft's blobs and create a reference to them.

        Args:
            draft: What to store.
            name: A mutable key that shall hold the reference as well.
            rewrite: Write each blob again, also over one that seems to be there.
            moment: The moment that the first attempt's key shall say, of which no other key was
                made; the present one when left out.
            prepare: Is told of the reference before it is created, to write what belongs to it.

        Raises:
            ConfigError: This machine's clock is off the store's.
            IntegrityError: A blob that the draft only names is nowhere in the store.
            UnavailableError: The store kept failing, or every attempt outlasted the deadline.
        """
        names, sources = draft.names, draft.sources()
        for _ in range(_ATTEMPTS):
            started = self._clock()
            claim_format(self.store)
            supplies = {role: self._supply(blob, sources.get(role)) for role, blob in names.items()}
            stored = self._ensure_all(names, supplies, rewrite=rewrite)
            if self._late(started):
                continue
            blobs = {role: blob for role, (blob, _) in stored.items()}
            reference = draft.reference(moment or self._now(), blobs)
            moment = None
            key = layout.reference(reference.flow, datetime.fromisoformat(reference.created))
            if prepare is not None:
                prepare(reference)
            if not self._create_new(key, reference):
                continue
            if name is None or self._point(started, name, key, reference):
                return Commit(name or key, reference, sum(each for _, each in stored.values()))
        raise UnavailableError("could not store a flow in time", where=self.store.url)

    def ensure(self, source: Source) -> BlobName:
        """Store bytes that no reference names yet; gc takes them after its grace.

        Raises:
            UnavailableError: The store kept failing.
        """
        claim_format(self.store)
        return self._ensure(named(source), lambda: source)[0]

    def _supply(self, blob: BlobName, source: Source | None) -> Callable[[], Source]:
        return partial(self._read, blob) if source is None else lambda: source

    def copy(
        self,
        reference: Reference,
        key: str,
        *,
        supply: Callable[[BlobName], Source] | None = None,
        replace: bool = False,
        prepare: Callable[[Reference], object] | None = None,
    ) -> Reference:
        """Create a reference at another key to what one names: a pin, an entry of the trash.

        The copy names other incarnations where those of the original were condemned or lost.

        Args:
            reference: What to create again.
            key: Where.
            supply: Gives the verified bytes of a blob that must be written again; when left out,
                they are read from any incarnation in this store.
            replace: Write over what cannot be read at the key instead of creating a reference.
            prepare: Is told of the reference before it is created, to write what belongs to it.

        Raises:
            ConfigError: This machine's clock is off the store's.
            ConflictError: Another reference stands at the key, and `replace` was not asked for.
            IntegrityError: A blob must be written again, and its bytes are nowhere.
            UnavailableError: The store kept failing, or every attempt outlasted the deadline.
        """
        for _ in range(_ATTEMPTS):
            started = self._clock()
            copied = self._ensured(reference, supply or self._read)
            if self._late(started):
                continue
            if prepare is not None:
                prepare(copied)
            if self._create(key, copied, replace=replace):
                return copied
        raise UnavailableError("could not store a reference in time", where=self.store.url)

    def renew(
        self, reference: Reference, *, supply: Callable[[BlobName], Source] | None = None
    ) -> Commit:
        """Create a live reference of now to what one names, under a key that was never used.

        Args:
            reference: What to create again.
            supply: As for `copy`.

        Raises:
            CasflowError: As `copy` does.
        """
        for _ in range(_ATTEMPTS):
            started = self._clock()
            copied = self._ensured(reference, supply or self._read)
            if self._late(started):
                continue
            now = self._now()
            copied = replace_fields(copied, created=now.isoformat(timespec="microseconds"))
            key = layout.reference(copied.flow, now)
            if self._create_new(key, copied):
                return Commit(key, copied)
        raise UnavailableError("could not store a reference in time", where=self.store.url)

    def _ensured(self, reference: Reference, supply: Callable[[BlobName], Source]) -> Reference:
        names = {"": reference.blob, **reference.attachments}
        supplies = {role: partial(supply, blob) for role, blob in names.items()}
        blobs = {role: blob for role, (blob, _) in self._ensure_all(names, supplies).items()}
        if blobs[""].incarnation != reference.blob.incarnation:
            self._carry_signatures(reference.blob, blobs[""])
        return replace_fields(reference, blob=blobs.pop(""), attachments=blobs)

    def _carry_signatures(self, before: BlobName, after: BlobName) -> None:
        """Let what was signed of one incarnation of a blob be signed of another one, too."""
        for info in self.store.list(layout.signatures(before.digest)):
            if layout.parse_signature(info.key) == (before.digest, before.incarnation):
                own = PREFIX + info.key.rpartition("/")[2]
                with suppress(ConflictError, NotFoundError):
                    data = self.store.get(info.key)
                    self.store.create(layout.signature(after.digest, after.incarnation, own), data)

    def _ensure_all(
        self,
        names: Mapping[str, BlobName],
        supplies: Mapping[str, Callable[[], Source]],
        *,
        rewrite: bool = False,
    ) -> dict[str, tuple[BlobName, int]]:
        """Make sure that blobs stand under incarnations that nobody condemned.

        Equal blobs are written once. All are looked at together, then all that are missing are
        written together; a condemned incarnation costs one more round.
        """
        distinct = {blob.digest: (blob, supplies[role]) for role, blob in names.items()}
        calls = [
            partial(self._ensure, blob, source, rewrite=rewrite)
            for blob, source in distinct.values()
        ]
        stored = dict(zip(distinct, run_concurrently(*calls), strict=True))
        counted: set[str] = set()
        found = {}
        for role, blob in names.items():
            name, uploaded = stored[blob.digest]
            found[role] = name, 0 if blob.digest in counted else uploaded
            counted.add(blob.digest)
        return found

    def _ensure(
        self, blob: BlobName, source: Callable[[], Source], *, rewrite: bool = False
    ) -> tuple[BlobName, int]:
        """Make sure that a blob stands under an incarnation that nobody condemned."""
        incarnation = 0
        while True:
            marker, present = self._head_pair(blob.digest, incarnation)
            if marker is None:
                break
            incarnation += 1  # condemned: the next incarnation is ours to write
        name, key = (
            BlobName(blob.digest, incarnation, blob.size),
            layout.blob(blob.digest, incarnation),
        )
        if present is not None and (rewrite or present.size != blob.size):
            self.store.put(key, source())  # right bytes over wrong ones heal every reference
            return name, blob.size
        if present is not None:
            return name, 0
        try:
            self.store.create(key, source())
        except ConflictError:  # somebody else won, with the same bytes
            return name, 0
        return name, blob.size

    def _create_new(self, key: str, reference: Reference) -> bool:
        """Create a reference at a key of this moment, unless another one has the same."""
        with suppress(ConflictError):
            return self._create(key, reference)
        return False

    def _create(self, key: str, reference: Reference, *, replace: bool = False) -> bool:
        """Create a reference; tell whether it is settled, and take it back if it is not.

        One of the same bytes may stand there already: ours, whose answer was lost, or another's.

        Raises:
            ConfigError: This machine's clock is off the store's; the reference was taken back.
            ConflictError: Another reference stands at the key, and `replace` was not asked for.
        """
        data, sent = reference.to_bytes(), self._now()
        is_dated = layout.is_reference(key)  # then nobody else writes these bytes there
        try:
            self.store.put(key, data) if replace else self.store.create(key, data)
        except ConflictError as error:
            if not self._holds(key, data):
                what = "another reference is there"
                raise ConflictError(what, where=self.store.location(key)) from error
        written, settled = self._look_back(key, reference)
        off = clock_error(sent, self._now(), written) if written and is_dated else 0.0
        if (off or not settled) and not replace and self._holds(key, data):
            self.store.delete(key)
        if off:
            what = f"this machine's clock is {off:+.0f} seconds off the store's"
            raise ConfigError(what, where=self.store.url, hint="set the clock")
        return settled

    def is_settled(self, key: str, reference: Reference) -> bool:
        """Tell whether a reference stands at a key and no collector can take what it names.

        A collector deletes a blob when its marker is older than four deadlines, and reads the
        references after that: it has seen each that came earlier. So the same is found whenever
        one asks, and by whoever does: who finds that another's reference is settled may rely on it.
        """
        return self._look_back(key, reference)[1]

    def _look_back(self, key: str, reference: Reference) -> tuple[ObjectInfo | None, bool]:
        blobs = {(each.digest, each.incarnation) for each in reference.blobs()}
        looks = [partial(self.store.find, layout.marker(*each)) for each in blobs]
        written, *found = run_concurrently(partial(self.store.find, key), *looks)
        if written is None:
            return None, False
        markers = [each for each in found if each is not None]
        in_time = all(written.modified < each.modified + 4 * self._deadline for each in markers)
        stand = not markers or all(self._is_readable(each) for each in reference.blobs())
        return written, in_time and stand

    def _holds(self, key: str, data: bytes) -> bool:
        try:
            return self.store.get(key) == data
        except NotFoundError:
            return False

    def _point(self, started: float, name: str, key: str, reference: Reference) -> bool:
        """Let a mutable name hold what a settled reference says; the collector must know it first.

        What a name holds is never taken back: a newer registration may have been written over it.
        """
        entry = layout.name(name)
        if self.store.find(entry) is None:
            self.store.put(entry, b"")
        if self._late(started):
            return False
        self.store.put(name, reference.to_bytes())
        return not self._late(started) or self.store.find(key) is not None

    def _late(self, started: float) -> bool:
        return self._clock() - started > self._deadline


def clock_error(before: datetime, after: datetime, written: ObjectInfo) -> float:
    """Return the seconds by which this machine's clock is off a store's; 0 when it is near enough.

    Args:
        before: The moment before an object was written, by this machine's clock.
        after: The same after it.
        written: The object.
    """
    ahead = max(before.timestamp() - written.modified, 0.0)
    behind = min(after.timestamp() - written.modified, 0.0)
    off = ahead + behind
    return off if abs(off) > SKEW else 0.0
