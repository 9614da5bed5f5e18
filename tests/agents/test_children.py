"""Forked children from from their fork to their report."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from casflow.agents import warmup
from casflow.registry import RunState

if TYPE_CHECKING:
    from casflow.agents.fork_client import ForkClient, ForkedRun
    from tests.agents.conftest import House

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no fork server here")

NUMPY = """
    import sys, pathlib
    loaded = "numpy.random" in sys.modules
    import numpy
    pathlib.Path(FILE).write_text(f"{loaded} {numpy.random.random()}")
    numpy.random.seed(1)
"""


def _end(house: House, process: ForkedRun) -> None:
    house.until(lambda: process.exit_code() is not None)


def _ahead(house: House, fork_client: ForkClient) -> int:
    fork_client.poll()
    house.until(lambda: fork_client._receive(1) or fork_client._forked)
    return fork_client._forked[0]


def test_a_run_gets_the_child_that_was_forked_ahead(house: House, fork_client: ForkClient) -> None:
    child = _ahead(house, fork_client)
    process = house.fork(house.ask(), fork_client)
    assert process.pid == child
    assert _ahead(house, fork_client) != child
    _end(house, process)
    report = process.find_report()
    assert report is not None
    assert report.state == RunState.SUCCESS


def test_a_warm_up_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CASFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("CASFLOW_CHECKPOINTING", "1")
    before = set(Path("/proc/self/fd").iterdir())
    warmup.make_warm_up()()
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_a_child_that_died_while_it_waited_gets_no_run(
    house: House, fork_client: ForkClient
) -> None:
    child = _ahead(house, fork_client)
    os.kill(child, signal.SIGKILL)
    house.until(lambda: not Path("/proc", str(child), "exe").exists())
    with pytest.raises(BrokenPipeError):
        house.fork(house.ask(), fork_client)
    process = house.fork(house.ask(), fork_client)
    _end(house, process)
    assert process.exit_code() == 0


@pytest.mark.parametrize("fork", [True, False])
def test_threads_and_exit_functions_of_a_run_are_brought_to_their_end(
    house: House, fork: bool
) -> None:
    files = house.folder / "thread", house.folder / "exit"
    run = house.ask(f"""
        import atexit, pathlib, threading, time
        thread, end = map(pathlib.Path, {tuple(map(str, files))!r})
        threading.Thread(target=lambda: (time.sleep(0.3), thread.touch())).start()
        atexit.register(lambda: end.write_text(str(thread.exists())))
    """)
    house.work(fork=fork)
    assert house.registry.get_run(run.id).state == RunState.SUCCESS
    assert files[1].read_text() == "True"


@pytest.mark.parametrize("fork", [True, False])
def test_a_run_that_has_reported_may_not_stay_for_ever(house: House, fork: bool) -> None:
    run = house.ask(
        "import threading, time; threading.Thread(target=time.sleep, args=[600]).start()"
    )
    house.work(fork=fork, grace=0.5)
    done = house.registry.get_run(run.id)
    assert (done.state, done.attempt) == (RunState.SUCCESS, 1)


@pytest.mark.parametrize("fork", [True, False])
def test_parameters_may_be_larger_than_a_pipe(house: House, fork: bool) -> None:
    run = house.ask(f"""
        text = {"x" * 300_000!r}
        assert len(text) == 300_000
    """)
    house.work(fork=fork)
    assert house.registry.get_run(run.id).message == "All tasks succeeded"


def test_numpy_is_seeded_anew_for_each_run(
    house: House, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("numpy")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # else it starts threads, and is not loaded
    fork_client = request.getfixturevalue("fork_client")
    fork_client.load(["numpy.random"])
    said = []
    deadline = time.monotonic() + 60
    while len([each for each in said if each.startswith("True")]) < 3:
        assert time.monotonic() < deadline
        file = house.folder / "said"
        _end(house, house.fork(house.ask(NUMPY.replace("FILE", repr(str(file)))), fork_client))
        said.append(file.read_text())
    assert len(set(said)) == len(said)
