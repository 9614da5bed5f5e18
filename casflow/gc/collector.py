"""The collector: condemn what nothing names, wait, delete; never reuse a name.

Owns the run: its object in the store, the order of its writes, its report. Invariant: nothing is
deleted before the whole plan is made, and what is deleted was condemned a grace before `now` and
had no reference when the references were read after it. A run that dies or stalls anywhere leaves
a store on which every decision of the protocol stays true. See docs/gc.md.
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, TypeVar

from casflow.blobs import layout
from casflow.blobs.content import ContentStore, boottime, clock_error, utcnow
from casflow.blobs.format import claim_format
from casflow.errors import ConfigError, NotFoundError, UnavailableError
from casflow.gc.limits import DAY, Claims, Limits
from casflow.gc.parallel import chunked, ordered_map
from casflow.gc.plan import Plan, Planner
from casflow.gc.reference_cache import SETTLED
from casflow.gc.reports import Report
from casflow.gc.retention import Policy
from casflow.gc.roots import discard
from casflow.gc.scan import Scan
from casflow.reference import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from casflow.blobs.base import BlobStore
    from casflow.cache import Cache
    from casflow.gc.digest_set import Entry

    Progress = Callable[[str, int, int], None]

Item = TypeVar("Item")

_BATCH = 1000  # deletions of one request
_HISTORY = 100  # runs whose objects are kept
_LONGEST_REPORT = 4 << 20  # bytes that are read of the object of a run
_LONGEST = 7 * DAY  # of one run; what was decided before is not worth acting on


def silent(stage: str, done: int, total: int) -> None:
    """Show no progress."""
    del stage, done, total


class Collector:
    """Collects one store.

    Args:
        store: The store.
        policy: What retention keeps; nothing expires without a rule.
        limits: How long to wait.
        claims: What registries need; never taken by retention.
        clock: Seconds that never run slower than real time.
        now: The present moment by this machine's clock.
        threads: Requests under way at once; what the store says when left out.
        progress: Is told the stage, how much of it is done, and how much there is.
        cache: Where a run leaves what references say, so that the next need not read them again.
    """

    def __init__(
        self,
        store: BlobStore,
        *,
        policy: Policy | None = None,
        limits: Limits | None = None,
        claims: Claims | None = None,
        clock: Callable[[], float] = boottime,
        now: Callable[[], datetime] = utcnow,
        threads: int | None = None,
        progress: Progress = silent,
        cache: Cache | None = None,
    ) -> None:
        self.store = store
        self.limits = limits or Limits()
        self._policy = policy or Policy()
        self._claims = claims or Claims()
        self.scan = Scan(store, threads, cache=cache, copies=self._claims.copies)
        self._clock = clock
        self._now = now
        self._progress = progress
        self._started = clock()
        self._content = ContentStore(store, clock=clock, now=now, deadline=self.limits.deadline)

    def preview(self) -> Report:
        """Return what `run` would do now; writes nothing.

        Raises:
            CasflowError: As `run` does.
        """
        now = self._now().timestamp()
        plan = self._plan(now) if self.scan.check_format() else Plan(now)
        return Report.of(plan, self.store.url)

    def run(self) -> Report:
        """Collect; may be called by any number of machines at once, and killed at any moment.

        Raises:
            IntegrityError: The store has another format.
            ConfigError: There are blobs and no reference, or this machine's clock is off.
            CasflowError: The store refused or failed. Nothing was deleted, in each of these
                cases, unless the deletions themselves failed.
        """
        if not self.scan.check_format():
            return self.preview()
        self._started = self._clock()
        run = f"{stamp(self._now())}-{token_hex(4)}"
        now = self._begin(run)
        claim_format(self.store)
        self.scan.settled = now - SETTLED
        plan = self._plan(now)
        self._execute(plan)
        leftovers = self.store.drop_leftovers(DAY)
        report = Report.of(plan, self.store.url, run=run, leftovers=leftovers)
        self.store.put(layout.report(run), (json.dumps(report.to_dict()) + "\n").encode())
        self._forget_runs()
        return report

    def _begin(self, run: str) -> float:
        """Write the run's object; return the store's time of it, which is the run's present."""
        before = self._now()
        self.store.create(layout.run(run), b"")
        after = self._now()
        info = self.store.find(layout.run(run))
        if info is None:
            raise UnavailableError("what was written is not there", where=self.store.url)
        if off := clock_error(before, after, info):
            self.store.delete(layout.run(run))
            what = f"this machine's clock is {off:+.0f} seconds off the store's"
            raise ConfigError(what, where=self.store.url, hint="set the clock; nothing was deleted")
        return info.modified

    def _plan(self, now: float) -> Plan:
        self._progress("scan", 0, 0)
        return Planner(self.scan, self._policy, self.limits, self._claims).plan(now)

    # ---- writing ---------------------------------------------------------------------------

    def _execute(self, plan: Plan) -> None:
        keys = [each.key for each in plan.expired]
        self._each("expire", partial(discard, self._content), keys, len(keys))
        ended = [*plan.purged, *plan.leases]
        self._delete("purge", ended, len(ended))
        markers = chunked(map(_marker_key, plan.condemned), _BATCH)
        total = len(plan.condemned)
        self._each("condemn", self.store.create_empty, markers, total, _BATCH)
        self._delete("delete", map(_blob_key, plan.deleted), len(plan.deleted))
        self._delete("signatures", plan.signatures, len(plan.signatures))
        self._delete("forget", map(_marker_key, plan.forgotten), len(plan.forgotten))

    def _delete(self, stage: str, keys: Iterable[str], total: int) -> None:
        self._each(stage, self.store.delete_many, chunked(keys, _BATCH), total, _BATCH)

    def _each(
        self,
        stage: str,
        function: Callable[[Item], None],
        items: Iterable[Item],
        total: int,
        together: int = 1,
    ) -> None:
        timely = self._until_deadline(items)
        for count, _ in enumerate(ordered_map(function, timely, self.scan.threads), 1):
            self._progress(stage, min(count * together, total), total)

    def _until_deadline(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield items as long as the decisions on them are fresh."""
        for item in items:
            if self._clock() - self._started > _LONGEST:
                raise UnavailableError("the run was asleep too long", hint="start another one")
            yield item

    def _forget_runs(self) -> None:
        keys = [info.key for info in self.store.list(layout.RUNS)]
        self.store.delete_many(keys[: -2 * _HISTORY])


def history(store: BlobStore) -> list[dict[str, object]]:
    """Return the reports of the last runs on a store, oldest first; damaged ones are left out."""
    reports = []
    for info in store.list(layout.RUNS):
        if info.key.endswith(".json"):
            with suppress(NotFoundError, ValueError, RecursionError):
                report = json.loads(store.get_range(info.key, 0, _LONGEST_REPORT))
                if isinstance(report, dict):
                    reports.append(report)
    return reports


def _blob_key(blob: Entry) -> str:
    return layout.blob(blob.digest, blob.incarnation)


def _marker_key(blob: Entry) -> str:
    return layout.marker(blob.digest, blob.incarnation)
