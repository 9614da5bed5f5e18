"""What tests of integrations share: a project of one module, in a store of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import casflow
from tests.services import hosts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "pkg").mkdir(parents=True)
    (folder / "pkg" / "__init__.py").write_text("VERSION = 1\n")
    (folder / "data").mkdir()
    (folder / "data" / "numbers.csv").write_text("a,b\n1,2\n3,4\n")
    (folder / "data" / "latest.csv").symlink_to("numbers.csv")
    return folder


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> casflow.Store:
    monkeypatch.setenv("CASFLOW_HOME", str(tmp_path / "home"))
    return casflow.Store(str(tmp_path / "store"))


def host_of(name: str, tmp_path: Path) -> hosts.Host:
    try:
        folder = hosts.make(name)
    except RuntimeError as error:
        if os.environ.get("CASFLOW_REQUIRE_SERVICES"):
            raise
        pytest.skip(str(error))
    home = tmp_path / "host"
    home.mkdir()
    return hosts.Host(folder, hosts.environment(home))
