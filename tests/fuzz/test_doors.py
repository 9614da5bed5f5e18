"""A minute of hostile input for all doors side by side; `python -m tests.fuzz` has more time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT
from tests.fuzz.__main__ import feed, watch_for_hangs
from tests.fuzz.doors import DOORS, HOSTILE

SECONDS = os.environ.get("CASFLOW_FUZZ_SECONDS", "60")


@pytest.fixture(autouse=True)
def _alarm():
    import signal

    before = {each: signal.getsignal(each) for each in (signal.SIGALRM, signal.SIGPROF)}
    watch_for_hangs()
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.parametrize("name", DOORS)
def test_a_door_reads_its_examples(name):
    for example in DOORS[name].examples:
        assert feed(DOORS[name], example) is None


@pytest.mark.parametrize("name", DOORS)
def test_no_hostile_piece_gets_through(name):
    assert {piece: feed(DOORS[name], piece) for piece in HOSTILE} == dict.fromkeys(HOSTILE)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_hostile_gets_through():
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", SECONDS, "--seed", "1"]
    fed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert fed.returncode == 0, fed.stdout + fed.stderr
