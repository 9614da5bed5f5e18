"""A real repository, the loopback hosts that serve it, and storages that point at them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from casflow.flow import Flow
from casflow.storage import Bitbucket, CodeCommit, Git, GitHub, GitLab, load
from tests.hosts.bitbucket_cloud import BitbucketCloudHost
from tests.hosts.bitbucket_server import BitbucketServerHost
from tests.hosts.codecommit import CodeCommitHost
from tests.hosts.content import ContentHost
from tests.hosts.githttp import GitHost
from tests.hosts.github import GitHubHost
from tests.hosts.gitlab import GitLabHost
from tests.hosts.gitlocal import GitLocalHost
from tests.hosts.gitssh import GitSshHost
from tests.hosts.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from casflow.storage import Storage
    from casflow.storage.base import Opened
    from tests.hosts.server import Host

HOSTS: dict[str, type[Host]] = {
    "github": GitHubHost,
    "gitlab": GitLabHost,
    "bitbucket-server": BitbucketServerHost,
    "bitbucket-cloud": BitbucketCloudHost,
    "codecommit": CodeCommitHost,
    "git": GitHost,
    "git-local": GitLocalHost,
    "git-ssh": GitSshHost,
}
GITS = ("git", "git-local", "git-ssh")
REMOTE = sorted(HOSTS.keys() - {"git-local"})
PATH = "flows/my_flow.py"


def script(mark: object, name: str = "my-flow") -> str:
    """Return a script whose flow carries a mark."""
    return f"from casflow.flow import Flow\nflow = Flow({name!r})\nflow.mark = {mark!r}\n"


@dataclass
class World:
    """A repository, the host that serves it, and machines with caches of their own."""

    kind: str
    host: Host
    repository: Repository
    homes: Path
    monkeypatch: pytest.MonkeyPatch
    options: dict[str, Any] = field(default_factory=dict)

    def use(self, machine: str) -> None:
        """Be on a machine; each has a cache of its own."""
        self.monkeypatch.setenv("CASFLOW_HOME", str(self.homes / machine))

    def commit(self, mark: object, branch: str = "trunk") -> str:
        """Commit a script whose flow carries a mark."""
        return self.repository.commit({PATH: script(mark)}, branch)

    def storage(self, ref: str | None = None, path: str = PATH, **options: Any) -> Any:
        """Return a storage that points at the host."""
        return make(self.kind, self.host.url, ref, path, **{**self.options, **options})

    def register(self, ref: str | None = None, **options: Any) -> dict[str, Any]:
        """Register the flow and return the JSON form that an agent gets."""
        storage = self.storage(ref, **options)
        storage.add_flow(Flow("my-flow"))
        storage.build()
        return json.loads(json.dumps(storage.serialize()))

    def run(self, form: dict[str, Any]) -> Opened:
        """Load the flow as a new process would."""
        return restored(form).load_flow("my-flow")


def restored(form: dict[str, Any]) -> Storage:
    """Return the storage of a JSON form."""
    return load(json.loads(json.dumps(form)))


def make(kind: str, url: str, ref: str | None, path: str, **options: Any) -> Storage:
    """Return a storage of a kind that points at an address."""
    if kind == "github":
        return GitHub("org/repo", path, ref=ref, base_url=url, **options)
    if kind == "gitlab":
        return GitLab("org/repo", path=path, host=url, ref=ref, **options)
    if kind == "bitbucket-server":
        return Bitbucket("PROJ", "repo", path=path, host=url, ref=ref, **options)
    if kind == "bitbucket-cloud":
        return Bitbucket("PROJ", "repo", path=path, workspace="space", host=url, ref=ref, **options)
    if kind == "codecommit":
        client = {"endpoint_url": url, "region_name": "eu-west-1"}
        return CodeCommit("repo", path, commit=ref, client_options=client, **options)
    named = {} if ref is None else {"branch_name": ref}
    if ref is not None and len(ref) == 40:
        named = {"commit": ref}
    repo = url if kind == "git-local" else f"{url}/org/repo.git"
    return Git(path, repo=repo, **named, **options)


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
        host.close()


@pytest.fixture(autouse=True)
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASFLOW_HOME", str(tmp_path / "homes" / "first"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "KEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-tests")
    for name in ("GITHUB_ACCESS_TOKEN", "GITLAB_ACCESS_TOKEN", "BITBUCKET_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def open_world(
    serve: Callable[..., Host],
    repository: Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., World]:
    """Return a function that makes a world of a kind of host."""

    def open_(kind: str, token: str | None = None, **options: Any) -> World:
        host = serve(kind, token)
        return World(kind, host, repository, tmp_path / "homes", monkeypatch, options)

    return open_


@pytest.fixture(params=sorted(HOSTS))
def world(request: pytest.FixtureRequest, open_world: Callable[..., World]) -> World:
    """A world of each kind of host."""
    return open_world(request.param)


@pytest.fixture
def content() -> Iterator[ContentHost]:
    """A service that stores one content per path."""
    host = ContentHost().start()
    yield host
    host.stop()
