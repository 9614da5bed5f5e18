"""Registries for the tests: a fresh one of every kind, on a clock that the test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from casflow.digests import digest_of
from casflow.registry import Agent, Registry, Run, Version
from tests.registry.processes import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.service)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty registry of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'registry.db'}"
    server = request.getfixturevalue("postgres_server")
    return server.url_of(server.database())


@pytest.fixture
def clock() -> Clock:
    """The time as the registry sees it."""
    return Clock()


@pytest.fixture
def registry(url: str, clock: Clock) -> Iterator[Registry]:
    """An empty registry of each kind."""
    with Registry(url, now=clock) as registry:
        yield registry


@pytest.fixture
def add(registry: Registry) -> Callable[..., Version]:
    """Register a version with values that do not matter."""

    def added(flow: str = "etl", content: bytes = b"code", **options: Any) -> Version:
        values = {"project": None, "storage": {"type": "Local"}, "reference": None, "labels": []}
        values |= {"location": "etl/2026", "digest": digest_of(content)} | options
        return registry.add_version(flow=flow, **values)

    return added


@pytest.fixture
def agent(registry: Registry) -> Agent:
    """An agent that carries `gpu` and `linux`."""
    return registry.add_agent(name="first", host="here", pid=1, labels=["linux", "gpu"])


@pytest.fixture
def run(registry: Registry, add: Callable[..., Version]) -> Run:
    """A run that waits, without labels."""
    return registry.create_run(add())
