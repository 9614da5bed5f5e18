"""Whether a store still holds everything that its references, and registries, name.

Owns the check and its report. Invariant: checking writes nothing but markers on damaged blobs, so
that the next registration writes their bytes again; what is repaired is written under the writer's
protocol, from bytes whose digest was verified.
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from secrets import token_hex
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from casflow.blobs import layout
from casflow.blobs.content import DEADLINE
from casflow.blobs.format import FORMAT_OBJECT, format_number, read_format
from casflow.digests import Verifying
from casflow.errors import AccessError, NotFoundError
from casflow.gc.digest_set import SHARDS, DigestSet, packed
from casflow.gc.limits import Claims
from casflow.gc.parallel import chunked, ordered_map
from casflow.gc.repair import Repairer
from casflow.gc.reports import Amount
from casflow.gc.scan import Scan, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from casflow.blobs.base import BlobStore
    from casflow.blobs.content import Commit
    from casflow.digests import Buffer
    from casflow.gc.digest_set import Entry
    from casflow.gc.scan import Found
    from casflow.reference import BlobName

_BATCH = 16  # blobs that one thread reads in a row
_IN_MEMORY = 8 * 2**20  # bytes of a blob from which it is read by way of the disk
_REGISTER = "register the flow again"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a store.

    Attributes:
        kind: `missing` or `damaged` blob, `unreadable` reference, or `lost`: a version that a
            registry needs and whose reference is not there; of signatures, why one does not count.
        key: The reference that cannot be served, or the object that is damaged.
        digest: What the bytes should have; empty for a reference.
        flow: The flow that it concerns, where it is known.
        repaired: Whether it is right again, or was moved to the trash.
        remedy: What was done, or what there is to do.
    """

    kind: str
    key: str
    digest: str = ""
    flow: str = ""
    repaired: bool = False
    remedy: str = ""

    def __str__(self) -> str:
        parts = (self.kind, self.key, self.digest, self.flow and f"flow {self.flow!r}")
        line = " ".join((*filter(None, parts), *(["repaired"] if self.repaired else [])))
        return f"{line}; {self.remedy}" if self.remedy else line

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "kind": self.kind,
            "key": self.key,
            "digest": self.digest,
            "flow": self.flow,
            "repaired": self.repaired,
            "remedy": self.remedy,
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
        retired: Versions that a registry knows and whose references retention took.
        foreign: Objects of other programs under keys of references.
        renewed: New references in place of lost ones, by the keys of those.
    """

    store: str
    references: int
    blobs: Amount
    read: Amount
    orphaned: Amount
    findings: tuple[Finding, ...] = ()
    retired: int = 0
    foreign: int = 0
    renewed: Mapping[str, Commit] = field(default_factory=dict)

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
            "retired": self.retired,
            "foreign": self.foreign,
        }


def verify(
    store: BlobStore,
    *,
    share: float = 0.0,
    caches: Iterable[Callable[[str], Buffer | None]] | None = None,
    claims: Claims | None = None,
    chance: random.Random | None = None,
    threads: int | None = None,
) -> Verification:
    """Check that every reference can be read, and every blob that one names is there.

    Args:
        store: The store.
        share: How much of the blobs is read back and held to its digest, from 0 to 1.
        caches: Where verified bytes may be had by digest; what is wrong is then repaired, from
            these and from other incarnations. Nothing is repaired when left out.
        claims: What registries need of the store: it must be there, too.
        chance: Decides which blobs are read.
        threads: Requests under way at once; what the store says when left out.

    Raises:
        CasflowError: The store refused or failed.
    """
    repairer = None if caches is None else Repairer(store, caches)
    checker = _Checker(store, repairer, claims or Claims(), threads)
    return checker.check(share, chance or random.Random())  # noqa: S311 - a sample, no secret


class _Checker:
    def __init__(
        self, store: BlobStore, repairer: Repairer | None, claims: Claims, threads: int | None
    ) -> None:
        self._scan = Scan(store, threads, copies=claims.copies)
        self._claims = claims
        self._repairer = repairer
        self._findings: dict[tuple[str, str], Finding] = {}
        self._renewed: dict[str, Commit] = {}

    def check(self, share: float, chance: random.Random) -> Verification:
        store = self._scan.store
        known = self._check_format()
        blobs, roots, seen = DigestSet(), DigestSet(), set()
        references = 0
        if known:
            blobs = self._scan.blobs()
            for found in self._scan.references():
                references += 1
                if layout.is_reference(found.key.removeprefix(layout.TRASH)):
                    seen.add(found.key.removeprefix(layout.TRASH))
                for blob in found.reference.blobs():
                    roots.add(name_of(blob), blob.size)
            self._find_unreadable()
            self._find_missing(blobs, roots)
        retired = self._find_lost(seen | set(self._scan.unreadable))
        chosen = (each for each in blobs if share >= 1 or chance.random() < share)
        read = self._read_back(chosen, roots)
        return Verification(
            store.url,
            references,
            Amount.of(blobs),
            read,
            orphaned(blobs, roots),
            tuple(self._findings.values()),
            retired,
            len(self._scan.foreign),
            self._renewed,
        )

    def _check_format(self) -> bool:
        """Tell whether this is a store; write its format again where that is damaged or gone.

        Raises:
            IntegrityError: It is a store of a newer format.
        """
        store = self._scan.store
        try:
            number = format_number(read_format(store))
        except NotFoundError:
            if not any(True for _ in store.list(layout.BLOBS)):
                return False
            number = None
        if number is not None:
            return self._scan.check_format()
        finding = Finding("unreadable", layout.FORMAT, remedy="run it again with --repair")
        if self._repairer is not None:
            store.put(layout.FORMAT, FORMAT_OBJECT)
            finding = replace(finding, repaired=True, remedy="")
        self._note(finding)
        return True

    def _note(self, finding: Finding) -> None:
        self._findings.setdefault((finding.key, finding.digest), finding)

    # ---- references ------------------------------------------------------------------------

    def _find_unreadable(self) -> None:
        for key in self._scan.unreadable:
            finding = Finding("unreadable", key, remedy=_remedy_of(key))
            copy = self._claims.copies.get(key)
            if self._repairer is None or key.startswith(layout.TRASH):
                pass
            elif copy is not None and self._repairer.rewrite_reference(key, copy):
                finding = replace(finding, repaired=True, remedy="written from the registry's copy")
            elif key not in self._claims.keys and self._repairer.give_up(key):
                finding = replace(finding, repaired=True, remedy="moved to the trash")
            elif (lease := layout.parse_lease(key)) is not None:
                finding = replace(finding, repaired=True, remedy=self._mend_lease(key, lease[0]))
            self._note(finding)

    def _mend_lease(self, key: str, digest: str) -> str:
        """Write a lease again by another reference to its digest; end it if there is none."""
        repairer = cast("Repairer", self._repairer)
        same = (each.reference for each in self._scan.references())
        named = next((each for each in same if each.digest == digest), None)
        if named is not None and repairer.rewrite_reference(key, named):
            return "written again"
        self._scan.store.delete(key)
        return "ended: nothing else names what it held"

    def _find_missing(self, blobs: DigestSet, roots: DigestSet) -> None:
        for found, blob in self._scan.missing(blobs, roots):
            live = found.key.removeprefix(layout.TRASH)
            ends = found.key.startswith((layout.TRASH, layout.LEASES))  # by itself
            if not ends or live in self._claims.keys:
                self._note(self._missing(found, blob))

    def _missing(self, found: Found, blob: BlobName) -> Finding:
        finding = Finding("missing", found.key, blob.digest, found.reference.flow)
        if found.key.startswith(layout.PINS):
            finding = replace(finding, remedy=f"{_REGISTER}, or unpin it")
        elif found.key.startswith(layout.TAGS):
            finding = replace(finding, remedy=f"{_REGISTER}, or move the tag")
        else:
            finding = replace(finding, remedy=_REGISTER)
        if self._repairer is None:
            return finding
        if self._repairer.restore(found, blob):
            return replace(finding, repaired=True, remedy="")
        is_claimed = found.key.removeprefix(layout.TRASH) in self._claims.keys
        if is_claimed or not self._is_old(found):
            return finding
        if self._repairer.give_up(found.key):
            return replace(
                finding, repaired=True, remedy="its bytes are nowhere; moved to the trash"
            )
        return finding

    def _is_old(self, found: Found) -> bool:
        """Tell whether no writer can still be at work on a reference, by the store's clock."""
        return self._now - found.modified > DEADLINE

    @cached_property
    def _now(self) -> float:
        """The present moment by the store's clock."""
        probe, store = layout.run(f"verify-{token_hex(8)}"), self._scan.store
        store.put(probe, b"")
        info = store.find(probe)
        store.delete(probe)
        return 0.0 if info is None else info.modified

    def _find_lost(self, seen: set[str]) -> int:
        """Look for the versions of registries; return how many of them retention took."""
        retired = 0
        for key, copy in self._claims.copies.items():
            if key in seen:
                continue
            if key not in self._claims.keys:
                retired += 1
                continue
            finding = Finding("lost", key, copy.digest, copy.flow, remedy=_REGISTER)
            if self._repairer is not None and (made := self._repairer.renew(copy)) is not None:
                self._renewed[key] = made
                finding = replace(finding, repaired=True, remedy=f"now at {made.key}")
            self._note(finding)
        return retired

    # ---- blobs -----------------------------------------------------------------------------

    def _read_back(self, blobs: Iterable[Entry], roots: DigestSet) -> Amount:
        count = total = 0
        for some in ordered_map(self._read_some, chunked(blobs, _BATCH), self._scan.threads):
            for entry, actual in some:
                count += 1
                total += entry.number
                if actual != entry.digest:
                    name = packed(entry.digest, entry.incarnation)
                    self._damaged(entry, is_named=name in roots.shard(name[0]))
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

    def _damaged(self, entry: Entry, *, is_named: bool) -> None:
        key = layout.blob(entry.digest, entry.incarnation)
        finding = Finding("damaged", key, entry.digest, remedy=_REGISTER)
        if self._repairer is not None and self._repairer.rewrite(entry):
            finding = replace(finding, repaired=True, remedy="")
        else:
            with suppress(AccessError):  # reading is all that this credential may do
                self._scan.store.create_empty([layout.marker(entry.digest, entry.incarnation)])
                if not is_named:  # and from now on nobody will name it
                    remedy = "nothing names it; gc deletes it"
                    finding = replace(finding, repaired=True, remedy=remedy)
        self._note(finding)


def _remedy_of(key: str) -> str:
    if key.startswith(layout.PINS):
        return "unpin it and pin it again"
    if key.startswith(layout.TRASH):
        return "it ends with its time in the trash, or by `casflow gc --trash 0s`"
    if key.startswith(layout.TAGS):
        return "move the tag to the version that it shall name"
    if key.startswith(layout.LEASES):
        return "run it again with --repair"
    return _REGISTER


def orphaned(blobs: DigestSet, roots: DigestSet) -> Amount:
    """Return how many blobs nothing names."""
    count = total = 0
    for index in range(SHARDS):
        there, wanted = blobs.shard(index), roots.shard(index)
        for name in there.keys() - wanted.keys():
            count += 1
            total += there[name]
    return Amount(count, total)
