"""Whether a store still holds everything that its references name.

Owns the check and its report. Invariant: checking changes nothing; what is repaired is written
under the writer's protocol, from bytes whose digest was verified.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from casflow.blobs import layout
from casflow.digests import Verifying
from casflow.errors import IntegrityError, NotFoundError
from casflow.gc.digest_set import SHARDS, DigestSet
from casflow.gc.parallel import chunked, ordered_map
from casflow.gc.repair import Repairer
from casflow.gc.reports import Amount
from casflow.gc.scan import Scan, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from casflow.blobs.base import BlobStore
    from casflow.digests import Buffer
    from casflow.gc.digest_set import Entry

_BATCH = 16  # blobs that one thread reads in a row
_IN_MEMORY = 8 * 2**20  # bytes of a blob from which it is read by way of the disk


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a store.

    Attributes:
        kind: `missing` or `damaged` blob, or `unreadable` reference.
        key: The reference that cannot be served, or the object that is damaged.
        digest: What the bytes should have; empty for a reference.
        flow: The flow that it concerns, where it is known.
        repaired: Whether it is right again.
    """

    kind: str
    key: str
    digest: str = ""
    flow: str = ""
    repaired: bool = False

    def __str__(self) -> str:
        parts = (self.kind, self.key, self.digest, self.flow and f"flow {self.flow!r}")
        return " ".join((*filter(None, parts), *(["repaired"] if self.repaired else [])))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "kind": self.kind,
            "key": self.key,
            "digest": self.digest,
            "flow": self.flow,
            "repaired": self.repaired,
        }


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check found.

    Attributes:
        store: URL of the store.
        references: References that were read, pins and trash included.
        blobs: Blobs that are there.
        read: Blobs whose bytes were read back.
        orphaned: Blobs that nothing names: not wrong, they wait for gc.
        findings: What is wrong.
    """

    store: str
    references: int
    blobs: Amount
    read: Amount
    orphaned: Amount
    findings: tuple[Finding, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong, or not any more."""
        return all(each.repaired for each in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "store": self.store,
            "clean": self.clean,
            "references": self.references,
            "blobs": self.blobs.to_dict(),
            "read": self.read.to_dict(),
            "orphaned": self.orphaned.to_dict(),
            "findings": [each.to_dict() for each in self.findings],
        }


def verify(
    store: BlobStore,
    *,
    share: float = 0.0,
    caches: Iterable[Callable[[str], Buffer | None]] | None = None,
    chance: random.Random | None = None,
    threads: int | None = None,
) -> Verification:
    """Check that every reference can be read, and every blob that one names is there.

    Args:
        store: The store.
        share: How much of the blobs is read back and held to its digest, from 0 to 1.
        caches: Where verified bytes may be had by digest; what is wrong is then repaired, from
            these and from other incarnations. Nothing is repaired when left out.
        chance: Decides which blobs are read.
        threads: Requests under way at once; what the store says when left out.

    Raises:
        CasflowError: The store refused or failed.
    """
    checker = _Checker(store, None if caches is None else Repairer(store, caches), threads)
    return checker.check(share, chance or random.Random())  # noqa: S311 - a sample, no secret


class _Checker:
    def __init__(self, store: BlobStore, repairer: Repairer | None, threads: int | None) -> None:
        self._scan = Scan(store, threads, unreadable=self._unreadable)
        self._repairer = repairer
        self._findings: dict[tuple[str, str], Finding] = {}

    def check(self, share: float, chance: random.Random) -> Verification:
        store = self._scan.store
        if not self._scan.check_format():
            return Verification(store.url, 0, Amount(), Amount(), Amount())
        blobs, roots, references = self._scan.blobs(), DigestSet(), 0
        for found in self._scan.references():
            references += 1
            for blob in found.reference.blobs():
                roots.add(name_of(blob), blob.size)
        self._find_missing(blobs, roots)
        read = self._read_back(each for each in blobs if share >= 1 or chance.random() < share)
        return Verification(
            store.url,
            references,
            Amount.of(blobs),
            read,
            orphaned(blobs, roots),
            tuple(self._findings.values()),
        )

    def _note(self, finding: Finding) -> None:
        self._findings.setdefault((finding.key, finding.digest), finding)

    def _unreadable(self, key: str, error: IntegrityError) -> None:
        del error
        self._note(Finding("unreadable", key))

    def _find_missing(self, blobs: DigestSet, roots: DigestSet) -> None:
        for found, blob in self._scan.missing(blobs, roots):
            finding = Finding("missing", found.key, blob.digest, found.reference.flow)
            if self._repairer is not None:
                finding = replace(finding, repaired=self._repairer.restore(found))
            self._note(finding)

    def _read_back(self, blobs: Iterable[Entry]) -> Amount:
        count = total = 0
        for some in ordered_map(self._read_some, chunked(blobs, _BATCH), self._scan.threads):
            for entry, actual in some:
                count += 1
                total += entry.number
                if actual != entry.digest:
                    self._damaged(entry)
        return Amount(count, total)

    def _read_some(self, blobs: list[Entry]) -> list[tuple[Entry, str]]:
        return list(self._digests(blobs))

    def _digests(self, blobs: Iterable[Entry]) -> Iterator[tuple[Entry, str]]:
        for entry in blobs:
            key = layout.blob(entry.digest, entry.incarnation)
            with SpooledTemporaryFile(_IN_MEMORY) as file:
                target = Verifying(cast("BinaryIO", file))
                try:
                    self._scan.store.copy_to(key, cast("BinaryIO", target))
                except NotFoundError:  # collected meanwhile
                    continue
                yield entry, target.digest()

    def _damaged(self, entry: Entry) -> None:
        finding = Finding("damaged", layout.blob(entry.digest, entry.incarnation), entry.digest)
        if self._repairer is not None:
            finding = replace(finding, repaired=self._repairer.rewrite(entry))
        self._note(finding)


def orphaned(blobs: DigestSet, roots: DigestSet) -> Amount:
    """Return how many blobs nothing names."""
    count = total = 0
    for index in range(SHARDS):
        there, wanted = blobs.shard(index), roots.shard(index)
        for name in there.keys() - wanted.keys():
            count += 1
            total += there[name]
    return Amount(count, total)
