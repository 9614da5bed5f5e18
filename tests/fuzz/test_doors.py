"""A moment of hostile input for every door; `python -m tests.fuzz` has all the time there is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT
from tests.fuzz.__main__ import _hangs, feed
from tests.fuzz.doors import DOORS, HOSTILE

SECONDS = float(os.environ.get("CASFLOW_FUZZ_SECONDS", "0.5"))


@pytest.fixture(autouse=True)
def alarm():
    """Have hangs be failures."""
    before = signal.signal(signal.SIGALRM, _hangs)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", DOORS)
def test_a_door_reads_its_examples(name):
    for example in DOORS[name].examples:
        assert feed(DOORS[name], example) is None


@pytest.mark.parametrize("name", DOORS)
def test_nothing_hostile_gets_through(name):
    assert {piece: feed(DOORS[name], piece) for piece in HOSTILE} == dict.fromkeys(HOSTILE)
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(SECONDS), "--seed", "1"]
    # A process of its own, so that its memory is its own.
    fed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert fed.returncode == 0, fed.stdout + fed.stderr
