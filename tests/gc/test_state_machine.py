"""The protocol under a scheduler: the real code is safe, and each broken variant is caught."""

from __future__ import annotations

import math
import os

import pytest

from casflow.blobs import concurrent, layout
from casflow.gc import repair
from casflow.gc.collector import Collector
from casflow.gc.limits import Limits
from casflow.gc.plan import Planner
from casflow.gc.reference_cache import Root
from casflow.gc.scan import Scan
from tests.examples import examples
from tests.gc.scenarios import Scenario
from tests.gc.simulation import LossError, SerialPool, WatchedContent

EXAMPLES = int(os.environ.get("GC_EXAMPLES") or examples(500, few=200))  # 20000 by night
FIRST = int(os.environ.get("GC_FIRST", "0"))  # seed, for a night in several parts
CAUGHT_WITHIN = 4000


def content_of(store):
    """Return the content store of a repair, with the clocks of the world."""
    return WatchedContent(store, clock=store.world.boottime, now=store.world.now)


@pytest.fixture(autouse=True)
def serial(monkeypatch):
    monkeypatch.setattr(concurrent, "ThreadPoolExecutor", SerialPool)
    monkeypatch.setattr(repair, "ContentStore", content_of)


def blobs_named(world, **options):
    return {
        layout.blob(blob.digest, blob.incarnation)
        for _, blobs in world.roots(**options)
        for blob in blobs
    }


def unneeded(world):
    """Return the blobs that should be gone: nothing names them, nor a condemned twin of them."""
    named = blobs_named(world, dangling=True)
    twins = {
        layout.parse_blob(key)[0]
        for key in named
        if layout.marker(*layout.parse_blob(key)) in world.objects
    }
    return {key for key in blobs_there(world) - named if layout.parse_blob(key)[0] not in twins}


def orphaned_signatures(world):
    """Return the signatures that should be gone: their blobs went, and nobody can write them."""
    signed = {key: layout.parse_signature(key) for key in world.objects}
    return {
        key
        for key, name in signed.items()
        if name
        and layout.marker(*name) in world.objects
        and layout.blob(*name) not in world.objects
    }


def blobs_there(world):
    return {key for key in world.objects if key.startswith(layout.BLOBS)}


@pytest.mark.timeout(7200)
def test_no_schedule_loses_a_flow_and_all_garbage_goes():
    deleted = condemned = unsigned = 0
    for seed in range(FIRST, FIRST + EXAMPLES):
        scenario = Scenario(seed)
        try:
            scenario.world.run()
            scenario.settle()
        except AssertionError as error:
            lines = [
                f"{at:12.0f} {name:11} {op:7} {key}" for at, name, op, key in scenario.world.trace
            ]
            pytest.fail("\n".join([f"seed {seed}: {error}", *lines]))
        assert blobs_named(scenario.world) <= blobs_there(scenario.world), f"seed {seed}"
        assert unneeded(scenario.world) == set(), f"seed {seed}"
        assert orphaned_signatures(scenario.world) == set(), f"seed {seed}"
        assert not any(key.startswith(layout.TRASH) for key in scenario.world.objects)
        operations = [(op, key) for _, _, op, key in scenario.world.trace]
        deleted += sum(op == "delete" and key.startswith(layout.BLOBS) for op, key in operations)
        unsigned += any(
            op == "delete" and key.startswith(layout.SIGNATURES) for op, key in operations
        )
        condemned += any(key.endswith("-1") for op, key in operations if op == "create")
    assert deleted > EXAMPLES // 10  # the schedules do reach the dangerous places
    assert condemned > EXAMPLES // 10
    assert unsigned


class ReferencesFirst(Collector):
    """Reads the references before its present moment and the markers."""

    def _begin(self, run):
        live, trash = self.scan.live_roots(), self.scan.trash_roots(0.0)
        named = [Root.of(*found) for found in (*self.scan.named(), *self.scan.pins())]
        self._early = [*live, *named, *trash]
        return super()._begin(run)

    def _plan(self, now):
        return Planner(
            Early(self.store, self._early), self._policy, self.limits, self._claims
        ).plan(now)


class Early(Scan):
    def __init__(self, store, early):
        super().__init__(store)
        self._early = early

    def live_roots(self):
        return iter(self._early)

    def named(self, *_, **__):
        return iter(())

    pins = tags = leases = trash_roots = named

    def lease_keys(self):
        return []


class MarkersDroppedEarly(Collector):
    """Removes a marker together with its blob."""

    def _delete(self, stage, keys, total):
        if stage != "delete":
            super()._delete(stage, keys, total)
            return
        for key in keys:
            self.store.delete(key)
            digest, incarnation = layout.parse_blob(key)
            self.store.delete(layout.marker(digest, incarnation))


class LateKept(WatchedContent):
    """Keeps a reference that came too late when its blobs are there at that moment."""

    def _look_back(self, key, reference):
        return self.store.find(key), all(self._is_readable(each) for each in reference.blobs())


class SignaturesAlone(Collector):
    """Takes the signatures of what has no reference now, and does not wait for their blobs."""

    def _plan(self, now):
        plan = super()._plan(now)
        gone = {(each.digest, each.incarnation) for each in (*plan.condemned, *plan.waiting)}
        listed = self.store.list(layout.SIGNATURES)
        plan.signatures = [i.key for i in listed if layout.parse_signature(i.key) in gone]
        return plan


VARIANTS = {
    "signatures taken before their blobs": {"collector": SignaturesAlone},
    "references listed first": {"collector": ReferencesFirst},
    "a grace shorter than the deadline": {"limits": Limits(grace=0, exclusive=True, trash=0)},
    "no deadline": {"deadline": math.inf},
    "markers dropped early": {"collector": MarkersDroppedEarly},
    "late references kept": {"content": LateKept},
}


RARE = "late references kept"  # caught by few schedules


@pytest.mark.parametrize(
    "variant",
    [*(each for each in VARIANTS if each != RARE), pytest.param(RARE, marks=pytest.mark.slow)],
)
def test_a_broken_variant_is_caught(variant):
    for seed in range(CAUGHT_WITHIN):
        scenario = Scenario(seed, **VARIANTS[variant])
        try:
            scenario.world.run()
        except LossError:
            return
    pytest.fail("the scheduler does not see the loss")
