"""Writers and collectors in an engine under a scheduler: none is lost, broken ones are caught."""

from __future__ import annotations

import os
import random
import tarfile
from dataclasses import dataclass

import pytest

from casflow.blobs.content import Draft
from casflow.digests import digest_of
from casflow.errors import ConfigError, NotFoundError
from casflow.gc import Limits, Policy
from casflow.gc.engine_images import _EngineRun, collect_engine
from casflow.gc.images import ImageVersion
from casflow.gc.limits import DAY, HOUR
from casflow.reference import PICKLE
from casflow.storage.docker.engine import Image, ListedImage
from casflow.storage.docker.engine_build import EngineBuilder
from casflow.storage.docker.image_store import EngineImageStore
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.plan import INPUTS, Plan
from casflow.storage.docker.recipe import PYTHON_LABEL, Recipe
from tests.examples import examples
from tests.gc.simulation import LossError, Task, World

EXAMPLES = int(os.environ.get("GC_EXAMPLES") or examples(200, few=100))  # 10000 by night
CAUGHT_WITHIN = 3000
STARTS = (0, 0, 0, 60, HOUR, HOUR, 2 * HOUR, DAY, DAY + 60, 2 * DAY)
SWEEPS = (0, HOUR, 2 * HOUR, DAY + 60, DAY + 3 * HOUR, 2 * DAY, 3 * DAY, 4 * DAY)
STALLS = (60, HOUR - 60, HOUR + 60, DAY / 2, DAY + 60, 2 * DAY)
POINTS = (
    *("find image tag", "put image tag", "put image tag", "put image row"),
    *("list image tag", "delete image tag", "delete image tag"),
)


class EngineWorld(World):
    """Images and names of one engine, and the databases of those who register there."""

    def __init__(self, seed):
        super().__init__(seed, HOUR)
        self.databases = {"a": [], "b": []}

    def image(self, name):
        """Return the image of a name or an id, or None."""
        return self.objects.get(f"image/{self.objects.get(f'tag/{name}', name)}")

    def names(self, image):
        found = ((key, each) for key, each in self.objects.items() if key.startswith("tag/"))
        return [key.removeprefix("tag/") for key, each in found if each == image]

    def check(self):
        for database, versions in self.databases.items():
            for flow in {each.flow for each in versions}:
                latest = [each for each in versions if each.flow == flow][-1]
                found = self.image(str(latest.image.tagged(latest.own_tag)))
                if found is None or found.labels[INPUTS] != latest.inputs:
                    raise LossError(f"database {database}: the image of {flow} is gone")


@dataclass
class Built:
    """An image of the world, and the one that it stands on."""

    id: str
    labels: dict
    created: float
    base: str | None = None


class WorldEngine:
    """An engine whose every request is a scheduling point, with dockerd's rules of removal."""

    def __init__(self, world):
        self.world = world

    def now(self):
        return self.world.clock

    def user_of(self, image):
        return ""

    def find_image(self, name):
        def effect():
            found = self.world.image(name)
            return None if found is None else Image(found.id, found.labels, ())

        return self.world.point("find", f"tag/{name}", effect)

    def labelled(self, label):
        def effect():
            return [
                ListedImage(each.id, tuple(self.world.names(each.id)), (), each.created)
                for key, each in self.world.objects.items()
                if key.startswith("image/") and label in each.labels
            ]

        return self.world.point("list", "tag/", effect)

    def build(self, archive, dockerfile, *, labels=None, **options):
        with tarfile.open(fileobj=archive) as tar:
            text = tar.extractfile(dockerfile).read().decode()
        start = text.split()[1]
        labels = {PYTHON_LABEL: "3", **(labels or {})}
        made = digest_of(repr((text, labels)).encode())  # the same steps are taken from the cache

        def effect():
            base = self.world.image(start)
            if base is None and start != "start":
                raise ConfigError("no such image", where=start)
            built = Built(made, labels, self.world.clock, base and base.id)
            self.world.objects.setdefault(f"image/{made}", built)
            return made

        return self.world.point("put", "tag/<none>", effect)

    def tag(self, image, name):
        def effect():
            found = self.world.image(image)
            if found is None:
                raise NotFoundError("no such image", where=image)
            self.world.objects[f"tag/{name}"] = found.id

        self.world.point("put", f"tag/{name}", effect)

    def remove_image(self, name):
        def effect():
            found = self.world.image(name)
            names = [] if found is None else self.world.names(found.id)
            by_id = name not in names
            if found is None or (by_id and len(names) > 1):
                return
            for each in names if by_id else [name]:
                del self.world.objects[f"tag/{each}"]
            self._remove_unnamed(found)

        self.world.point("delete", f"tag/{name}", effect)

    def _remove_unnamed(self, image):
        objects = self.world.objects
        is_base = any(getattr(each, "base", None) == image.id for each in objects.values())
        if not self.world.names(image.id) and not is_base:
            objects.pop(f"image/{image.id}", None)


