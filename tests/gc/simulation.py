"""A world in which the real writers and collectors run, one store operation at a time.

Every operation of the store is a scheduling point: the task's thread waits there until the world
lets it go on, at once, later, or never. Time is the world's own. After each effect the invariant is
checked: no committed reference names a missing blob.
"""

from __future__ import annotations

import random
import threading
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace

from casflow.blobs import layout
from casflow.blobs.base import BlobStore, ObjectInfo
from casflow.blobs.content import ContentStore
from casflow.errors import CasflowError, ConflictError, NotFoundError
from casflow.reference import Reference

BIRTH = 1_800_000_000.0
PAGE = 2  # objects of one page of a listing

KINDS = {
    layout.BLOBS: "blob",
    layout.CONDEMNED: "marker",
    layout.RUNS: "run",
    layout.PINS: "pin",
    layout.TRASH: "trash",
    layout.NAMES: "name",
    layout.LEASES: "lease",
    layout.TAGS: "tag",
    layout.VERSIONS: "number",
    layout.SIGNATURES: "signature",
    layout.FORMAT: "format",
    **{f"{kind}/": f"image {kind}" for kind in ("tag", "marker", "row")},  # of a registry
}


class KilledError(BaseException):
    """Ends a task's thread where it stands, as kill -9 does."""


class LossError(AssertionError):
    """A committed reference names a blob that is not there, or lost what was signed of it."""


def kind_of(key):
    return next((kind for prefix, kind in KINDS.items() if key.startswith(prefix)), "live")


def is_root(key):
    return kind_of(key) in ("live", "pin", "lease", "tag", "trash")


@dataclass(eq=False)
class Task:
    """Something that runs, its stalls and its death.

    Attributes:
        stalls: Seconds to wait before the first operation of each label.
        dies: Number of the operation at which it is killed, and whether after its effect.
        skew: Seconds that its wall clock is off.
    """

    name: str
    action: object
    start: float = 0.0
    stalls: dict = field(default_factory=dict)
    dies: tuple | None = None
    skew: float = 0.0
    wake: float = 0.0
    operations: int = 0
    attempt: float = 0.0
    doomed: bool = False
    done: bool = False
    outcome: object = None

    def __post_init__(self):
        self.turn = threading.Semaphore(0)


class World:
    """The clock, the objects and the scheduler."""

    def __init__(self, seed=0, deadline=3600.0):
        self.random = random.Random(seed)
        self.deadline = deadline
        self.clock = BIRTH
        self.objects = {}
        self.tasks = []
        self.current = None
        self.unsettled = {}  # references written too late, whose writer has not looked again yet
        self.dangling = set()  # keys of those whose writer died before it did
        self.trace = []
        self._mine = threading.Semaphore(0)
        self._parsed = {}

    # ---- clocks ------------------------------------------------------------------------------

    def now(self):
        skew = self.current.skew if self.current else 0.0
        return datetime.fromtimestamp(self.clock + skew, UTC)

    def boottime(self):
        return self.clock - BIRTH

    # ---- scheduling --------------------------------------------------------------------------

    def add(self, task):
        task.wake = BIRTH + task.start
        self.tasks.append(task)

    def run(self):
        """Run all tasks to their ends; re-raise what is not an error of casflow."""
        threads = [threading.Thread(target=self._live, args=(task,)) for task in self.tasks]
        for thread in threads:
            thread.start()
        last = None
        try:
            while waiting := [task for task in self.tasks if not task.done]:
                last = self._next(waiting, last)
                self._let(last)
                if isinstance(last.outcome, BaseException) and not isinstance(
                    last.outcome, (CasflowError, KilledError)
                ):
                    raise last.outcome
        finally:
            self._end(threads)

    def _next(self, waiting, last):
        ready = [task for task in waiting if task.wake <= self.clock]
        if not ready:
            self.clock = min(task.wake for task in waiting)
            ready = [task for task in waiting if task.wake <= self.clock]
        return last if last in ready and self.random.random() < 0.7 else self.random.choice(ready)

    def _let(self, task):
        self.current = task
        task.turn.release()
        self._mine.acquire()
        self.current = None

    def _live(self, task):
        task.turn.acquire()
        try:
            if not task.doomed:
                task.outcome = task.action()
        except BaseException as error:
            task.outcome = error
        finally:
            self.dangling |= {key for key, writer in self.unsettled.items() if writer is task}
            task.done = True
            self._mine.release()

    def _end(self, threads):
        for task in self.tasks:
            while not task.done:
                task.doomed = True
                self._let(task)
        for thread in threads:
            thread.join()

    def point(self, operation, key, effect):
        """Wait for the turn, do something to the objects, check."""
        task = self.current
        if task is None:
            return effect()
        label = f"{operation} {kind_of(key)}"
        task.operations += 1
        task.wake = self.clock + task.stalls.pop(label, 0.0)
        self._mine.release()
        task.turn.acquire()
        if task.doomed or self._dies(task, after=False):
            raise KilledError
        self.clock += 1.0
        self.trace.append((self.clock - BIRTH, task.name, operation, key))
        try:
            return effect()
        finally:
            if operation in ("create", "put", "delete"):
                self._observe(task, operation, key)
            if self._dies(task, after=True):
                raise KilledError

    def _dies(self, task, *, after):
        return task.dies == (task.operations, after)

    # ---- the invariant -----------------------------------------------------------------------

    def _observe(self, task, operation, key):
        if operation == "delete" or self.clock - BIRTH - task.attempt <= self.deadline:
            self.unsettled.pop(key, None)
        elif is_root(key):
            self.unsettled[key] = task
        if operation == "delete" and (name := layout.parse_signature(key)) is not None:
            self._check_unsigned(*name)
        self.check()

    def _check_unsigned(self, digest, incarnation):
        for key, (blob, *_) in self.roots():
            named = (blob.digest, blob.incarnation) == (digest, incarnation)
            if named and key not in self.unsettled:
                raise LossError(f"{key} lost a signature")

    def story(self):
        """Return what happened, one operation a line."""
        return "\n".join(f"{at:12.0f} {who:11} {what:7} {key}" for at, who, what, key in self.trace)

    def settle(self, key):
        self.unsettled.pop(key, None)
        self.check()

    def roots(self, *, dangling=False):
        """Yield keys and blobs of references that keep something, or of all that there are."""
        tags = sorted(key for key in self.objects if kind_of(key) == "tag")
        last = {layout.parse_tag_move(key)[0]: key for key in tags}
        for key, (data, _) in list(self.objects.items()):
            is_past = kind_of(key) == "tag" and key not in last.values()
            is_known = dangling or key.removeprefix(layout.TRASH) not in self.dangling
            if is_root(key) and not is_past and is_known:
                yield key, self._parse(key, data)

    def _parse(self, key, data):
        if data not in self._parsed:
            self._parsed[data] = Reference.from_bytes(data, where=key).blobs()
        return self._parsed[data]

    def check(self):
        for key, blobs in self.roots():
            for blob in blobs:
                there = layout.blob(blob.digest, blob.incarnation) in self.objects
                if not there and key not in self.unsettled:
                    raise LossError(f"{key} names a missing blob")


