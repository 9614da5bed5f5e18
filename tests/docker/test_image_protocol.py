"""Writers and collectors of images under a scheduler: none loses a flow, broken ones are caught."""

from __future__ import annotations

import json
import os
import random
from types import SimpleNamespace

import pytest

from casflow.blobs.content import Draft
from casflow.errors import NotFoundError
from casflow.gc import Limits, Policy
from casflow.gc.images import ImageVersion, collect_images
from casflow.gc.limits import DAY, HOUR
from casflow.reference import PICKLE
from casflow.storage.docker.engine_build import EngineBuilder
from casflow.storage.docker.image_store import RegistryImageStore
from casflow.storage.docker.layer import sha256
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.plan import Plan
from casflow.storage.docker.recipe import PYTHON_LABEL, Recipe, python_version
from casflow.storage.docker.registry import OCI_MANIFEST, Manifest
from casflow.storage.docker.registry_build import RegistryBuilder
from tests.examples import examples
from tests.gc.simulation import LossError, Task, World

EXAMPLES = int(os.environ.get("GC_EXAMPLES") or examples(200, few=100))  # 10000 by night
CAUGHT_WITHIN = 3000
HOST, ENVIRONMENT = "reg.example", f"blake3:{'e' * 64}"
STARTS = (0, 0, 0, 60, HOUR, HOUR, 2 * HOUR, DAY, DAY + 60, 2 * DAY)
SWEEPS = (0, HOUR, 2 * HOUR, DAY + 60, DAY + 3 * HOUR, 2 * DAY, 3 * DAY, 4 * DAY)
STALLS = (60, HOUR - 60, HOUR + 60, DAY / 2, DAY + 60, 2 * DAY)
POINTS = (
    "find image tag",
    "put image tag",
    "put image tag",
    "put image row",
    "find image marker",
    "list image tag",
    "put image marker",
    "delete image tag",
)


class ImageWorld(World):
    """Manifests and tags of one repository, and the databases of those who register there."""

    def __init__(self, seed, deadline):
        super().__init__(seed, deadline)
        self.databases = {"a": [], "b": []}

    def check(self):
        for name, versions in self.databases.items():
            for flow in {each.flow for each in versions}:
                latest = [each for each in versions if each.flow == flow][-1]
                if f"manifest/{latest.image.digest}" not in self.objects:
                    raise LossError(f"database {name}: the image of {flow} is gone")


class WorldRegistry:
    """A registry whose every request is a scheduling point."""

    host = HOST

    def __init__(self, world):
        self.world = world
        config = {
            "config": {"Labels": {PYTHON_LABEL: python_version()}},
            "rootfs": {"diff_ids": []},
        }
        self._config = json.dumps(config).encode()
        form = {"config": {"mediaType": "x", "digest": sha256(self._config)}, "layers": []}
        data = json.dumps(form).encode()
        self.base = Manifest(data, OCI_MANIFEST, sha256(data))

    @property
    def server_time(self):
        return self.world.clock

    def _point(self, operation, name, effect):
        tag = name.tag or ""
        kind = "marker" if tag.startswith("condemned-") else "tag"
        return self.world.point(operation, f"{kind}/{name.reference}", effect)

    def find_manifest(self, name):
        if "environment-" in name.reference or name.repository == "base":
            return self.base

        def effect():
            digest = name.digest or self.world.objects.get(f"tag/{name.tag}")
            return self.world.objects.get(f"manifest/{digest}")

        return self._point("find", name, effect)

    def get_manifest(self, name):
        found = self.find_manifest(name)
        if found is None:
            raise NotFoundError("none", where=name)
        return found

    def put_manifest(self, name, manifest):
        def effect():
            self.world.objects[f"manifest/{manifest.digest}"] = manifest
            self.world.objects[f"tag/{name.tag}"] = manifest.digest

        self._point("put", name, effect)

    def delete_manifest(self, name):
        def effect():
            self.world.objects = {
                key: value
                for key, value in self.world.objects.items()
                if key != f"manifest/{name.digest}" and value != name.digest
            }

        self._point("delete", name, effect)

    def tags(self, name):
        def effect():
            return [key[4:] for key in self.world.objects if key.startswith("tag/")]

        return self._point("list", name.tagged("x"), effect)

    def get_blob(self, name, descriptor):
        return self._config

    def upload_blob(self, name, data, digest):
        """Blobs are not what this is about."""


