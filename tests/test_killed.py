"""Whatever a process was doing when it was killed, nothing is lost or half-written."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest

KILLING = Path(__file__).with_name("killing.py")


def run_killed(home, effect, when, *arguments):
    """Run casflow and kill it at an effect; return whether it was killed, and what it printed."""
    done = subprocess.run(
        [sys.executable, str(KILLING), str(effect), when, *map(str, arguments)],
        env=home.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_write_of_register(home, when):
    script = home.script()
    for effect in count(1):
        killed, out = run_killed(home, effect, when, "register", "-p", script, "--json")
        if not killed:
            break
        if home.references():
            home.casflow("verify")
        (result,) = home.json("register", "-p", script)
        assert result["version"] == 1
        assert len(home.references()) == 1
        home.casflow("verify")
        shutil.rmtree(home.path)
    assert json.loads(out)[0]["status"] == "registered"
    assert effect > 15


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_write_of_a_cache_fill(home, when):
    home.json("register", "-p", home.script())
    for effect in count(1):
        killed, out = run_killed(home, effect, when, "run", "Plain", "--json")
        if not killed:
            break
        home.casflow("cache", "verify")
        assert home.json("run", "Plain")["state"] == "Success"
        assert home.json("run", "Plain")["cache"] == "hit"
        home.casflow("verify")
        shutil.rmtree(home.path / "cache")
    assert json.loads(out)["cache"] == "miss"
    assert effect > 5
