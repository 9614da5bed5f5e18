"""The suite itself: what a run takes, what it says that it left out, and what it stands on."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

from tests import constraints

ROOT = Path(__file__).parents[1]
TESTS = """
import os
import pytest
from tests.examples import examples
from tests.services.presence import missing

def test_quick():
    pass

@pytest.mark.slow
def test_slow():
    assert examples(80) == 80

@pytest.mark.slow
def test_slow_too():
    pass

def test_service():
    missing("Teapot", "no teapot; install it")
"""


def run(tmp_path, *options, **environment):
    (tmp_path / "test_sample.py").write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        ROOT / "pyproject.toml",
        "-p",
        "tests.conftest",
    ]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", *options, tmp_path],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_says_what_it_left_out_and_how_to_run_it(tmp_path, workers):
    code, out = run(tmp_path, "-n", workers)
    assert code == 0, out
    said = out.partition("= left out =")[2]
    assert "2 slow tests: uv run pytest --full" in said
    assert "1 tests of Teapot: no teapot; install it" in said
    assert "bash .ci/run" in said


def test_a_full_run_takes_all_and_may_require_services(tmp_path):
    code, out = run(tmp_path, "--full", "-n", "2", CASFLOW_REQUIRE_SERVICES="1")
    assert code == 1
    assert "Teapot is not here" in out
    assert re.search(r"1 failed, 3 passed", out)


def test_the_environment_is_exact_and_names_no_host():
    document = tomllib.loads(constraints.PYPROJECT.read_text())
    exact = document["tool"]["uv"][constraints.KEY]
    names = {each.partition("==")[0] for each in exact}
    assert all(re.fullmatch(r"[a-z0-9._-]+==[\w.+!]+( ; .*)?", each) for each in exact)
    project = document["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    wanted += document["dependency-groups"]["dev"]
    for each in wanted:
        name = re.match(r"[\w.-]+", each)[0].lower()
        assert name == "casflow" or name in names, f"{each}: run python -m tests.constraints"


def test_an_environment_that_differs_is_described():
    known = next(
        each
        for each in tomllib.loads(constraints.PYPROJECT.read_text())["tool"]["uv"][constraints.KEY]
        if each.startswith("click==")
    )
    version = known.partition("==")[2]
    assert constraints.differences([known, "of-nobody==1.0"]) == []
    assert constraints.differences(["click==999"]) == [f"click 999, not {version}"]


@pytest.mark.skipif(sys.platform != "linux", reason="commands are forked on Linux only")
@pytest.mark.parametrize(("words", "code"), [("config show", 0), ("show nothing", 3), ("ls -x", 2)])
def test_a_forked_command_is_as_a_new_one(home, tmp_path, words, code):
    factors = {"code": code, "environment": {"CASFLOW_STORE": "there"}, "cwd": tmp_path}
    forked = home.casflow(*words.split(), **factors)
    assert forked == replace(home, forks=False).casflow(*words.split(), **factors)
