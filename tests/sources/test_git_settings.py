"""git as its user set it up: object formats, logins by the environment, commands for ssh."""

from __future__ import annotations

import os
import subprocess

import pytest

from casflow.errors import CasflowError
from casflow.storage import Git


def git(*arguments, cwd):
    identity = {"GIT_CONFIG_GLOBAL": "/dev/null"}
    for role in ("AUTHOR", "COMMITTER"):
        identity |= {f"GIT_{role}_NAME": "n", f"GIT_{role}_EMAIL": "e@x"}
    subprocess.run(
        ["git", *arguments],
        cwd=cwd,
        check=True,
        capture_output=True,
        env={**os.environ, **identity},
    )


def repository(folder, kind):
    folder.mkdir()
    git("init", "-q", f"--object-format={kind}", "-b", "main", cwd=folder)
    (folder / "flow.py").write_text("from casflow.flow import Flow\nflow = Flow('f')\n")
    git("add", ".", cwd=folder)
    git("commit", "-q", "-m", "x", cwd=folder)
    return folder


@pytest.mark.parametrize("default", ["sha1", "sha256"])
@pytest.mark.parametrize("kind", ["sha1", "sha256"])
def test_repositories_of_both_object_formats_are_read(kind, default, tmp_path, monkeypatch):
    (tmp_path / "config").write_text(f"[init]\n\tdefaultObjectFormat = {default}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    storage = Git("flow.py", repo=str(repository(tmp_path / "repo", kind)))
    reference = storage.resolve("f")
    assert len(reference.environment["commit"]) == {"sha1": 40, "sha256": 64}[kind]


def test_what_the_environment_configures_counts(tmp_path, monkeypatch):
    made = repository(tmp_path / "repo", "sha1")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{made}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://host.invalid/o/r.git")
    storage = Git("flow.py", repo="https://host.invalid/o/r.git")
    assert storage.resolve("f").flow == "f"


@pytest.mark.parametrize("setting", ["GIT_SSH_COMMAND", "GIT_SSH", "core.sshCommand"])
def test_the_command_for_ssh_is_the_users(setting, tmp_path, monkeypatch):
    program = tmp_path / "ssh-of-the-user"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/was-called\nexit 1\n")
    program.chmod(0o755)
    if setting.startswith("GIT"):
        monkeypatch.setenv(setting, str(program))
    else:
        (tmp_path / "config").write_text(f"[core]\n\tsshCommand = {program}\n")
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    with pytest.raises(CasflowError):
        Git("flow.py", repo="ssh://git@host.invalid/o/r.git").resolve("f")
    assert (tmp_path / "was-called").exists()