class WorldStore(BlobStore):
    """The world's objects as a blob store, strongly consistent, listed page by page."""

    url = "memory://world"
    parallel = 1

    def __init__(self, world):
        self.world = world

    def get(self, key):
        def effect():
            if key not in self.world.objects:
                raise NotFoundError("no object", where=key)
            return self.world.objects[key][0]

        return self.world.point("get", key, effect)

    def copy_to(self, key, target, size=None):
        target.write(self.get(key))

    def find(self, key):
        return self.world.point("find", key, lambda: self._info(key))

    def create(self, key, data):
        def effect():
            if key in self.world.objects:
                raise ConflictError("already exists", where=key)
            self.world.objects[key] = (_bytes_of(data), self.world.clock)

        self.world.point("create", key, effect)

    def put(self, key, data):
        def effect():
            self.world.objects[key] = (_bytes_of(data), self.world.clock)

        self.world.point("put", key, effect)

    def delete(self, key):
        self.world.point("delete", key, lambda: self.world.objects.pop(key, None))

    def list(self, prefix=""):
        more, last = True, ""
        while more:
            page = self.world.point("list", prefix, partial(self._page, prefix, last))
            yield from page
            more = len(page) == PAGE
            last = page[-1].key if page else last

    def _page(self, prefix, last):
        keys = sorted(key for key in self.world.objects if key.startswith(prefix) and key > last)
        return [self._info(key) for key in keys[:PAGE]]

    def _info(self, key):
        if key not in self.world.objects:
            return None
        data, modified = self.world.objects[key]
        return ObjectInfo(key, len(data), modified, f"{zlib.crc32(data):x}")


def _bytes_of(data):
    return data if isinstance(data, bytes) else data.read_bytes()


class Images(dict):
    """Stands for a machine's cache, without its files."""

    put = dict.__setitem__
    find = find_alias = dict.get
    set_alias = dict.__setitem__


class WatchedContent(ContentStore):
    """The real content store; tells the world when an attempt began and when it is settled."""

    def _late(self, started):
        if self.store.world.current is not None:
            self.store.world.current.attempt = started
        return super()._late(started)

    def _create(self, key, reference, **options):
        with self._settling(key):
            return super()._create(key, reference, **options)

    def _point(self, started, name, key, reference):
        with self._settling(name):
            return super()._point(started, name, key, reference)

    @contextmanager
    def _settling(self, key):
        """Tell the world that a writer has looked again, unless it is killed before."""
        try:
            yield
        except CasflowError:
            self.store.world.settle(key)
            raise
        else:
            self.store.world.settle(key)


class SerialPool:
    """Stands for a pool of threads, so that the order of operations is the world's choice."""

    def __init__(self, threads):
        del threads

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def submit(self, function, *args):
        return SimpleNamespace(result=partial(function, *args))
