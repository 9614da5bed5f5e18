"""Trees under a scheduler: no push, tag or lease is lost, and each broken variant is caught."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import cache, partial

import pytest

from casflow.blobs import concurrent, layout
from casflow.gc.collector import Collector
from casflow.gc.plan import Planner
from casflow.gc.scan import Scan
from casflow.trees import push
from casflow.trees.scan import scan as push_scan
from casflow.trees.versions import Versions
from tests.examples import examples
from tests.gc.simulation import LossError, SerialPool, WatchedContent
from tests.gc.test_state_machine import blobs_named, blobs_there, unneeded
from tests.gc.tree_scenarios import LEASED, TreeScenario

EXAMPLES = int(os.environ.get("GC_EXAMPLES") or examples(100, few=25))
FIRST = int(os.environ.get("GC_FIRST", "0"))
CAUGHT_WITHIN = 1000


class SerialMapPool(SerialPool):
    """The same with `map`."""

    def map(self, function, items):
        return map(function, items)


@pytest.fixture(autouse=True)
def serial(monkeypatch):
    monkeypatch.setattr(concurrent, "ThreadPoolExecutor", SerialPool)
    monkeypatch.setattr(push, "ThreadPoolExecutor", SerialMapPool)
    monkeypatch.setattr(push, "scan", cache(lambda folder, progress: push_scan(folder)))


@pytest.mark.timeout(7200)
def test_no_schedule_loses_a_tree_a_tag_or_a_lease_and_all_garbage_goes(tmp_path):
    seen = dict.fromkeys(("deleted", "borrowed", "tagged", "leased"), 0)
    for seed in range(FIRST, FIRST + EXAMPLES):
        scenario = TreeScenario(seed, tmp_path)
        try:
            scenario.world.run()
            seen["borrowed"] += has_borrowed(scenario.world)
            scenario.settle()
        except AssertionError as error:
            pytest.fail(f"seed {seed}: {error}\n{scenario.world.story()}")
        assert blobs_named(scenario.world) <= blobs_there(scenario.world), f"seed {seed}"
        assert unneeded(scenario.world) == set(), f"seed {seed}"
        for _, _, operation, key in scenario.world.trace:
            seen["deleted"] += operation == "delete" and key.startswith(layout.BLOBS)
            seen["tagged"] += operation == "create" and key.startswith(layout.TAGS)
            seen["leased"] += operation == "create" and key.startswith(layout.LEASES)
    for what, count in seen.items():  # the schedules do reach the dangerous places
        assert count > EXAMPLES // 10, what


def has_borrowed(world):
    """Tell whether two references name one pack."""
    packs = [
        {blob.digest for blob in blobs[2:]}
        for key, blobs in world.roots()
        if not key.startswith(layout.TAGS)
    ]
    return any(one & other for at, one in enumerate(packs) for other in packs[:at])


class BorrowedUnseen(WatchedContent):
    """Takes over packs of earlier versions without a look at them."""

    def _ensure(self, blob, source, **options):
        if isinstance(source, partial):
            return blob, 0
        return super()._ensure(blob, source, **options)


class Forgetful(Collector):
    """Does not read one kind of root."""

    forgotten = ""

    def _plan(self, now):
        scan = Scan(self.store)
        setattr(scan, self.forgotten, lambda *_: iter(()))
        return Planner(scan, self._policy, self.limits, self._claims).plan(now)


class ForgetsTags(Forgetful):
    forgotten = "tags"


class ForgetsLeases(Forgetful):
    forgotten = "leases"


class OneLease(TreeScenario):
    """Holds one lease a version, whose day is that of the first, and writes over it."""

    def _prepare(self):
        super()._prepare()
        selected = Versions(self.content()).newest("p")
        super().lease(selected.reference, self.world.now().date() - timedelta(days=40))

    def lease(self, reference, day):
        keys = [info.key for info in self.store.list(layout.leases(reference.digest))]
        if not keys:
            super().lease(reference, day)
            return
        made = self.content().copy(reference, keys[0], replace=True)
        self.world.promises.append((self.world.clock + LEASED, made))


VARIANTS = {
    "packs borrowed unseen": (TreeScenario, {"content": BorrowedUnseen}),
    "tags are no roots": (TreeScenario, {"collector": ForgetsTags}),
    "leases are no roots": (TreeScenario, {"collector": ForgetsLeases}),
    "leases are written over": (OneLease, {}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_broken_variant_is_caught(variant, tmp_path):
    scenario_class, options = VARIANTS[variant]
    for seed in range(CAUGHT_WITHIN):
        scenario = scenario_class(seed, tmp_path, **options)
        try:
            scenario.world.run()
        except LossError:
            return
    pytest.fail("the scheduler does not see the loss")
