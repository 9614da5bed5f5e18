"""How much a store holds, and how much of it twice.

Owns the figures. Invariant: logical bytes are what references name, each counted, those in the
trash too; stored bytes are what the blobs take; the dedup factor is the first over the second
without the garbage, so it is never below 1 because something waits to be collected.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from casflow.gc.digest_set import DigestSet
from casflow.gc.reports import Amount
from casflow.gc.scan import Scan, name_of
from casflow.gc.verify import orphaned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from casflow.blobs.base import BlobStore, ObjectInfo
    from casflow.gc.scan import Found


@dataclass(frozen=True, slots=True)
class Stats:
    """The figures of a store.

    Attributes:
        store: Its URL.
        flows: Flows that have a live reference.
        references: Live references.
        named: Mutable keys that hold a reference.
        pins: Pins.
        trashed: References in the trash.
        leases: Leases.
        tags: Tags.
        foreign: Objects of other programs under keys of references.
        results: Values of tasks, and their bytes.
        unreadable: References that cannot be read.
        logical: Bytes of all blobs that references name, each reference counted.
        stored: Blobs, and their bytes.
        garbage: Blobs that nothing names and gc has still to delete.
        condemned: Blobs with a marker.
        growth: Bytes of the blobs that were written in each month, such as `2026-11`.
    """

    store: str
    flows: int = 0
    references: int = 0
    named: int = 0
    pins: int = 0
    trashed: int = 0
    leases: int = 0
    tags: int = 0
    foreign: int = 0
    results: Amount = field(default_factory=Amount)
    unreadable: int = 0
    logical: int = 0
    stored: Amount = field(default_factory=Amount)
    garbage: Amount = field(default_factory=Amount)
    condemned: int = 0
    growth: Mapping[str, int] = field(default_factory=dict)

    @property
    def dedup(self) -> float:
        """How often each stored byte that is named is used; 1 when there is none."""
        named = self.stored.bytes - self.garbage.bytes
        return self.logical / named if named else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "store": self.store,
            "flows": self.flows,
            "references": self.references,
            "named": self.named,
            "pins": self.pins,
            "trashed": self.trashed,
            "leases": self.leases,
            "tags": self.tags,
            "foreign": self.foreign,
            "results": {"count": self.results.blobs, "bytes": self.results.bytes},
            "unreadable": self.unreadable,
            "logical_bytes": self.logical,
            "stored": self.stored.to_dict(),
            "dedup_factor": round(self.dedup, 3),
            "garbage": self.garbage.to_dict(),
            "condemned": self.condemned,
            "growth": dict(self.growth),
        }


def stats(store: BlobStore, *, threads: int | None = None) -> Stats:
    """Count what a store holds.

    Raises:
        CasflowError: The store refused or failed.
    """
    scan = Scan(store, threads)
    if not scan.check_format():
        return Stats(store.url)
    growth: Counter[str] = Counter()
    roots = DigestSet()
    condemned = len(scan.markers())
    blobs = scan.blobs(lambda info: growth.update({_month(info): info.size}))
    flows: set[str] = set()
    references, live = _take(roots, _collect_flows(flows, scan.live()))
    named, mutable = _take(roots, scan.named())
    pins, _ = _take(roots, scan.pins())
    tags, _ = _take(roots, scan.tags())
    leases, _ = _take(roots, scan.leases(scan.lease_keys()))
    trashed, old = _take(roots, scan.trash())
    return Stats(
        store=store.url,
        flows=len(flows),
        references=references,
        named=named,
        pins=pins,
        trashed=trashed,
        leases=leases,
        tags=tags,
        foreign=len(scan.foreign),
        results=Amount(*scan.results),
        unreadable=len(scan.unreadable),
        logical=live + mutable + old,
        stored=Amount.of(blobs),
        garbage=orphaned(blobs, roots),
        condemned=condemned,
        growth=dict(sorted(growth.items())),
    )


def _month(info: ObjectInfo) -> str:
    return datetime.fromtimestamp(info.modified, UTC).strftime("%Y-%m")


def _collect_flows(flows: set[str], references: Iterable[Found]) -> Iterator[Found]:
    for found in references:
        flows.add(found.reference.flow)
        yield found


def _take(roots: DigestSet, references: Iterable[Found]) -> tuple[int, int]:
    """Take in what references name; return how many they are, and the bytes that they name."""
    count = size = 0
    for found in references:
        count += 1
        for blob in found.reference.blobs():
            roots.add(name_of(blob), blob.size)
            size += blob.size
    return count, size
