"""Stores of every kind, in a home of casflow of their own."""

from __future__ import annotations

import uuid

import pytest

import casflow
from casflow.cache import Cache
from tests.signing.conftest import keys, policy, trusting

__all__ = ["keys", "policy", "trusting"]  # fixtures of others

SERVERS = {"s3": "s3_server", "gs": "gcs_server", "az": "azure_server"}
KINDS = ["folder", "memory", *(pytest.param(kind, marks=pytest.mark.service) for kind in SERVERS)]


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("CASFLOW_HOME", str(folder))
    return folder


@pytest.fixture(params=KINDS)
def open_store(request, tmp_path, monkeypatch):
    """Return what opens a store under a name, always of the same kind, with a cache of its own."""
    kind, unique = request.param, uuid.uuid4().hex
    if kind in SERVERS:
        server = request.getfixturevalue(SERVERS[kind])
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        root = f"{kind}://{server.bucket()}/some/prefix"
    else:
        root = str(tmp_path / "stores") if kind == "folder" else f"memory://{unique}"

    def opened(name="store", machine="here"):
        cache = Cache(tmp_path / f"cache-{machine}", 10**9)
        return casflow.Store(f"{root}/{name}", cache=cache)

    return opened


@pytest.fixture
def store(open_store):
    return open_store()


@pytest.fixture
def local(tmp_path):
    """A store in a folder, for what does not depend on the kind."""
    return casflow.Store(tmp_path / "store", cache=Cache(tmp_path / "cache", 10**9))


def write(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
