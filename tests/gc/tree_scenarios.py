"""Random scenarios of trees: pushes that borrow packs, tags, leases, and collectors beside them."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

from casflow.blobs import layout
from casflow.errors import NotFoundError
from casflow.gc.limits import DAY, HOUR
from casflow.refs import parse_ref
from casflow.trees.fetch import TreeReader
from casflow.trees.push import Pusher
from casflow.trees.versions import Versions
from tests.gc.scenarios import COLLECTOR_POINTS, D, G, Scenario
from tests.gc.simulation import LossError, Task, World

POINTS = (
    *("list live", "get live", "create number", "create number", "get blob", "find blob"),
    *("create blob", "create live", "create tag", "create lease"),
)
LEASED = 29 * DAY  # for which whoever holds a lease relies on it
PROJECTS = tuple(
    {"same": "s" * 20, "own": str(number), "even": "eo"[number % 2]} for number in range(4)
)


class TreeWorld(World):
    """A world in which leases are relied on."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.promises = []  # until when, and the reference

    def check(self):
        super().check()
        self.promises = [each for each in self.promises if each[0] > self.clock]
        for _, reference in self.promises:
            for blob in reference.blobs():
                if layout.blob(blob.digest, blob.incarnation) not in self.objects:
                    raise LossError(f"a lease on {reference.digest} is worth nothing")


class NoCache:
    """A machine whose cache keeps nothing, so that all is asked of the store."""

    def __init__(self, root):
        self.root = root

    def fetch(self, digest, size, download):
        del digest, size
        memory = BytesIO()
        download(memory)
        return SimpleNamespace(data=memory.getvalue(), downloaded=0)

    def put(self, digest, data):
        pass

    @contextmanager
    def temporary_folder(self):
        yield Path(tempfile.mkdtemp(dir=self.root))


class TreeScenario(Scenario):
    """One world in which projects are pushed, tagged, leased, read and collected."""

    world_class = TreeWorld

    def __init__(self, seed, folder, **options):
        self.folders, self.cache = [], NoCache(folder)
        for number, files in enumerate(PROJECTS):
            path = Path(folder) / str(number)
            path.mkdir(exist_ok=True)
            for name, text in files.items():
                (path / name).write_text(text)
            self.folders.append(path)
        super().__init__(seed, **options)
        self._add_daily()

    def _add(self, name, action, points):
        super()._add(name, action, POINTS if name.startswith("writer") else points)

    def _add_daily(self):
        """Collect each day, as a loss takes several runs; one of them may stall."""
        for day in range(1, 6):
            stalls = {
                self.random.choice((*COLLECTOR_POINTS, "delete lease")): self.random.choice(
                    (60, D, G + D)
                )
            }
            start = self.world.clock - self._birth() + day * (G + HOUR)
            stalls = stalls if self.random.random() < 0.5 else {}
            self.world.add(Task(f"daily{day}", self.collect, start, stalls))

    def _prepare(self):
        for number in range(self.random.randint(1, 3)):
            self._push(self.folders[number])
            self.world.clock += self.random.choice((1, 60, DAY, 3 * DAY))
        self._tag()

    def _writer(self):
        folder = self.random.choice(self.folders)
        pushing = [lambda: self._push(folder)] * 5
        return self.random.choice([*pushing, self._tag, self._tag, self._lease, self._lease,
                                   self._read])  # fmt: skip

    def _push(self, folder):
        Pusher(self.content(), self.cache).push(folder, "p")

    def _selected(self):
        versions = Versions(self.content())
        asked = self.random.choice(("p", "p", "p@prod", "p@1", "p@2"))
        try:
            return versions, versions.select(parse_ref(asked))
        except NotFoundError:
            return versions, None

    def _tag(self):
        versions, selected = self._selected()
        if selected is not None:
            versions.tags.move(selected, self.random.choice(("prod", "test")), by="somebody")

    def _lease(self):
        _, selected = self._selected()
        if selected is None:
            return
        day = self.world.now().date() - timedelta(days=self.random.choice((0, 0, 29, 30, 31)))
        reference = selected.reference
        self.lease(reference, day)

    def lease(self, reference, day):
        key = layout.lease(reference.digest, "host", day)
        made = self.content().copy(reference, key)
        if day == self.world.now().date():
            self.world.promises.append((self.world.clock + LEASED, made))

    def _read(self):
        _, selected = self._selected()
        if selected is None:
            return
        reader = TreeReader(self.content(), self.cache, selected.reference)
        for entry in reader.index.listing:
            reader._contents.get(reader._packs[reader.index.places[entry.digest].pack])
