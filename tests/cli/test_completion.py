"""Completions as shells run them: bash always, zsh and fish where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from casflow.cli import casflow

BASH = """
source <(casflow completion bash)
complete -p casflow >/dev/null || exit 9
COMP_WORDS=(casflow "$@") COMP_CWORD=$#
_casflow_completion casflow
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def bash(home):
    """Return what bash offers for the last of some words."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not here: install it")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def complete(*words):
        done = subprocess.run(
            ["bash", "-c", BASH, "bash", *words],
            env={**home.environment, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout.split()

    return complete


def test_bash_completes_commands_options_and_flows(home, bash):
    home.casflow("register", home.script())
    assert bash("reg") == ["register", "registry"]
    assert bash("runs", "c") == ["create", "cancel"] or bash("runs", "c") == ["cancel", "create"]
    assert "--keep-last" in bash("gc", "--keep-l")
    assert bash("run", "Pl") == ["Plain"]
    assert bash("show", "Plain@") == ["Plain@1"]
    assert bash("completion", "z") == ["zsh"]


def test_a_registry_that_cannot_be_read_offers_nothing(home, bash):
    home.path.mkdir()
    (home.path / "registry.db").write_bytes(b"no database" * 1000)
    assert bash("run", "P") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_is_one_of_its_shell(home, shell, tmp_path):
    script = tmp_path / "script"
    script.write_text(home.casflow("completion", shell)[0])
    assert "_CASFLOW_COMPLETE" in script.read_text()
    if shutil.which(shell) is not None:
        subprocess.run([shell, "-n", str(script)], check=True, timeout=30)


def test_commands_are_completed_without_importing_them(capsys):
    before = {name for name in sys.modules if name.startswith("casflow.cli.")}
    context = casflow.make_context("casflow", [], resilient_parsing=True)
    words = [item.value for item in casflow.shell_complete(context, "")]
    assert {"register", "gc", "doctor"} <= set(words)
    assert {name for name in sys.modules if name.startswith("casflow.cli.")} == before
