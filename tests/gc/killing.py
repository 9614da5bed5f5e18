"""Run something on a store in a child process, and kill it at each of the store's operations."""

from __future__ import annotations

import os
import signal
import time
import traceback
import warnings
from datetime import date
from itertools import count

from casflow.blobs import layout
from casflow.blobs.content import ContentStore, Draft
from casflow.errors import NotFoundError
from casflow.gc import Collector, Limits, Policy, is_pin, pin, undelete, unpin, verify
from casflow.gc.limits import DAY
from casflow.reference import PICKLE
from casflow.testing.faults import EFFECTS, OPERATIONS, FaultyStore
from tests.gc.aging import Later

LONG = bool(os.environ.get("GC_LONG"))


def draft(flow, data, **attachments):
    return Draft(flow, data, PICKLE, (), attachments)


def collect(store, later=0.0, **options):
    aged = Later(store, later)
    return Collector(aged, now=aged.now, threads=1, **options).run()


class Case:
    """What is prepared, what is killed, and what must hold afterwards."""

    operations = OPERATIONS

    def prepare(self, store):
        """Fill a new store."""
        content = ContentStore(store)
        content.commit(draft("stays", b"stays"))

    def act(self, store):
        """Do what will be killed; done again, it must succeed."""
        raise NotImplementedError

    def check(self, store):
        """Check what it was for."""


class Register(Case):
    def act(self, store):
        ContentStore(store).commit(draft("flow", b"flow", source_map=b"lines"))

    def check(self, store):
        assert ContentStore(store).find_latest("flow") is not None


class RegisterNamed(Case):
    def act(self, store):
        ContentStore(store).commit(draft("flow", b"flow"), name="fixed/name")

    def check(self, store):
        assert ContentStore(store).get_reference("fixed/name").flow == "flow"


class RegisterCondemned(Register):
    """The blob is there, and condemned."""

    def prepare(self, store):
        super().prepare(store)
        self.act(store)
        store.delete(ContentStore(store).find_latest("flow").key)
        collect(store)


class Collect(Case):
    """One run that expires, purges, condemns, deletes and forgets."""

    operations = OPERATIONS if LONG else EFFECTS  # its many readings leave nothing behind

    def prepare(self, store):
        super().prepare(store)
        content = ContentStore(store)
        for data in (b"1", b"2", b"3"):
            content.commit(draft("flow", data))
        gone = [content.commit(draft("gone", data)) for data in (b"4", b"5")]
        store.delete(gone[0].key)
        collect(store)
        store.create(layout.marker("blake3:" + "0" * 64, 0), b"")
        collect(store, policy=Policy(last=2))
        store.delete(gone[1].key)

    def act(self, store):
        collect(store, 40 * DAY, policy=Policy(last=1), limits=Limits(trash=DAY))

    def check(self, store):
        assert len(ContentStore(store).reference_keys("flow")) == 1


class Pin(Case):
    def act(self, store):
        content = ContentStore(store)
        pin(content, content.find_latest("stays").key, "pinned")

    def check(self, store):
        assert is_pin(ContentStore(store), "pinned")


class Unpin(Pin):
    def prepare(self, store):
        super().prepare(store)
        super().act(store)

    def act(self, store):
        try:
            unpin(ContentStore(store), "pinned")
        except NotFoundError:
            return

    def check(self, store):
        assert not is_pin(ContentStore(store), "pinned")


class Undelete(Case):
    """What comes back was condemned in the meantime, so its bytes are copied."""

    def prepare(self, store):
        super().prepare(store)
        content = ContentStore(store)
        first = content.commit(draft("flow", b"1"))
        content.commit(draft("flow", b"2"))
        collect(store, policy=Policy(last=1))
        store.create(layout.marker(first.reference.digest, 0), b"")

    def act(self, store):
        for info in list(store.list(layout.TRASH)):
            undelete(ContentStore(store), info.key.removeprefix(layout.TRASH))

    def check(self, store):
        assert len(ContentStore(store).reference_keys("flow")) == 2


class Tag(Case):
    def act(self, store):
        content = ContentStore(store)
        content.copy(content.find_latest("stays").reference, layout.tag_move("tree", "prod", 1))

    def check(self, store):
        assert store.find(layout.tag_move("tree", "prod", 1)) is not None


class Lease(Case):
    def act(self, store):
        content = ContentStore(store)
        content.copy(content.find_latest("stays").reference, self._key(content))

    def _key(self, content):
        digest = content.find_latest("stays").reference.digest
        return layout.lease(digest, "host", date(2090, 1, 1))

    def check(self, store):
        assert store.find(self._key(ContentStore(store))) is not None


CASES = (Tag, Lease, Register, RegisterNamed, RegisterCondemned, Collect, Pin, Unpin, Undelete)


def kill_everywhere(case, when, open_store, every=1):
    """Kill a case at each operation of its store, each time on a new one; return how often.

    Args:
        case: What is prepared and killed.
        when: `before` or `after` the operation's effect.
        open_store: Returns a new store.
        every: Kill at each n-th operation only.
    """
    for number in count(1, every):
        store = open_store()
        case.prepare(store)
        if not _killed(lambda n=number, s=store: case.act(_faulty(case, s, n, when))):
            assert number > 1
            return number // every
        _hold(case, store)
    return 0


def kill_sometime(case, open_store, times, chance):
    """Kill a case so many times at random moments, each time on a new store."""
    store = open_store()
    case.prepare(store)
    began = time.perf_counter()
    assert not _killed(lambda: case.act(store))
    took, kills = time.perf_counter() - began, 0
    while kills < times:
        store = open_store()
        case.prepare(store)
        kills += _killed(lambda s=store: case.act(s), took * chance.random())
        _hold(case, store)


def _hold(case, store):
    """Check that a store is whole, that what was killed can be done again, and garbage goes."""
    assert verify(store, share=1).findings == ()
    case.act(store)
    case.check(store)
    assert verify(store, share=1).findings == ()
    _all_garbage_goes(store)


def _faulty(case, store, number, when):
    options = {"fail_at": number, "when": when, "operations": case.operations}
    return FaultyStore(store, action="kill", **options)


def _all_garbage_goes(store):
    """Collect while nobody writes: only what is named is left."""
    collect(store, 50 * DAY, limits=Limits(grace=0, trash=0, exclusive=True))
    done = verify(store)
    assert done.findings == ()
    assert done.orphaned.blobs == 0


def _killed(action, after=None):
    """Do something in a child, which kills itself or is killed after some seconds; tell which."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is meant
        child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or os.waitstatus_to_exitcode(status) == 0
    return killed
