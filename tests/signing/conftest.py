"""Keys, and a home whose settings trust some of them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

import casflow
from casflow.cache import Cache

if TYPE_CHECKING:
    from pathlib import Path


def ssh_keygen(*arguments, data=None):
    command = ["ssh-keygen", *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


@dataclass
class Keys:
    """Keys of the test, each made when it is first asked for."""

    folder: Path
    made: dict[str, Path] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Path:
        if name not in self.made:
            path = self.folder / name
            ssh_keygen("-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path)
            self.made[name] = path
        return self.made[name]

    def public(self, name: str) -> str:
        return " ".join(self[name].with_suffix(".pub").read_text().split()[:2])


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("CASFLOW_HOME", str(folder))
    return folder


@pytest.fixture
def trusting(home, keys):
    """Let the keys of these names count, with what stands before each key; and revoke others."""

    def trust(*names, revoked=(), **options):
        lines = [f"{name}@example.com {keys.public(name)}\n" for name in names]
        lines += [f"{n}@example.com {o} {keys.public(n)}\n" for n, o in options.items()]
        (home / "allowed_signers").write_text("".join(lines))
        (home / "revoked_keys").write_text("".join(f"{keys.public(n)}\n" for n in revoked))

    return trust


@pytest.fixture
def policy(monkeypatch):
    """Set the policy."""

    def require(*patterns, threshold=1):
        monkeypatch.setenv("CASFLOW_REQUIRE", " ".join(patterns))
        monkeypatch.setenv("CASFLOW_THRESHOLD", str(threshold))

    return require


@pytest.fixture
def store(tmp_path):
    return casflow.Store(tmp_path / "store", cache=Cache(tmp_path / "cache", 10**9))


@pytest.fixture
def project(tmp_path):
    """Return a folder whose only file says this."""

    def written(text="one", name="project"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "main.py").write_text(text)
        return folder

    return written
