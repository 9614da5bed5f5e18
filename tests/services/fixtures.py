"""The fixtures by which tests get servers: one of each kind for a session, started on demand.

With several workers each has its own; tests of what is slow to set up share one worker.
The object servers keep what is written to them, so a test asks them for a fresh `bucket()`.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.services import images
from tests.services.azure import Azure, AzuriteServer, find_azurite
from tests.services.engine import DockerEngine, require_engine
from tests.services.gcs import GCS, FakeGcsServer
from tests.services.git_http import GitServer
from tests.services.oci import Registry
from tests.services.podman import (
    PodmanEngine,
    RootlessPodmanEngine,
    require_podman,
    require_rootless_podman,
)
from tests.services.postgres import PostgresServer, require_postgres
from tests.services.presence import missing, require
from tests.services.proxy import Proxy
from tests.services.s3 import S3, MotoServer
from tests.services.tls_registry import TlsRegistry, require_tls_registry
from tests.services.token_registry import TokenFront, TokenService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# gcsfs reads it when it is imported; without it every first use waits for a gRPC service.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"


# Fixtures that are slow to set up, and the group of their tests.
_SLOW = {"docker_engine": "docker", "cluster": "dask", "found": "kinds", "built": "wheel"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all tests of what is slow to set up on one worker, so that it is done once."""
    for item in items:
        for name in _SLOW.keys() & getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group(_SLOW[name]))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """An S3 endpoint."""
    with MotoServer() as server:
        yield S3(server.url)


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[GCS]:
    """A GCS endpoint."""
    with FakeGcsServer() as server:
        yield GCS(server.url)


@pytest.fixture(scope="session")
def azure_server() -> Iterator[Azure]:
    """An Azure blob endpoint."""
    if find_azurite() is None:
        missing(
            "Azure",
            "no azurite-blob; npm install azurite and name its folder in CASFLOW_TEST_AZURITE",
        )
    with AzuriteServer() as server:
        yield Azure(server.url)


@pytest.fixture(scope="session")
def oci_registry() -> Iterator[Registry]:
    """An OCI registry on loopback."""
    require("OCI registry", "docker-registry", install="docker-registry")
    with Registry() as server:
        yield server


@pytest.fixture(scope="session")
def tls_registry(oci_registry: Registry) -> Iterator[TlsRegistry]:
    """The same registry behind TLS by a private authority, and a password."""
    require_tls_registry()
    with TlsRegistry(oci_registry.host) as server:
        yield server


@pytest.fixture(scope="session")
def token_registry() -> Iterator[TokenFront]:
    """A registry that takes tokens alone, behind TLS by a private authority."""
    require("OCI registry", "docker-registry", install="docker-registry")
    require_tls_registry()
    with TokenService() as service, TokenFront(service) as front:
        yield front


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[DockerEngine]:
    """A Docker engine without images."""
    require_engine()
    with DockerEngine() as engine:
        yield engine


@pytest.fixture(scope="session")
def podman_engine() -> Iterator[PodmanEngine]:
    """A podman service without images, spoken to as a Docker engine."""
    require_podman()
    with PodmanEngine() as engine:
        yield engine


@pytest.fixture(scope="session")
def rootless_podman_engine() -> Iterator[RootlessPodmanEngine]:
    """A podman service without images that a user runs."""
    require_rootless_podman()
    with RootlessPodmanEngine() as engine:
        yield engine


@pytest.fixture(scope="session")
def base_image(docker_engine: DockerEngine) -> str:
    """Name of an image with Debian, Python 3.11 and pip, in the engine."""
    images.require_debootstrap()
    return docker_engine.load_root(images.python_root(), images.PYTHON_IMAGE)


@pytest.fixture(scope="session")
def busybox_image(docker_engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of a 2 MB image with a shell, in the engine."""
    require("busybox image", "busybox", install="busybox-static")
    root = images.busybox_root(tmp_path_factory.mktemp("busybox"))
    return docker_engine.load_root(root, images.BUSYBOX_IMAGE)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server; ask it for a `database()`."""
    require_postgres()
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def git_http_server() -> Iterator[GitServer]:
    """A git server that wants a token; `create` a repository under a name of your own."""
    require("git over HTTP", "git", install="git")
    with GitServer() as server:
        yield server


@pytest.fixture
def proxy_to() -> Iterator[Callable[..., Proxy]]:
    """Start a proxy in front of a URL: `proxy_to(url, latency=0.025, dialect="gcs")`."""
    with ExitStack() as stack:

        def start(url: str, **options: Any) -> Proxy:
            return stack.enter_context(Proxy(url, **options))

        yield start
