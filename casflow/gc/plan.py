"""What a collector will do, decided from one scan of the store.

Owns the decisions: what retention takes, what is condemned, deleted and forgotten. Invariant: they
follow from the scan alone, so a dry run decides what the next real run does; the scan read markers,
blobs and references in this order, after `now`; and nothing is taken that a reference which cannot
be read, or whose blob is missing, might need. The order is part of the proof (docs/gc.md).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from casflow.blobs import layout
from casflow.errors import ConfigError
from casflow.gc.digest_set import SHARDS, DigestSet, packed
from casflow.gc.reference_cache import Root
from casflow.gc.retention import Candidate, Policy, expired
from casflow.gc.scan import key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from casflow.gc.limits import Claims, Limits
    from casflow.gc.scan import Found, Scan


class Expired(NamedTuple):
    """A reference that retention takes.

    Attributes:
        key: Where it stands.
        flow: Name of its flow.
        project: Its project; empty where it is not known.
        used: The last day on which somebody used it, and on which machine; empty when unknown.
    """

    key: str
    flow: str
    project: str = ""
    used: str = ""


class Missing(NamedTuple):
    """A blob that a reference names and that is not there, or has another size."""

    key: str
    flow: str
    digest: str


@dataclass(slots=True)
class Plan:
    """What one run does, in this order, and what it leaves.

    Attributes:
        now: The moment by which all ages are counted.
        policy: The rules that took what expires, as a line.
        references: How many references there are, trash included.
        stored: How many blobs there are.
        stored_bytes: Their bytes.
        expired: References that go to the trash.
        kept: How many references each flow keeps, for flows that lose one.
        purged: Keys in the trash that end.
        leases: Keys of leases that end.
        condemned: Blobs that get a marker, with their sizes.
        deleted: Blobs that go, with their sizes.
        signatures: Keys of signatures that go with their blobs, or whose blobs went before.
        waiting: Blobs that go in a later run, with their sizes.
        until: When the first of those that wait may go; None when none does.
        forgotten: Markers that are removed; only when nobody else is at work.
        missing: What references name and is not there.
        unreadable: Why references cannot be read, by their keys.
        unknown: Those of them of which nobody knows what they name: no blob is taken meanwhile.
        foreign: How many objects of other programs stand under keys of references.
        used: The last day on which somebody used a digest, and on which machine, as leases tell.
    """

    now: float
    policy: str = ""
    references: int = 0
    stored: int = 0
    stored_bytes: int = 0
    expired: list[Expired] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    purged: list[str] = field(default_factory=list)
    leases: list[str] = field(default_factory=list)
    condemned: DigestSet = field(default_factory=DigestSet)
    deleted: DigestSet = field(default_factory=DigestSet)
    signatures: list[str] = field(default_factory=list)
    waiting: DigestSet = field(default_factory=DigestSet)
    until: float | None = None
    forgotten: DigestSet = field(default_factory=DigestSet)
    missing: list[Missing] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    foreign: int = 0
    used: dict[bytes, str] = field(default_factory=dict)


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
        self._used: dict[bytes, tuple[date, str]] = {}  # last use of each digest: day, machine
        self._protected: set[bytes] = set()  # digests of which every incarnation may be needed
        self._sizes: set[int] = set()  # of blobs of which a damaged digest may be the name

    def plan(self, now: float) -> Plan:
        """Scan the store and decide.

        Raises:
            ConfigError: There are blobs and not a single reference.
            CasflowError: A listing or a reading failed.
        """
        plan = Plan(now, str(self._policy))
        markers = self._scan.markers()
        blobs = self._scan.blobs()
        self._read_references(plan)
        plan.stored, plan.stored_bytes = len(blobs), blobs.total()
        plan.used = {name: f"{day} by {host}" for name, (day, host) in self._used.items()}
        self._check(plan, blobs)
        if not plan.unknown:
            signed = self._signatures()
            for index in range(SHARDS):
                shard = blobs.shard(index), markers.shard(index), self._roots.shard(index)
                self._decide(plan, *shard)
                if index in signed:
                    plan.signatures += self._ended(plan, signed[index], index, *shard)
        return plan

    # ---- references ------------------------------------------------------------------------

    def _read_references(self, plan: Plan) -> None:
        leases = list(self._current_leases(plan))
        plan.expired = list(self._keep_recent(plan, self._scan.live_roots()))
        fixed = set()
        for found in self._scan.named():
            self._root(plan, Root.of(*found))
            fixed.add(found.key)
        for found in (*self._scan.tags(), *self._scan.pins()):
            self._root(plan, Root.of(*found))
            fixed.add(key_of(found.reference))
        for found in self._scan.leases(leases):
            self._root(plan, Root.of(*found))
        self._keep_pinned(plan, fixed)
        for root in self._scan.trash_roots(until=plan.now - self._limits.trash):
            if isinstance(root, Root):
                self._root(plan, root)
            else:
                plan.purged.append(root.key)
                plan.references += 1
        plan.unreadable, plan.unknown = self._scan.unreadable, sorted(self._scan.unknown)
        plan.foreign = len(self._scan.foreign)

    def _current_leases(self, plan: Plan) -> Iterator[str]:
        """Yield the leases that keep something; note those that end, and who used what."""
        first = (
            datetime.fromtimestamp(plan.now, UTC) - timedelta(seconds=self._limits.lease)
        ).date()
        for key in self._scan.lease_keys():
            parts = layout.parse_lease(key)
            if parts is None:
                yield key  # not ours to drop; it counts as long as it can be read
                continue
            digest, host, day = parts
            if day < first:
                plan.leases.append(key)
                continue
            name = packed(digest, 0)[:32]
            self._used[name] = max((day, host), self._used.get(name, (day, host)))
            yield key

    def _root(self, plan: Plan, root: Root) -> None:
        plan.references += 1
        for name, size in root.blobs:
            self._roots.add(name, size)

    def _keep_recent(self, plan: Plan, live: Iterable[Root]) -> Iterator[Expired]:
        """Take in the live references; yield those that the policy does not keep.

        They are roots all the same: in the trash they still are. A reference that does not say its
        project belongs to every project whose registered version it is.
        """
        for _, folder in groupby(live, key=lambda root: root.key.partition("/")[0]):
            groups: dict[tuple[str, str], list[Candidate]] = {}
            owners: dict[str, list[tuple[str, str]]] = {}
            used: dict[str, str] = {}
            for root in folder:
                self._root(plan, root)
                candidate = Candidate(root.key, root.modified, kept=self._is_kept(root, plan.now))
                owners[root.key] = [(each, root.flow) for each in self._projects(root)]
                for owner in owners[root.key]:
                    groups.setdefault(owner, []).append(candidate)
                if (last := self._used.get(root.blobs[0][0][:32])) is not None:
                    used[root.key] = f"{last[0]} by {last[1]}"
            gone = {owner: set(self._expired(owner, each)) for owner, each in groups.items()}
            losers = set()
            for key in sorted(owners, reverse=True):
                if all(key in gone[owner] for owner in owners[key]):
                    project, flow = owners[key][0]
                    losers.add(flow)
                    yield Expired(key, flow, project, used.get(key, ""))
            counts = Counter(flow for flow in (each[0][1] for each in owners.values()))
            plan.kept |= {flow: counts[flow] for flow in losers}

    def _projects(self, root: Root) -> Iterable[str]:
        if root.project:
            return (root.project,)
        return sorted(self._claims.projects.get(root.key, ())) or ("",)

    def _expired(self, owner: tuple[str, str], candidates: list[Candidate]) -> list[str]:
        flows = self._claims.flows
        return expired(self._policy, candidates) if flows is None or owner in flows else []

    def _is_kept(self, root: Root, now: float) -> bool:
        digest = root.blobs[0][0][:32]
        if root.key in self._claims.keys or digest in self._claimed:
            return True
        if self._policy.used is not None and (last := self._used.get(digest)) is not None:
            first = datetime.fromtimestamp(now, UTC) - self._policy.used
            if last[0] >= first.date():
                return True
        return not self._policy.labels.isdisjoint(root.labels)

    def _keep_pinned(self, plan: Plan, fixed: set[str]) -> None:
        """Keep what is pinned, tagged or is itself a mutable name; count what each flow keeps."""
        plan.expired = [each for each in plan.expired if each.key not in fixed]
        taken = Counter(each.flow for each in plan.expired)
        plan.kept = {flow: plan.kept[flow] - count for flow, count in taken.items()}

    # ---- blobs -----------------------------------------------------------------------------

    def _check(self, plan: Plan, blobs: DigestSet) -> None:
        if plan.stored and not plan.references and not self._limits.allow_empty:
            store = self._scan.store
            hint = "give --allow-empty if everything in it shall go"
            raise ConfigError("blobs, but not a single reference", where=store.url, hint=hint)
        for found, blob in self._scan.missing(blobs, self._roots):
            if not found.key.startswith(layout.TRASH):
                plan.missing.append(_missing(found, blob.digest))
            self._protected.add(packed(blob.digest, 0)[:32])
            self._sizes.add(blob.size)  # a wrong digit in the reference, and its blob is nameless

    def _decide(
        self,
        plan: Plan,
        blobs: dict[bytes, int],
        markers: dict[bytes, int],
        roots: dict[bytes, int],
    ) -> None:
        # What is named and condemned may be damaged: then another incarnation has its bytes.
        protected = self._protected | {name[:32] for name in markers.keys() & roots.keys()}
        for name in sorted(blobs.keys() - roots.keys()):
            if name[:32] not in protected and blobs[name] not in self._sizes:
                self._plan_blob(plan, name, blobs[name], markers.get(name))
        if self._limits.exclusive:
            needed = {name[:32] for name in (*blobs, *roots)}
            for name, condemned in markers.items():
                if name[:32] not in needed:
                    plan.forgotten.add(name, condemned)

    def _signatures(self) -> dict[int, list[tuple[str, bytes]]]:
        """Return keys of signatures with the blobs that they speak of, by shard."""
        signed: dict[int, list[tuple[str, bytes]]] = {}
        for key, digest, incarnation in self._scan.signatures():
            name = packed(digest, incarnation)
            signed.setdefault(name[0], []).append((key, name))
        return signed

    def _ended(
        self,
        plan: Plan,
        signed: list[tuple[str, bytes]],
        index: int,
        blobs: dict[bytes, int],
        markers: dict[bytes, int],
        roots: dict[bytes, int],
    ) -> Iterator[str]:
        """Yield the signatures of blobs that go now, or that an earlier run took.

        Nothing can name such a blob ever again: it has a marker that is older than the grace.
        """
        deleted = plan.deleted.shard(index)
        for key, name in signed:
            condemned = markers.get(name)
            ended = condemned is not None and condemned / 1e6 + self._limits.grace <= plan.now
            ended = ended or self._limits.exclusive  # nobody is about to write it again
            if name in deleted or (ended and name not in blobs and name not in roots):
                yield key

    def _plan_blob(self, plan: Plan, name: bytes, size: int, condemned: int | None) -> None:
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


def _missing(found: Found, digest: str) -> Missing:
    return Missing(found.key, found.reference.flow, digest)