class Writer:
    """Registers one content, as `Docker` does, into its database."""

    def __init__(self, scenario, seed):
        self.scenario = scenario
        choose = random.Random(seed)
        self.database = choose.choice("aaab")
        self.content = choose.choice((b"one", b"two"))
        self.is_chosen = choose.random() < 0.2
        self.kind = choose.choice(("engine", "registry"))
        self.build = f"{seed:08}"

    def __call__(self):
        while not self.register():
            pass

    def register(self):
        """Register; return False if another registration came in between."""
        world = self.scenario.world
        versions = world.databases[self.database]
        latest = versions[-1] if versions else None
        plan = self.plan(world.now())
        store = self.scenario.store(self.scenario.registry, world.boottime)
        known = [latest.image] if latest and latest.inputs == plan.inputs else []
        image, _ = store.ensure(plan, known, self.builder(store).build)
        row = Row(("default", "f"), len(world.trace), plan.created, (), image, plan.own_tag, True)
        row.inputs = plan.inputs

        def effect():
            if versions[-1:] != ([latest] if latest else []):
                return False
            if image not in known:
                versions.append(row)
            return True

        return world.point("put", "row/", effect)

    def plan(self, created):
        name = ImageName(HOST, "flow", "stable" if self.is_chosen else None)
        drafts = {"f": Draft("f", self.content, PICKLE)}
        parts = (ENVIRONMENT, "/opt/casflow", drafts, None, created, self.build)
        return self.scenario.plan(name, *parts)

    def builder(self, store):
        recipe = Recipe("/opt/casflow", base_image=f"{HOST}/base:1")
        if self.kind == "registry":
            return RegistryBuilder(store, recipe, lambda _: store.registry)
        nothing = SimpleNamespace()
        return EngineBuilder(
            nothing, recipe, {}, lambda _: store.registry, store, local_image=False, check=False
        )


class Row(ImageVersion):
    """A version with the digest of its inputs beside it."""


def collect(scenario, database):
    """Collect as `casflow gc --keep-last 1` does for one database."""
    versions = list(scenario.world.databases[database])
    if versions:
        rows = [each._replace(kept=each is versions[-1]) for each in versions]
        collect_images(scenario.registry, rows, Policy(last=1), scenario.limits)


class Scenario:
    """One world with its tasks."""

    def __init__(self, seed, *, store=RegistryImageStore, plan=Plan, limits=None):
        self.world = ImageWorld(seed, HOUR)
        self.registry = WorldRegistry(self.world)
        self.store, self.plan = store, plan
        self.limits = limits or Limits()
        choose = random.Random(seed)
        for number in range(choose.randint(3, 7)):
            self._add(choose, f"writer {number}", Writer(self, seed * 100 + number))
        for number in range(choose.randint(3, 6)):
            database = choose.choice("aaab")
            self._add(choose, f"gc {number}", lambda name=database: collect(self, name), SWEEPS)

    def _add(self, choose, name, action, starts=STARTS):
        stalls = {choose.choice(POINTS): choose.choice(STALLS) for _ in range(choose.randint(0, 2))}
        dies = (choose.randint(1, 12), choose.random() < 0.5) if choose.random() < 0.1 else None
        self.world.add(Task(name, action, choose.choice(starts), stalls, dies))


def test_no_schedule_of_writers_and_collectors_loses_an_image():
    deleted = renewed = 0
    for seed in range(EXAMPLES):
        scenario = Scenario(seed)
        try:
            scenario.world.run()
        except LossError as error:
            pytest.fail(f"seed {seed}: {error}\n{scenario.world.story()}")
        operations = [operation for _, _, operation, _ in scenario.world.trace]
        deleted += "delete" in operations
        digests = {each.image.digest for rows in scenario.world.databases.values() for each in rows}
        renewed += len(digests) > 2
    assert deleted > EXAMPLES // 20  # the schedules do reach the dangerous places
    assert renewed > EXAMPLES // 20


class Unmarked(RegistryImageStore):
    """Does not look for the marker."""

    def _is_condemned(self, name, manifest):
        return False


class Timeless(RegistryImageStore):
    """Has no deadline."""

    def _is_past_deadline(self, started):
        return False


class SameAgain(Plan):
    """An image that is built again has the digest that it had, as a finished image pushed twice."""

    def labels(self):
        return {}


class Untold(Plan):
    """Tags of one microsecond are one tag."""

    @property
    def own_tag(self):
        return super().own_tag[:-9]


class ChosenOnly(Plan):
    """A registration gives no tag of its own besides the one that a person chose."""

    @property
    def names(self):
        return (self.name,) if self.is_chosen else super().names


VARIANTS = {
    "markers ignored": {"store": Unmarked},
    "no deadline": {"store": Timeless},
    "images built with a digest that was condemned": {"plan": SameAgain},
    "no tag of its own": {"plan": ChosenOnly},
    "one tag for two registrations": {"plan": Untold},
    "a grace shorter than the deadline": {"limits": Limits(grace=0, exclusive=True)},
}


RARE = "no deadline"  # caught by few schedules


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