class Writer:
    """Registers one content, as `Docker` without a registry does, into its database."""

    def __init__(self, scenario, seed):
        self.scenario = scenario
        choose = random.Random(seed)
        self.database = choose.choice("aaab")
        self.content = choose.choice((b"one", b"two"))
        self.environment = f"blake3:{choose.choice('ef') * 64}"
        self.is_chosen = choose.random() < 0.2
        self.build = f"{seed:08}"

    def __call__(self):
        for _ in range(9):
            try:
                if self.register():
                    return
            except (NotFoundError, ConfigError):  # collected on the way: said to the user
                continue

    def register(self):
        """Register; return False if another registration came in between."""
        world, engine = self.scenario.world, self.scenario.engine
        versions = world.databases[self.database]
        latest = versions[-1] if versions else None
        plan = self.plan(world.now())
        known = [latest.image] if latest and latest.inputs == plan.inputs else []
        store = self.scenario.store(engine)
        image, _ = store.ensure(plan, known, self.builder(engine).build)
        row = Row(("default", "f"), len(world.trace), plan.created, (), image, plan.own_tag, True)
        row = row._replace(environment=plan.environment)
        row.inputs = plan.inputs

        def effect():
            if versions[-1:] != ([latest] if latest else []):
                return False
            if image not in known:
                versions.append(row)
            return True

        return world.point("put", "row/", effect)

    def plan(self, created):
        name = ImageName(None, "flow", "stable" if self.is_chosen else None)
        drafts = {"f": Draft("f", self.content, PICKLE)}
        parts = (self.environment, "/opt/casflow", drafts, None, created, self.build)
        return self.scenario.plan(name, *parts)

    def builder(self, engine):
        recipe = Recipe("/opt/casflow", base_image="start", casflow_version="1")
        options = {"local_image": True, "check": False}
        builder = EngineBuilder(engine, recipe, {}, None, None, **options)
        builder._start = "start"
        return builder


class Row(ImageVersion):
    """A version with the digest of its inputs beside it."""


def collect(scenario, database):
    """Collect as `casflow gc --keep-last 1` does for one database."""
    versions = list(scenario.world.databases[database])
    if versions:
        rows = [each._replace(kept=each is versions[-1]) for each in versions]
        scenario.collector(scenario.engine, [rows], Policy(last=1), scenario.limits)


class Scenario:
    """One world with its tasks."""

    def __init__(
        self,
        seed,
        *,
        engine=WorldEngine,
        store=EngineImageStore,
        plan=Plan,
        collector=collect_engine,
    ):
        self.world = EngineWorld(seed)
        self.engine = engine(self.world)
        self.store, self.plan, self.collector = store, plan, collector
        choose = random.Random(seed)
        self.limits = choose.choice((Limits(), Limits(grace=0, exclusive=True)))
        for number in range(choose.randint(3, 7)):
            self._add(choose, f"writer {number}", Writer(self, seed * 100 + number))
        for number in range(choose.randint(3, 6)):
            database = choose.choice("aaab")
            self._add(choose, f"gc {number}", lambda name=database: collect(self, name), SWEEPS)

    def _add(self, choose, name, action, starts=STARTS):
        stalls = {choose.choice(POINTS): choose.choice(STALLS) for _ in range(choose.randint(0, 2))}
        dies = (choose.randint(1, 12), choose.random() < 0.5) if choose.random() < 0.1 else None
        self.world.add(Task(name, action, choose.choice(starts), stalls, dies))


def test_no_schedule_of_writers_and_collectors_loses_an_image_of_an_engine():
    deleted = renewed = condemned = 0
    for seed in range(EXAMPLES):
        scenario = Scenario(seed)
        try:
            scenario.world.run()
        except LossError as error:
            pytest.fail(f"seed {seed}: {error}\n{scenario.world.story()}")
        trace = [(operation, key) for _, _, operation, key in scenario.world.trace]
        deleted += any(operation == "delete" for operation, _ in trace)
        condemned += any("condemned-" in key for _, key in trace)
        rows = [each for of in scenario.world.databases.values() for each in of]
        renewed += len({each.own_tag for each in rows}) > len({each.inputs for each in rows})
    least = EXAMPLES // 20  # the schedules do reach the dangerous places
    assert min(deleted, condemned, renewed) > least, (deleted, condemned, renewed)


class ForcingEngine(WorldEngine):
    """Removes an image with all its names, as by force."""

    def remove_image(self, name):
        def effect():
            found = self.world.image(name)
            for each in () if found is None else self.world.names(found.id):
                del self.world.objects[f"tag/{each}"]
            if found is not None:
                self._remove_unnamed(found)

        self.world.point("delete", f"tag/{name}", effect)


class Nameless(EngineImageStore):
    """Gives an image that is there no further name."""

    def reuse(self, plan):
        return plan.name if self.engine.find_image(str(plan.input_name)) else None


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


class Careless(_EngineRun):
    """Takes images that have names which it does not know."""

    def _is_only_ours(self, image, versions):
        return True


def collect_carelessly(engine, repositories, policy, limits):
    """Collect, whatever others call an image."""
    run = Careless(engine, policy, limits, dry_run=False)
    for versions in repositories:
        run.collect(versions)


VARIANTS = {
    "removed by force": {"engine": ForcingEngine},
    "no further name": {"store": Nameless},
    "one tag for two registrations": {"plan": Untold},
    "no tag of its own": {"plan": ChosenOnly},
    "names of others not looked at": {"collector": collect_carelessly},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_broken_variant_is_caught(variant):
    for seed in range(CAUGHT_WITHIN):
        scenario = Scenario(seed, **VARIANTS[variant])
        try:
            scenario.world.run()
        except LossError:
            return
    pytest.fail("the scheduler does not see the loss")
