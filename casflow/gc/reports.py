"""What a run of the collector did, for people, programs and the store's own history.

Owns the records and their JSON form. Invariant: a report of a real run and the dry run before it
differ in `run`, `dry_run` and the times alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from casflow.blobs import layout
from casflow.gc.digest_set import packed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from casflow.gc.digest_set import DigestSet
    from casflow.gc.plan import Plan


def moment(seconds: float) -> str:
    """Return seconds since the epoch as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class Amount:
    """Some blobs: how many, and their bytes."""

    blobs: int = 0
    bytes: int = 0

    @classmethod
    def of(cls, table: DigestSet) -> Amount:
        """Count a table."""
        return cls(len(table), table.total())

    def to_dict(self) -> dict[str, int]:
        """Return the JSON form."""
        return {"blobs": self.blobs, "bytes": self.bytes}


@dataclass(frozen=True, slots=True)
class Report:
    """What one run did, or would do.

    Attributes:
        store: URL of the store.
        run: Name of the run; empty for a dry run.
        started: When it began, by the store's clock.
        dry_run: Whether nothing was changed.
        references: References that were found, trash included.
        stored: Blobs that were found.
        expired: For each flow, keys of the references that went to the trash.
        kept: For each of these flows, how many references it keeps.
        policy: The rules that took them, as a line.
        purged: Keys in the trash that ended.
        leases: Leases that ended.
        signatures: Signatures that went with what they spoke of.
        condemned: Blobs that got a marker: nothing names them.
        deleted: Blobs that were deleted: condemned a grace ago, and still nothing names them.
        waiting: Blobs that are condemned and will be deleted by a later run.
        until: When the first of them may be; None when there is none.
        forgotten: Markers that were removed.
        missing: Reference, flow and digest of each blob that is named and not there.
        unreadable: Why references cannot be read, by their keys.
        unknown: Those of them that may name any blob, so that no blob was taken.
        foreign: Objects of other programs under keys of references.
        leftovers: Half-written files of dead writers that were removed.
        plan: The plan itself, which names every blob; not part of the JSON form.
    """

    store: str
    run: str
    started: str
    dry_run: bool
    references: int
    stored: Amount
    expired: Mapping[str, tuple[str, ...]]
    kept: Mapping[str, int]
    purged: tuple[str, ...]
    condemned: Amount
    deleted: Amount
    waiting: Amount
    until: str | None
    forgotten: int
    leftovers: int = 0
    policy: str = ""
    leases: int = 0
    signatures: int = 0
    missing: tuple[tuple[str, str, str], ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    foreign: int = 0
    plan: Plan | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, plan: Plan, store: str, *, run: str = "", leftovers: int = 0) -> Report:
        """Return the report on a plan; on a dry run when it has no name."""
        by_flow: dict[str, list[str]] = {}
        for each in plan.expired:
            by_flow.setdefault(each.flow, []).append(each.key)
        return cls(
            store=store,
            run=run,
            started=moment(plan.now),
            dry_run=not run,
            references=plan.references,
            stored=Amount(plan.stored, plan.stored_bytes),
            expired={flow: tuple(keys) for flow, keys in by_flow.items()},
            kept=plan.kept,
            purged=tuple(plan.purged),
            condemned=Amount.of(plan.condemned),
            deleted=Amount.of(plan.deleted),
            waiting=Amount.of(plan.waiting),
            until=None if plan.until is None else moment(plan.until),
            forgotten=len(plan.forgotten),
            leftovers=leftovers,
            policy=plan.policy,
            leases=len(plan.leases),
            signatures=len(plan.signatures),
            missing=tuple((each.key, each.flow, each.digest) for each in plan.missing),
            unreadable=plan.unreadable,
            unknown=tuple(plan.unknown),
            foreign=plan.foreign,
            plan=plan,
        )

    def explain(self) -> dict[str, dict[str, str]]:
        """Return project, flow and last use of each version that expires, by its key."""
        expired = () if self.plan is None else self.plan.expired
        return {
            each.key: {"project": each.project, "flow": each.flow, "last_used": each.used}
            for each in expired
        }

    def explain_rest(self) -> Iterator[tuple[str, str, str]]:
        """Yield what else goes for good: its key, why, and who used it last where that is known."""
        if self.plan is None:
            return
        for key in self.plan.purged:
            yield key, "its time in the trash is over", ""
        for key in self.plan.leases:
            yield key, "its time is over", ""
        for blob in self.plan.deleted:
            used = self.plan.used.get(packed(blob.digest, 0)[:32], "")
            key = layout.blob(blob.digest, blob.incarnation)
            yield key, "condemned a grace ago, and still nothing names it", used

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "store": self.store,
            "run": self.run,
            "started": self.started,
            "dry_run": self.dry_run,
            "references": self.references,
            "stored": self.stored.to_dict(),
            "expired": {flow: list(keys) for flow, keys in self.expired.items()},
            "kept": dict(self.kept),
            "purged": list(self.purged),
            "condemned": self.condemned.to_dict(),
            "deleted": self.deleted.to_dict(),
            "waiting": self.waiting.to_dict(),
            "until": self.until,
            "forgotten": self.forgotten,
            "leftovers": self.leftovers,
            "policy": self.policy,
            "explained": self.explain(),
            "leases": self.leases,
            "signatures": self.signatures,
            "missing": [
                {"key": key, "flow": flow, "digest": digest} for key, flow, digest in self.missing
            ],
            "unreadable": dict(self.unreadable),
            "unknown": list(self.unknown),
            "foreign": self.foreign,
        }
