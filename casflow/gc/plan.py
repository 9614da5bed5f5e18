"""What a collector will do, decided from one scan of the store.

Owns the decisions: what retention takes, what is condemned, deleted and forgotten. Invariant: they
follow from the scan alone, so a dry run decides what the next real run does; and the scan read
markers, blobs and references in this order, after `now`. The order is part of the proof
(docs/gc.md).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from casflow.errors import ConfigError, IntegrityError
from casflow.gc.digest_set import SHARDS, DigestSet, packed
from casflow.gc.reference_cache import Root
from casflow.gc.retention import Candidate, Policy, expired
from casflow.gc.scan import key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from casflow.gc.limits import Claims, Limits
    from casflow.gc.scan import Scan


class Expired(NamedTuple):
    """A reference that retention takes."""

    key: str
    flow: str


@dataclass(slots=True)
class Plan:
    """What one run does, in this order, and what it leaves.

    Attributes:
        now: The moment by which all ages are counted.
        references: How many references there are, trash included.
        stored: How many blobs there are.
        stored_bytes: Their bytes.
        expired: References that go to the trash.
        kept: How many references each flow keeps, for flows that lose one.
        purged: Keys in the trash that end.
        condemned: Blobs that get a marker, with their sizes.
        deleted: Blobs that go, with their sizes.
        waiting: Blobs that go in a later run, with their sizes.
        until: When the first of those that wait may go; None when none does.
        forgotten: Markers that are not needed any more.
    """

    now: float
    references: int = 0
    stored: int = 0
    stored_bytes: int = 0
    expired: list[Expired] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    purged: list[str] = field(default_factory=list)
    condemned: DigestSet = field(default_factory=DigestSet)
    deleted: DigestSet = field(default_factory=DigestSet)
    waiting: DigestSet = field(default_factory=DigestSet)
    until: float | None = None
    forgotten: DigestSet = field(default_factory=DigestSet)


class Planner:
    """Makes the plan of one run.

    Args:
        scan: The readings of the store.
        policy: What retention keeps.
        limits: How long to wait.
        claims: What retention leaves alone whatever the policy says.
    """

    def __init__(self, scan: Scan, policy: Policy, limits: Limits, claims: Claims) -> None:
        self._scan = scan
        self._policy = policy
        self._limits = limits
        self._claims = claims
        self._claimed = {packed(digest, 0)[:32] for digest in claims.digests}
        self._roots = DigestSet()

    def plan(self, now: float) -> Plan:
        """Scan the store and decide.

        Raises:
            IntegrityError: A reference cannot be read, or names a blob that is not there.
            ConfigError: There are blobs and not a single reference.
            CasflowError: A listing or a reading failed.
        """
        plan = Plan(now)
        markers = self._scan.markers()
        blobs = self._scan.blobs()
        self._read_references(plan)
        plan.stored, plan.stored_bytes = len(blobs), blobs.total()
        self._check(plan, blobs)
        for index in range(SHARDS):
            self._decide(plan, blobs.shard(index), markers.shard(index), self._roots.shard(index))
        return plan

    # ---- references ------------------------------------------------------------------------

    def _read_references(self, plan: Plan) -> None:
        plan.expired = list(self._thinned(plan, self._scan.live_roots()))
        fixed = set()
        for found in self._scan.named():
            self._root(plan, Root.of(*found))
            fixed.add(found.key)
        for found in self._scan.pins():
            self._root(plan, Root.of(*found))
            fixed.add(key_of(found.reference))
        self._spare(plan, fixed)
        for root in self._scan.trash_roots():
            if plan.now - root.modified >= self._limits.trash:
                plan.purged.append(root.key)
                plan.references += 1
            else:
                self._root(plan, root)

    def _root(self, plan: Plan, root: Root) -> None:
        plan.references += 1
        for name, size in root.blobs:
            self._roots.add(name, size)

    def _thinned(self, plan: Plan, live: Iterable[Root]) -> Iterator[Expired]:
        """Take in the live references; yield those that the policy does not keep.

        They are roots all the same: in the trash they still are.
        """
        for _, folder in groupby(live, key=lambda root: root.key.partition("/")[0]):
            flows: dict[str, list[Candidate]] = {}
            for root in folder:
                self._root(plan, root)
                candidate = Candidate(root.key, kept=self._is_kept(root))
                flows.setdefault(root.flow, []).append(candidate)
            for flow, candidates in flows.items():
                gone = self._expired(flow, candidates)
                if gone:
                    plan.kept[flow] = len(candidates) - len(gone)
                yield from (Expired(key, flow) for key in gone)

    def _expired(self, flow: str, candidates: list[Candidate]) -> list[str]:
        flows = self._claims.flows
        return expired(self._policy, candidates) if flows is None or flow in flows else []

    def _is_kept(self, root: Root) -> bool:
        if root.key in self._claims.keys or root.blobs[0][0][:32] in self._claimed:
            return True
        return not self._policy.labels.isdisjoint(root.labels)

    def _spare(self, plan: Plan, fixed: set[str]) -> None:
        """Keep what is pinned or is itself a mutable name."""
        spared = Counter(each.flow for each in plan.expired if each.key in fixed)
        plan.expired = [each for each in plan.expired if each.key not in fixed]
        for flow, count in spared.items():
            plan.kept[flow] += count
        taken = {each.flow for each in plan.expired}
        plan.kept = {flow: count for flow, count in plan.kept.items() if flow in taken}

    # ---- blobs -----------------------------------------------------------------------------

    def _check(self, plan: Plan, blobs: DigestSet) -> None:
        store = self._scan.store
        if plan.stored and not plan.references and not self._limits.allow_empty:
            hint = "give --allow-empty if everything in it shall go"
            raise ConfigError("blobs, but not a single reference", where=store.url, hint=hint)
        for found, blob in self._scan.missing(blobs, self._roots):
            raise IntegrityError(
                f"a blob of the flow {found.reference.flow!r} is missing or cut short",
                where=store.location(found.key),
                expected=blob.digest,
                actual="nothing of that size",
                hint="run `casflow verify --repair` on the store; nothing was deleted",
            )

    def _decide(
        self,
        plan: Plan,
        blobs: dict[bytes, int],
        markers: dict[bytes, int],
        roots: dict[bytes, int],
    ) -> None:
        for name in sorted(blobs.keys() - roots.keys()):
            self._sentence(plan, name, blobs[name], markers.get(name))
        digests = {name[:32] for name in blobs}
        for name, condemned in markers.items():
            if name[:32] not in digests and plan.now - condemned / 1e6 >= self._limits.tomb:
                plan.forgotten.add(name, condemned)

    def _sentence(self, plan: Plan, name: bytes, size: int, condemned: int | None) -> None:
        """Decide on a blob that nothing names."""
        grace = self._limits.grace
        if condemned is None:
            plan.condemned.add(name, size)
            (plan.waiting if grace else plan.deleted).add(name, size)
            free = plan.now + grace
        else:
            free = condemned / 1e6 + grace
            (plan.waiting if free > plan.now else plan.deleted).add(name, size)
        if free > plan.now:
            plan.until = free if plan.until is None else min(free, plan.until)
