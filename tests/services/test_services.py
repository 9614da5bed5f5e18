"""Each real service is used really once, so that a test which fails elsewhere is not its fault."""

from __future__ import annotations

import hashlib
import os
import subprocess
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import requests

from tests.services.git_http import GitServer, git
from tests.services.images import PYTHON_IMAGE

if TYPE_CHECKING:
    from tests.services.engine import DockerEngine
    from tests.services.objects import ObjectServer
    from tests.services.oci import Registry
    from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.service


@pytest.fixture(params=["s3_server", "gcs_server", "azure_server"])
def object_server(request: pytest.FixtureRequest) -> ObjectServer:
    return request.getfixturevalue(request.param)


def test_exclusive_create_has_one_winner(object_server: ObjectServer) -> None:
    filesystem = object_server.filesystem()
    key = f"{object_server.bucket()}/folder/name"
    create_once(filesystem, key, b"first")
    with pytest.raises(FileExistsError):
        create_once(filesystem, key, b"second")
    assert filesystem.cat_file(key) == b"first"


def create_once(filesystem: Any, key: str, data: bytes) -> None:
    """Write exclusively; adlfs spells it another way than the other two."""
    if "abfs" in filesystem.protocol:
        filesystem.pipe_file(key, data, overwrite=False)
    else:
        filesystem.pipe_file(key, data, mode="create")


def test_buckets_are_fresh(object_server: ObjectServer) -> None:
    first, second = object_server.bucket(), object_server.bucket()
    assert first != second
    assert object_server.filesystem().ls(second) == []


def test_registry_takes_a_blob_and_deletes_it(oci_registry: Registry) -> None:
    data = os.urandom(1000)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    blobs = f"{oci_registry.url}/v2/some/flow/blobs"
    place = requests.post(f"{blobs}/uploads/", timeout=10).headers["Location"]
    put = requests.put(place, params={"digest": digest}, data=data, timeout=10)
    assert put.status_code == 201
    assert requests.get(f"{blobs}/{digest}", timeout=10).content == data
    assert requests.delete(f"{blobs}/{digest}", timeout=10).status_code == 202
    assert requests.get(f"{blobs}/{digest}", timeout=10).status_code == 404


def test_engine_builds_and_runs(
    docker_engine: DockerEngine, busybox_image: str, tmp_path: Any
) -> None:
    lines = [f"FROM {busybox_image}", "RUN echo built > /made", 'CMD ["cat", "/made"]']
    (tmp_path / "Dockerfile").write_text("\n".join(lines))
    docker_engine.docker("build", "--network=host", "-t", "test:built", str(tmp_path))
    assert docker_engine.docker("run", "--rm", "--network=host", "test:built").stdout == "built\n"


def test_engine_pushes_to_the_registry(
    docker_engine: DockerEngine, busybox_image: str, oci_registry: Registry
) -> None:
    name = f"{oci_registry.host}/pushed:1"
    docker_engine.docker("tag", busybox_image, name)
    docker_engine.docker("push", name)
    tags = requests.get(f"{oci_registry.url}/v2/pushed/tags/list", timeout=10).json()
    assert tags["tags"] == ["1"]


def test_engine_keeps_its_images_over_a_restart(
    docker_engine: DockerEngine, busybox_image: str
) -> None:
    docker_engine.restart()
    assert docker_engine.docker("image", "inspect", busybox_image, check=False).returncode == 0


@pytest.mark.slow
def test_base_image_has_python_and_a_pip_that_installs(
    docker_engine: DockerEngine, base_image: str, tmp_path: Any
) -> None:
    assert base_image == PYTHON_IMAGE
    (tmp_path / "Dockerfile").write_text(f"FROM {base_image}\nRUN pip install -q click\n")
    docker_engine.docker("build", "--network=host", "-t", "test:pip", str(tmp_path))
    program = "import click, sys; print(*sys.version_info[:2])"
    run = docker_engine.docker("run", "--rm", "--network=none", "test:pip", "python", "-c", program)
    assert run.stdout == "3 11\n"


def test_postgres_answers_and_survives_a_restart(postgres_server: PostgresServer) -> None:
    dsn = postgres_server.dsn_of(postgres_server.database())
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    postgres_server.restart()
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_git_clones_with_a_token_and_not_without(git_http_server: GitServer, tmp_path: Any) -> None:
    repository = git_http_server.create("clone", {"flows/etl.py": "first\n"})
    repository.commit({"flows/etl.py": "second\n"})
    git("clone", "-q", git_http_server.authorized(repository), str(tmp_path / "with"))
    assert (tmp_path / "with/flows/etl.py").read_text() == "second\n"
    with pytest.raises(subprocess.CalledProcessError) as refused:
        git("clone", "-q", repository.url, str(tmp_path / "without"))
    assert "could not read Username" in refused.value.stderr
    assert requests.get(f"{repository.url}/info/refs", timeout=10).status_code == 401


def test_git_fetches_one_commit_without_its_other_files(
    git_http_server: GitServer, tmp_path: Any
) -> None:
    repository = git_http_server.create("partial", {"small.py": "1\n", "big": "x" * 100_000})
    wanted = repository.commit({"small.py": "2\n"})
    url = git_http_server.authorized(repository)
    git("init", "-q", str(tmp_path))
    fetch = ["fetch", "-q", "--depth=1", "--filter=blob:none", url, wanted]
    git(*fetch, cwd=tmp_path)
    missing = git("rev-list", "--objects", "--missing=print", "FETCH_HEAD", cwd=tmp_path).stdout
    assert missing.count("\n?") == 2
