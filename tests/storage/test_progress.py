"""What the command line shows of big transfers, on a terminal and off it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import contextmanager

import pytest

from casflow.blobs.progress import BIG, watched_by

pytestmark = pytest.mark.service

SIZE = 20 * 2**20
SCRIPT = """\
from casflow import Flow, task
from casflow.storage import Azure, GCS, S3

data = bytes({size})

@task
def give():
    return len(data)

with Flow("big", storage={storage}) as flow:
    give()
"""


def on_terminal(home, *arguments):
    """Run `casflow` with a terminal as its standard error; return what that was sent."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "casflow", *map(str, arguments)]
    environment = {**home.environment, "TERM": "xterm", "COLUMNS": "160"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=theirs) as it:
        os.close(theirs)
        shown = b"".join(iter(lambda: read(ours), b""))
    os.close(ours)
    assert it.returncode == 0, shown.decode()
    return shown.decode()


def read(terminal):
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the other end is closed
        return b""


def script(home, cloud, size=SIZE):
    return home.script(text=SCRIPT.format(storage=cloud.source, size=size))


def test_a_terminal_sees_the_bytes_of_a_big_flow_go_up_and_come_down(cloud, home):
    shown = on_terminal(home, "register", "-p", script(home, cloud))
    assert "uploading to " in shown
    assert "/21.0 MB" in shown
    shown = on_terminal(home, "run", "big")
    assert "downloading from " in shown
    assert "/21.0 MB" in shown
    assert "loading" not in on_terminal(home, "run", "big")


@pytest.mark.parametrize("cloud", ["s3"], indirect=True)
def test_who_is_no_terminal_sees_nothing(cloud, home):
    assert home.casflow("register", "-p", script(home, cloud))[1] == ""
    assert home.casflow("run", "big")[1] == ""


@pytest.mark.parametrize("cloud", ["s3"], indirect=True)
def test_a_small_flow_has_no_bar(cloud, home):
    assert "uploading" not in on_terminal(home, "register", "-p", script(home, cloud, size=1000))


@pytest.mark.parametrize("as_file", [False, True])
def test_every_byte_is_told_once(cloud, tmp_path, as_file):
    seen = []

    @contextmanager
    def watch(what, size):
        counts = []
        yield counts.append
        seen.append((what.partition(" ")[0], size, sum(counts)))

    data = os.urandom(BIG + 5)
    (tmp_path / "big").write_bytes(data)
    store = cloud.storage().open_store()
    with watched_by(watch), (tmp_path / "copy").open("wb") as target:
        store.create("small", b"x")
        store.create("big", tmp_path / "big" if as_file else data)
        store.copy_to("big", target)
    assert seen == [("uploading", BIG + 5, BIG + 5), ("downloading", BIG + 5, BIG + 5)]
    assert (tmp_path / "copy").read_bytes() == data
