"""The object stores, one after the other."""

from __future__ import annotations

import pytest

from tests.storage.clouds import Cloud


@pytest.fixture(params=["s3", "gcs", "azure"])
def cloud(request, monkeypatch, home):
    """Return each cloud in turn, with its settings in the environment of this process."""
    server = request.getfixturevalue(f"{request.param}_server")
    made = Cloud(request.param, server, server.bucket())
    enter(made, monkeypatch)
    return made


@pytest.fixture
def proxied(cloud, proxy_to, monkeypatch):
    """Return the cloud behind a proxy, and the proxy."""
    proxy = proxy_to(cloud.server.url, dialect=cloud.name)
    behind = cloud.through(proxy)
    enter(behind, monkeypatch)
    return behind, proxy


def enter(cloud, monkeypatch):
    for name, value in cloud.environ.items():
        monkeypatch.setenv(name, value)
