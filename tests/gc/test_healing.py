"""Whatever was done, killed and damaged: after a repair each version runs or is said to be lost."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest

from casflow.blobs import layout
from casflow.blobs.content import ContentStore, Draft
from casflow.blobs.local import LocalBlobStore
from casflow.digests import digest_of
from casflow.errors import CasflowError, ConflictError, IntegrityError
from casflow.gc import Claims, Policy, pin, trashed, undelete, unpin, verify
from casflow.gc.limits import DAY, HOUR
from casflow.reference import PICKLE
from tests.examples import examples
from tests.gc.conftest import Bench
from tests.gc.damage import DAMAGES

EXAMPLES = examples(120, few=30)
STEPS = 12


class KilledError(BaseException):
    """Ends what is under way at an operation of the store."""


class Mortal(LocalBlobStore):
    """A folder with a clock of its own, that ends its user at the n-th operation from now.

    Attributes:
        left: Operations until the end; 0 is never.
        ahead: Seconds that its clock was put forward.
    """

    def __init__(self, root):
        super().__init__(root)
        self.left, self.ahead = 0, 0.0
        self._made = {}  # how far ahead the clock was when each object was written

    def now(self):
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    def clock(self):
        return time.monotonic() + self.ahead

    def _count(self):
        if self.left == 1:
            raise KilledError
        self.left -= self.left > 1

    def create(self, key, data):
        self._count()
        super().create(key, data)
        self._made[key] = self.ahead
        self._count()

    def create_empty(self, keys):
        for key in keys:
            with suppress(ConflictError):
                self.create(key, b"")

    def put(self, key, data):
        self._count()
        super().put(key, data)
        self._made[key] = self.ahead
        self._count()

    def delete(self, key):
        self._count()
        super().delete(key)

    def find(self, key):
        self._count()
        return self._aged(super().find(key))

    def list(self, prefix=""):
        return map(self._aged, super().list(prefix))

    def _aged(self, info):
        return info and info._replace(modified=info.modified + self._made.get(info.key, 0.0))


class Registry:
    """What one registry knows: its versions, by flow and in order, and their sources."""

    def __init__(self, name):
        self.name = name
        self.versions = {}  # of each flow: key and reference of each version, oldest first
        self.sources = {}  # drafts by digest

    def claims(self, store):
        del store
        copies = {key: ref for some in self.versions.values() for key, ref in some}
        current = frozenset(some[-1][0] for some in self.versions.values())
        flows = frozenset((ref.project, ref.flow) for ref in copies.values())
        projects = {key: frozenset([ref.project]) for key, ref in copies.items()}
        return Claims(current, frozenset(), flows, projects, copies)

    def record(self, draft, done):
        self.versions.setdefault((draft.project, draft.flow), []).append((done.key, done.reference))
        self.sources[done.reference.digest] = draft

    def renew(self, renewed):
        for some in self.versions.values():
            some[:] = [
                (renewed[key].key, renewed[key].reference) if key in renewed else (key, ref)
                for key, ref in some
            ]


class World(Bench):
    """A store, two registries that know it, and what may happen to them."""

    def __init__(self, root, seed):
        self.chance = random.Random(seed)
        self.store = Mortal(root)
        self.content = ContentStore(self.store, clock=self.store.clock, now=self.store.now)
        self.registries = [Registry("a"), Registry("b")]
        self.pins = 0

    def register(self):
        registry = self.chance.choice(self.registries)
        draft = Draft(
            f"{registry.name} {self.chance.randrange(2)}",
            b"content %d" % self.chance.randrange(8),
            PICKLE,
            attachments={"lines": b"lines %d" % self.chance.randrange(12)},
            project=self.chance.choice(("prod", "dev")),
        )
        registry.record(draft, self.content.commit(draft))

    def register_named(self):
        self.content.commit(Draft("named", b"named", PICKLE), name="fixed/key")

    def collect(self):
        registry = self.chance.choice(self.registries)
        last = self.chance.choice((0, 1, 2))
        self.collector(policy=Policy(last=last), claims=registry.claims(self.store)).run()

    def pin(self):
        keys = [info.key for info in self.store.list() if layout.is_reference(info.key)]
        if keys:
            self.pins += 1
            pin(self.content, self.chance.choice(keys), f"pin {self.pins % 3}")

    def unpin(self):
        unpin(self.content, f"pin {self.chance.randrange(3)}")

    def undelete(self):
        gone = [found.key for found in trashed(self.content)]
        if gone:
            key = self.chance.choice(gone)
            made = undelete(self.content, key)
            for registry in self.registries:
                registry.renew({key: made})

    def lease(self):
        keys = [info.key for info in self.store.list() if layout.is_reference(info.key)]
        if keys:
            reference = self.content.get_reference(self.chance.choice(keys))
            day = self.store.now().date()
            self.content.copy(reference, layout.lease(reference.digest, "host", day))

    def tag(self):
        keys = [info.key for info in self.store.list() if layout.is_reference(info.key)]
        if keys:
            moves = list(self.store.list(layout.tags("tree")))
            at = layout.tag_move("tree", "prod", len(moves) + 1)
            self.content.copy(self.content.get_reference(self.chance.choice(keys)), at)

    def repair(self, registry=None):
        registry = registry or self.chance.choice(self.registries)
        done = verify(self.store, share=1, caches=[], claims=registry.claims(self.store))
        registry.renew(done.renewed)
        return registry, done

    def step(self):
        acts = [self.register] * 5 + [self.collect] * 4
        acts += [self.register_named, self.pin, self.unpin, self.undelete, self.lease, self.tag]
        acts += [self.repair]
        act = self.chance.choice(acts)
        self.wait(self.chance.choice((0, 60, 2 * HOUR, 1.5 * DAY, 8 * DAY, 40 * DAY)))
        self.store.left = self.chance.choice((0, 0, self.chance.randrange(1, 40)))
        with suppress(CasflowError, KilledError):
            act()
        self.store.left = 0

    def mend(self):
        """Do what findings name as the way out of what no registry knows of."""
        self.register_named()
        for finding in verify(self.store).findings:
            if finding.key.startswith(layout.PINS):
                unpin(self.content, layout.pin_name(finding.key))
            elif finding.key.startswith(layout.TAGS):
                self.tag()

    def damage(self):
        """Damage one object of the store; return its key."""
        key = self.chance.choice([info.key for info in self.store.list()])
        path = self.store.root / key
        changed = DAMAGES[self.chance.choice(sorted(DAMAGES))](path.read_bytes() or b"\0")
        path.chmod(0o644)
        path.unlink() if changed is None else path.write_bytes(changed)
        return key

    def runs(self, reference):
        """Tell whether all that a version names can be read and is what it should be."""
        for blob in reference.blobs():
            keys = [info.key for info in self.store.list(layout.blob_prefix(blob.digest))]
            if not any(digest_of(self.store.get(key)) == blob.digest for key in keys):
                return False
        return True

    def read(self, blob):
        memory = BytesIO()
        self.content.copy_to(blob, memory)
        return memory.getvalue()


def check(world, registry, done):
    """Check what the property says of a registry after one repair with its claims."""
    said = {each.key for each in done.findings} | {each.digest for each in done.findings}
    for some in registry.versions.values():
        key, reference = some[-1]
        if not world.runs(reference):
            digests = {each.digest for each in reference.blobs()}
            assert said & {key, *digests}, f"{key} is lost and nobody says so"
            assert all(each.remedy for each in done.findings if not each.repaired)
        again = world.content.commit(registry.sources[reference.digest])
        assert world.runs(again.reference)
        some.append((again.key, again.reference))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_repair_and_every_version_runs_or_is_said_to_be_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "casflow.gc.repair.ContentStore",
        lambda store: ContentStore(store, clock=store.clock, now=store.now),
    )
    damaged = lost = 0
    for seed in range(EXAMPLES):
        world = World(tmp_path / str(seed), seed)
        world.register()
        for _ in range(STEPS):
            world.step()
        world.damage()
        damaged += 1
        checks = [world.repair(each) for each in world.registries]
        for registry, done in checks:
            lost += not done.clean
            try:
                check(world, registry, done)
            except (AssertionError, IntegrityError) as error:
                raise AssertionError(f"seed {seed}: {error}") from error
        world.mend()
        for registry in world.registries:  # gc works, and takes nothing that a version needs
            for _ in range(3):
                world.wait(9 * DAY)
                report = world.collector(claims=registry.claims(world.store)).run()
        world.wait(31 * DAY)
        report = world.collector().run()
        assert report.unknown == (), f"seed {seed}: gc is blocked by {report.unknown}"
        for registry in world.registries:
            for some in registry.versions.values():
                assert world.runs(some[-1][1]), f"seed {seed}: gc took {some[-1][0]}"
    assert lost > EXAMPLES // 20
    assert damaged == EXAMPLES
