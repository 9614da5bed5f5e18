"""Waiting for changes: none is missed, and waiting itself changes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from casflow.registry import Registry, Run, RunState, Version

Add = Callable[..., Version]


def test_nothing_happens_for_as_long_as_nothing_happens(registry: Registry, run: Run) -> None:
    with registry.watch() as watch:
        began = time.monotonic()
        assert watch.wait(0.2) is False
        assert 0.15 < time.monotonic() - began < 5


def test_a_change_before_the_wait_is_not_missed(registry: Registry, add: Add) -> None:
    version = add()
    with registry.watch() as watch:
        registry.create_run(version)
        began = time.monotonic()
        assert watch.wait(30) is True
        assert time.monotonic() - began < 5
        assert watch.wait(0.1) is False


def test_a_waiting_watch_wakes(registry: Registry, add: Add) -> None:
    version = add()
    with registry.watch() as watch:
        timer = threading.Timer(0.2, registry.create_run, [version])
        timer.start()
        assert watch.wait(30) is True
        timer.join()


@pytest.mark.parametrize("act", ["release", "finish", "cancel"])
def test_every_change_of_a_run_wakes(registry: Registry, run: Run, agent, act: str) -> None:
    (held,) = registry.claim(agent)
    with registry.watch() as watch:
        arguments = [RunState.SUCCESS] if act == "finish" else []
        getattr(registry, act)(held, *arguments)
        assert watch.wait(10) is True


def test_a_claim_that_finds_nothing_wakes_nobody(registry: Registry, agent) -> None:
    with registry.watch() as watch:
        assert registry.claim(agent) == []
        assert watch.wait(0.1) is False
