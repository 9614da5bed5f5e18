"""Random scenarios for the world: who runs, when, where they stall and where they die."""

from __future__ import annotations

import random

from casflow.blobs import layout
from casflow.blobs.content import Draft
from casflow.digests import digest_of
from casflow.errors import NotFoundError
from casflow.gc.collector import Collector
from casflow.gc.limits import DAY, HOUR, Claims, Limits
from casflow.gc.retention import Policy
from casflow.gc.roots import pin, undelete, unpin
from casflow.gc.verify import verify
from casflow.reference import PICKLE
from tests.gc.simulation import Images, Task, WatchedContent, World, WorldStore

D, G = HOUR, DAY
MONTH = 30 * DAY
STARTS = (0, 0, 0, 0, 60, D / 2, D, G / 2, G + 60, G + 3 * D, 2 * G, 2 * MONTH)
STALLS = (
    60,
    D / 2,
    D - 60,
    D + 60,
    G / 2,
    G + 60,
    G + 2 * D,
    2 * G,
    2 * G + D,
    3 * G,
    MONTH,
    70 * DAY,
)
SKEWS = (0,) * 9 + (120, 3600, -(10**8))
FLOWS = ("a", "b")
PROJECTS = ("", "prod", "dev")
CONTENTS = (b"one", b"two")
WRITER_POINTS = (
    "find blob",
    "create blob",
    "create live",
    "create live",
    "create live",
    "put live",
)
COLLECTOR_POINTS = (
    "create run",
    "list marker",
    "list live",
    "list trash",
    "create trash",
    "create marker",
    "delete blob",
    "delete blob",
)


class Scenario:
    """One world with its tasks.

    Args:
        seed: Decides everything.
        content: Class of the content store, real or deliberately broken.
        collector: Class of the collector, real or deliberately broken.
        deadline: What writers hold themselves to.
        limits: What collectors hold themselves to.
    """

    world_class = World

    def __init__(self, seed, content=WatchedContent, collector=Collector, deadline=D, limits=None):
        self.random = random.Random(seed)
        self.world = self.world_class(seed, deadline=deadline)
        self.store = WorldStore(self.world)
        self._content_class = content
        self._collector_class = collector
        self._deadline = deadline
        self._limits = limits or Limits(trash=self.random.choice((0, D, 2 * G)))
        self._pins = 0
        self._signing = random.Random(seed)  # its own, so that schedules stay what they were
        self._images = Images()
        self._prepare()
        for number in range(self.random.randint(2, 4)):
            self._add(f"writer{number}", self._writer(), WRITER_POINTS)
        for number in range(self.random.randint(2, 4)):
            self._add(f"collector{number}", self.collect, COLLECTOR_POINTS)

    def content(self):
        world = self.world
        return self._content_class(
            self.store, clock=world.boottime, now=world.now, deadline=self._deadline
        )

    def collect(self):
        last = self.random.choice((0, 0, 1))
        collector = self._collector_class(
            self.store,
            policy=Policy(last=last),
            limits=self._limits,
            claims=self._claims(),
            clock=self.world.boottime,
            now=self.world.now,
            cache=self.random.choice((self._images, None)),
        )
        collector._content = self.content()
        return collector.run()

    def _claims(self):
        """Return what a registry needs: some of what stands, or nothing that it says."""
        live = [key for key in self.world.objects if layout.is_reference(key)]
        return Claims(frozenset(key for key in live if self.random.random() < 0.3))

    # ---- how it begins -----------------------------------------------------------------------

    def _prepare(self):
        """Leave garbage, some of it condemned at once or long ago; and one flow that stays."""
        self.content().commit(Draft("root", b"root", PICKLE))
        for data in CONTENTS:
            state = self.random.choice(("absent", "garbage", "garbage", "condemned", "live"))
            if state == "absent":
                continue
            done = self.content().commit(Draft("a", data, PICKLE))
            self.world.clock += 1
            if state == "live":
                continue
            self.store.delete(done.key)
            if state == "condemned":
                self.store.create(layout.marker(done.reference.digest, 0), b"")
        self.world.clock += self.random.choice((0, D / 2, G - 60, G + 60))

    # ---- who runs ----------------------------------------------------------------------------

    def _add(self, name, action, points):
        choose = self.random.choice
        stalls = {choose(points): choose(STALLS) for _ in range(choose((0, 1, 1, 2)))}
        dies = None if choose(range(5)) else (choose(range(1, 31)), choose((True, False)))
        start = self.world.clock - self._birth() + choose(STARTS)
        self.world.add(Task(name, action, start, stalls, dies, choose(SKEWS)))

    def _birth(self):
        return self.world.clock - self.world.boottime()

    def _writer(self):
        weighted = [self._register] * 8 + [self._register_named, self._pin, self._unpin]
        weighted += [self._tag, self._lease, self._repair]
        return self.random.choice([*weighted, self._undelete, self._undelete])

    def _draft(self):
        data = self.random.choice(CONTENTS)
        attachments = {"more": self.random.choice(CONTENTS)} if self.random.random() < 0.2 else {}
        project = self.random.choice(PROJECTS)
        flow = self.random.choice(FLOWS)
        return Draft(flow, data, PICKLE, (), attachments, project=project)

    def _register(self):
        self.content().commit(self._draft(), prepare=self._sign)

    def _sign(self, reference):
        if self._signing.random() < 0.8:
            own = digest_of(self._signing.randbytes(8))
            key = layout.signature(reference.digest, reference.blob.incarnation, own)
            self.store.create(key, b"signature")

    def _register_named(self):
        self.content().commit(self._draft(), name="fixed/name")

    def _pin(self):
        keys = self.content().reference_keys("a")
        if keys:
            self._pins += 1
            pin(self.content(), self.random.choice(keys), f"pin{self._pins}")

    def _unpin(self):
        for number in range(self._pins):
            try:
                unpin(self.content(), f"pin{number + 1}")
            except NotFoundError:
                continue

    def _copy(self, key_of):
        keys = self.content().reference_keys("a")
        if keys:
            reference = self.content().get_reference(self.random.choice(keys))
            self.content().copy(reference, key_of(reference))

    def _tag(self):
        number = len(list(self.store.list(layout.TAGS))) + 1
        self._copy(lambda _: layout.tag_move("tree", "prod", number))

    def _lease(self):
        day = self.world.now().date()
        self._copy(lambda reference: layout.lease(reference.digest, "host", day))

    def _repair(self):
        verify(self.store, share=1, caches=[])

    def _undelete(self):
        for info in list(self.store.list(layout.TRASH)):
            undelete(self.content(), info.key.removeprefix(layout.TRASH))

    # ---- how it ends -------------------------------------------------------------------------

    def settle(self):
        """Repair, and let collectors run in peace until nothing is left to do."""
        self.world.clock += D
        self._repair()
        for wait in (60, G + 60, G + 60, MONTH, MONTH):
            self.world.clock += wait
            self._collector_class(
                self.store,
                limits=Limits(trash=DAY),
                clock=self.world.boottime,
                now=self.world.now,
                cache=self._images,
            ).run()
