"""A home of casflow for one test, and the command line run in it as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests import forkserver

if TYPE_CHECKING:
    from pathlib import Path

# There each command is a new process, with an order of sets of its own.
ALL_NEW = ("registration", "serialize")
KEPT = ("CASFLOW_REQUIRE_SERVICES", "CASFLOW_TEST_")  # meant for the tests

PLAIN = """\
from casflow import Flow, Parameter, task

@task
def extract(n):
    return list(range(n))

@task
def load(numbers):
    return sum(numbers)

with Flow({name!r}) as flow:
    load(extract(Parameter("n", default=4)))
"""


@dataclass(frozen=True)
class Home:
    """A folder that casflow calls home.

    Attributes:
        path: The folder.
        forks: Whether commands may be forked, see `tests.forkserver`.
    """

    path: Path
    forks: bool = True

    @property
    def environment(self):
        kept = {name: value for name, value in os.environ.items() if name[:8] != "CASFLOW_"}
        return {**kept, "CASFLOW_HOME": str(self.path), "HOME": str(self.path)}

    def start(self, *arguments, environment=None, **options):
        """Start `casflow` in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "casflow", *map(str, arguments)],
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def casflow(self, *arguments, code=0, environment=None, cwd=None):
        """Run `casflow` and return what it printed and complained; `...` is any code."""
        words, variables = [*map(str, arguments)], {**self.environment, **(environment or {})}
        if self.forks and forkserver.can_fork(words, variables):
            ended, out, err = forkserver.run(words, variables, cwd)
        else:
            with self.start(*words, environment=environment, cwd=cwd) as process:
                out, err = process.communicate(timeout=120)
            ended = process.returncode
        assert code is ... or ended == code, f"exit {ended}: {out}{err}"
        return out, err

    def json(self, *arguments, **options):
        """Run `casflow ... --json` and return its document."""
        return json.loads(self.casflow(*arguments, "--json", **options)[0])

    def script(self, name="Plain", *, text=PLAIN, file="flow.py"):
        """Write a script that makes a flow and return its path."""
        path = self.path.parent / "scripts" / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("{name!r}", repr(name)))
        return path

    def blobs(self):
        return sorted(path.name for path in self.path.glob("flows/.casflow/blobs/??/*"))

    def references(self):
        return sorted(self.path.glob("flows/[!.]*/*"))


@pytest.fixture
def home(tmp_path, monkeypatch, request):
    """Return a fresh home, which is this process's own, too."""
    for name in list(os.environ):
        if name.startswith("CASFLOW_") and not name.startswith(KEPT):
            monkeypatch.delenv(name)
    made = Home(tmp_path / "home", forks=request.node.path.parent.name not in ALL_NEW)
    monkeypatch.setenv("CASFLOW_HOME", str(made.path))
    return made
