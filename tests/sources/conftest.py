"""A real repository and the loopback hosts that serve it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hosts.bitbucket_cloud import BitbucketCloudHost
from tests.hosts.bitbucket_server import BitbucketServerHost
from tests.hosts.codecommit import CodeCommitHost
from tests.hosts.content import ContentHost
from tests.hosts.githttp import GitHost
from tests.hosts.github import GitHubHost
from tests.hosts.gitlab import GitLabHost
from tests.hosts.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.hosts.server import Host

HOSTS: dict[str, type[Host]] = {
    "github": GitHubHost,
    "gitlab": GitLabHost,
    "bitbucket-server": BitbucketServerHost,
    "bitbucket-cloud": BitbucketCloudHost,
    "codecommit": CodeCommitHost,
    "git": GitHost,
}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A bare repository without a commit."""
    return Repository(tmp_path / "repository")


@pytest.fixture
def serve(repository: Repository) -> Iterator[Callable[..., Host]]:
    """Start a host by its name; it stops with the test."""
    started: list[Host] = []

    def start(kind: str, token: str | None = None) -> Host:
        started.append(HOSTS[kind](repository, token).start())
        return started[-1]

    yield start
    for host in started:
        host.stop()


@pytest.fixture
def content() -> Iterator[ContentHost]:
    """A service that stores one content per path."""
    host = ContentHost().start()
    yield host
    host.stop()
