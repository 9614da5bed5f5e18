"""Whatever a process was doing when it was killed, nothing is lost or half-written."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from itertools import count
from pathlib import Path

import pytest

from casflow.blobs.local import LocalBlobStore
from casflow.cache import Cache
from casflow.flow.script import flows_in_script
from casflow.gc import verify
from casflow.registry import Registry
from casflow.storage import load
from tests import forkserver

KILLING = Path(__file__).with_name("killing.py")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="commands are forked on Linux only")


def run_killed(home, effect, when, *arguments):
    """Run casflow and kill it at an effect; return whether it was killed, and what it printed."""
    words = [str(effect), when, *map(str, arguments)]
    code, out, err = forkserver.run(words, home.environment, program=KILLING)
    assert code in (0, -signal.SIGKILL), err
    return code != 0, out


def assert_whole(home):
    found = verify(LocalBlobStore(home.path / "flows"), share=1)
    assert found.clean, found.findings


def register(script):
    flow = flows_in_script(script.read_bytes(), path=str(script))["Plain"]
    return flow.register()


def read(home):
    with Registry(f"sqlite:///{home.path / 'registry.db'}") as registry:
        version = registry.get_version(None, "Plain")
    return load(version.storage).load_flow("Plain")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_write_of_register(home, when):
    script = home.script()
    for effect in count(1):
        killed, out = run_killed(home, effect, when, "register", "-p", script, "--json")
        if not killed:
            break
        assert_whole(home)
        assert register(script).version == 1
        assert len(home.references()) == 1
        assert_whole(home)
        assert read(home).flow.run().is_successful()
        shutil.rmtree(home.path)
    assert json.loads(out)[0]["status"] == "registered"
    assert effect > 15


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_write_of_a_cache_fill(home, when):
    register(home.script())
    for effect in count(1):
        killed, out = run_killed(home, effect, when, "run", "Plain", "--json")
        if not killed:
            break
        assert Cache(home.path / "cache", 10**9).verify() == []
        assert read(home).flow.run().is_successful()
        assert read(home).hit
        assert_whole(home)
        shutil.rmtree(home.path / "cache", ignore_errors=True)
    assert json.loads(out)["cache"] == "miss"
    assert effect > 5
