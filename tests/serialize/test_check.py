"""`casflow register --check`: two further processes make the same bytes, or the place is named."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FLOW = """
from casflow import Flow, task

ORDER = {0}


@task
def say():
    return ORDER


with Flow("said") as flow:
    say()
"""


def register(folder, value):
    """Register a script with --check in a home of its own."""
    (folder / "said.py").write_text(FLOW.format(value))
    command = [sys.executable, "-m", "casflow", "register", "-p", "said.py", "--check"]
    environment = {**os.environ, "CASFLOW_HOME": str(folder / "home"), "PYTHONHASHSEED": "7"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_a_flow_that_is_the_same_passes(tmp_path):
    """A script by its path and imported by another, after other imports, is one flow."""
    done = register(tmp_path, "{'a', 'b', 'c'}")
    assert done.returncode == 0, done.stderr
    assert "registered, version 1" in done.stdout


def test_an_order_of_a_set_is_named(tmp_path):
    """What differs from process to process is an error that says where it is."""
    done = register(tmp_path, "list({'alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta'})")
    assert done.returncode != 0
    assert "not reproducible" in done.stderr
    assert "ORDER" in done.stderr


@pytest.mark.slow
def test_a_text_made_of_the_modules_name_is_named(tmp_path):
    """It is one text when the script is registered, and another when something imports it."""
    done = register(tmp_path, "'jobs of ' + __name__")
    assert done.returncode != 0
    assert "ORDER" in done.stderr
    assert "__name__ is another" in done.stderr


@pytest.mark.slow
def test_a_path_of_the_script_is_named(tmp_path):
    """It is another one wherever the project lies."""
    done = register(tmp_path, "__file__")
    assert done.returncode != 0
    assert "ORDER" in done.stderr


@pytest.mark.slow
def test_a_flow_that_does_not_load_is_told_why(tmp_path):
    """A clean process says what it says, before anything is registered."""
    value = "type('Odd', (), {'__reduce__': lambda self: (int, ('seven',))})()"
    done = register(tmp_path, value)
    assert done.returncode != 0
    assert "does not load in a clean process (ValueError" in done.stderr
    assert "registered" not in done.stdout
