"""A read-only home, a full disk, a lost working folder: what only reads still works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest

from tests.home import Home

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="it mounts file systems as root"
)
READS = ["ls", "show Plain", "verify", "runs ls", "results ls", "stats", "cache ls", "run Plain"]


@pytest.fixture(params=["read-only", "full"])
def stuck(request, tmp_path):
    """Return a home with a flow that was run, on a file system that takes nothing more."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "x", place], check=False
    ).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        home = Home(place / "home")
        script = tmp_path / "flow.py"
        shutil.copy(Home(tmp_path / "other").script("Plain"), script)
        home.casflow("register", "-p", script)
        home.casflow("run", "Plain")
        if request.param == "full":
            filling = ["dd", "if=/dev/zero", f"of={place / 'filler'}", "bs=4k"]
            assert subprocess.run(filling, capture_output=True, check=False).returncode
        else:
            subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        yield home
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_what_only_reads_works_with_one_warning(stuck):
    for words in READS:
        _, err = stuck.casflow(*words.split())
        assert len(err.splitlines()) <= 1 + err.count("no results") + err.count("no runs"), err
    _, err = stuck.casflow("runs", "create", "Plain", code=...)
    assert err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in err


def run_in_a_lost_folder(home, lost, words):
    lost.mkdir()
    command = f'cd {lost} && rmdir {lost} && exec "$@"'
    return subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-m", "casflow", *words.split()],
        env=home.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_lost_working_folder_stops_nothing(home, tmp_path):
    script = home.script("Plain")
    home.casflow("register", "-p", script)
    for words in [*READS, f"register -p {script}", f"run -p {script}", "gc", "config show"]:
        done = run_in_a_lost_folder(home, tmp_path / "lost", words)
        assert done.returncode == 0, (words, done.stderr)


@pytest.mark.parametrize(
    "words", ["register -p f.py", "register -m flows", "run -p f.py", "push ."]
)
def test_what_needs_the_lost_working_folder_says_so_in_a_line(home, tmp_path, words):
    done = run_in_a_lost_folder(home, tmp_path / "lost", words)
    assert done.returncode in (2, 3), done.stderr
    assert "unexpected" not in done.stderr
    assert "Traceback" not in done.stderr


def test_an_agent_whose_working_folder_is_lost_runs_flows(home, tmp_path):
    home.casflow("register", "-p", home.script("Plain"))
    lost = tmp_path / "lost"
    lost.mkdir()
    with home.start("agent", "start", cwd=lost) as agent:
        deadline = time.monotonic() + 60
        while not home.json("agent", "status"):
            assert time.monotonic() < deadline
        lost.rmdir()
        for number in "1", "2":
            home.casflow("runs", "create", "Plain")
            while (ended := home.json("runs", "show", number))["state"] in ("Scheduled", "Running"):
                assert time.monotonic() < deadline, ended
            assert ended["state"] == "Success", ended
        agent.terminate()
        agent.communicate(timeout=60)
