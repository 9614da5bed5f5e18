"""Processes that meet at one registry, and the clock of those tests that need none.

Invariant: the processes start from a clean fork server, so that nothing of the test process's
connections and threads is in them.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from casflow.digests import digest_of
from casflow.registry import Registry, RunState

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTEXT = multiprocessing.get_context("forkserver")
_PRELOAD = ["sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql.psycopg", "psycopg"]
_CONTEXT.set_forkserver_preload(["casflow.registry", "alembic.command", *_PRELOAD, __name__])

REFERENCE = {
    "format": 1,
    "flow": "etl",
    "digest": digest_of(b"code"),
    "incarnation": 0,
    "size": 4,
    "media_type": "text/x-python",
    "created": "2026-11-22T23:38:15.315496+00:00",
    "attachments": {},
}


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 22, 23, 38, 15, 315496, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def tick(self, seconds: float = 1) -> None:
        self.moment += timedelta(seconds=seconds)


def at_once(count: int, act: Callable[..., Any], *args: Any) -> list[Any]:
    """Run `act(*args, number)` in many processes from the same moment on; return what each said."""
    barrier, answers = _CONTEXT.Barrier(count), _CONTEXT.SimpleQueue()
    processes = [
        _CONTEXT.Process(target=_play, args=(barrier, answers, act, (*args, number)))
        for number in range(count)
    ]
    for actor in processes:
        actor.start()
    said = [answers.get() for _ in processes]
    for actor in processes:
        actor.join()
        actor.close()
    answers.close()
    return said


def _play(barrier: Any, answers: Any, act: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        barrier.wait(60)
        answers.put(act(*args))
    except BaseException as error:
        answers.put(error)


def in_background(act: Callable[..., Any], *args: Any) -> Any:
    """Start a process that plays on by itself."""
    actor = _CONTEXT.Process(target=act, args=args)
    actor.start()
    return actor


def add_one(url: str, flow: str, number: int) -> int:
    """Add a version, whatever is there; return its number."""
    with Registry(url) as registry:
        return _add(registry, flow, b"%d" % number).number


def add_if_new(url: str, flow: str, lock: bool, number: int) -> bool:
    """Register the same content like a careful caller; tell whether it was new."""
    content = b"the same"
    with Registry(url) as registry:
        while True:
            with registry.lock("default", flow, timeout=30 if lock else 0):
                latest = registry.find_latest("default", flow)
                if latest is not None and latest.digest == digest_of(content):
                    return False
                try:
                    _add(registry, flow, content, after=0 if latest is None else latest.number)
                except Exception as error:
                    if type(error).__name__ != "ConflictError":
                        raise
                else:
                    return True


def _add(registry: Registry, flow: str, content: bytes, after: int | None = None) -> Any:
    return registry.add_version(
        project=None,
        flow=flow,
        digest=digest_of(content),
        storage={},
        reference=None,
        labels=[],
        location="here",
        after=after,
    )


def claim_all(url: str, number: int) -> list[int]:
    """Take and finish runs until none waits; return their ids."""
    taken = []
    with Registry(url) as registry:
        agent = registry.add_agent(name=f"agent {number}", host="here", pid=os.getpid(), labels=[])
        while runs := registry.claim(agent, limit=3):
            for run in runs:
                registry.finish(run, RunState.SUCCESS)
                taken.append(run.id)
    return taken


def recover_all(url: str, number: int) -> list[int]:
    """Recover silent runs; return their ids."""
    with Registry(url) as registry:
        return [run.id for run in registry.recover(timedelta(seconds=0.2))]


def claim_and_hang(url: str) -> None:
    """Take a run and never say anything again."""
    with Registry(url) as registry:
        agent = registry.add_agent(name="doomed", host="here", pid=os.getpid(), labels=[])
        registry.claim(agent)
        time.sleep(600)


def hold_turn(url: str, flow: str) -> None:
    """RunAttempt a flow's turn for ever."""
    with Registry(url) as registry, registry.lock(None, flow):
        _add(registry, "turn taken", b"")
        time.sleep(600)
