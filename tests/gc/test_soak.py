"""Eight registering processes, one of them asleep, and two collectors: nothing is ever missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from casflow.gc import Collector, Limits, verify
from casflow.storage.urls import open_url
from tests.gc.soaking import LIMITS, SPEED, Fast

SECONDS = float(os.environ.get("GC_SOAK_SECONDS", "30"))  # 600 in the long mode
WRITERS, COLLECTORS = 8, 2
ASLEEP = 5.0  # seconds of the wall


def start(what, url, number, epoch):
    command = [sys.executable, "-m", "tests.gc.soaking", what, url, number, SECONDS, epoch]
    return subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def soak(url):
    """Let them run; return the store, how much was registered, and how much deleted."""
    epoch = time.time()
    writers = [start("register", url, number, epoch) for number in range(WRITERS)]
    time.sleep(2)
    collectors = [start("collect", url, number, epoch) for number in range(COLLECTORS)]
    end = time.time() + SECONDS - 2 * ASLEEP
    while time.time() < end:
        _sleep(writers[0])
        time.sleep(ASLEEP / 2)
    counts = [_finish(each) for each in (*writers, *collectors)]
    return Fast(open_url(url), epoch), sum(counts[:WRITERS]), sum(counts[WRITERS:])


def _sleep(process):
    """Stop a process for longer than a writer may take."""
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(ASLEEP)
    os.kill(process.pid, signal.SIGCONT)


def _finish(process):
    out, err = process.communicate(timeout=SECONDS + 120)
    assert process.returncode == 0, err
    return int(out)


def hold(url, least, *, deletes):
    """Soak a store; at least so much must be registered, or nothing was shown."""
    store, registered, deleted = soak(url)
    assert registered >= least
    assert deleted > 0 or not deletes
    assert verify(store, share=1).findings == ()
    limits = Limits(grace=0, trash=0, exclusive=True)
    Collector(store, limits=limits, clock=store.clock, now=store.now).run()
    done = verify(store, share=1)
    assert done.findings == ()
    assert done.orphaned.blobs == 0
    assert LIMITS.grace > ASLEEP * SPEED > LIMITS.deadline


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_soak_on_a_folder(tmp_path):
    hold(str(tmp_path / "store"), SECONDS, deletes=True)


@pytest.mark.slow
@pytest.mark.service
@pytest.mark.timeout(3600)
def test_soak_on_s3(s3_server, monkeypatch):
    for name, value in s3_server.environ.items():
        monkeypatch.setenv(name, value)
    hold(f"s3://{s3_server.bucket()}", WRITERS, deletes=SECONDS > 100)
