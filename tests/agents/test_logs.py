"""What a run prints is kept by its agent, within bounds, and shown."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime

import pytest

from casflow import config
from casflow.agents import logs
from casflow.agents.logs import PART, RunLog
from casflow.registry import Registry, Run, RunState

TALKS = """
import os, subprocess, sys
from casflow import Flow, task

@task
def talk():
    print("printed by the flow")
    print("complained", file=sys.stderr)
    os.write(1, b"written past Python\\n")
    subprocess.run(["echo", "said by a child"])
    DO

with Flow("Talks") as flow:
    talk()
"""


def run_of(number=1, attempt=1, created=1_700_000_000.5):
    moment = datetime.fromtimestamp(created, UTC)
    return Run(
        number, "default", "f", 1, "blake3:" + "0" * 64, {}, (), RunState.RUNNING, None, moment,
        attempt, 0, "a", None, moment, None, None, None,
    )  # fmt: skip


def text_of(kept):
    return b"".join(each.data for each in kept.read())


@pytest.mark.parametrize("first", [True, False], ids=["forked", "spawned"])
def test_what_a_run_prints_is_kept_and_shown(home, first):
    home.casflow("register", home.script(text=TALKS.replace("DO", "")))
    home.casflow("runs", "create", "Talks")
    if not first:  # a second attempt is never forked
        with Registry(config.load().registry) as registry:
            version = registry.get_version(None, "Talks")
            agent = registry.add_agent(name="a", host="h", pid=1, labels=version.labels)
            (run,) = registry.claim(agent)
            registry.release(run)
    _, err = home.casflow("agent", "start", "--once")
    out, _ = home.casflow("runs", "logs", "1")
    for line in ("printed by the flow", "complained", "written past Python", "said by a child"):
        assert line in out
        assert line in err
    assert home.json("runs", "logs", "1")["text"] == out
    assert home.casflow("runs", "logs", "1", "-f")[0] == out
    assert home.json("runs", "show", "1")["host"] == os.uname().nodename
    modes = {path.stat().st_mode & 0o077 for path in (home.path / "logs").rglob("*")}
    assert modes == {0}


def test_a_run_that_is_killed_leaves_what_it_printed(home):
    home.casflow("register", home.script(text=TALKS.replace("DO", "os.kill(os.getpid(), 9)")))
    home.casflow("runs", "create", "Talks")
    home.casflow("agent", "start", "--once")
    assert home.json("runs", "show", "1")["state"] == "Failed"
    out, _ = home.casflow("runs", "logs", "1")
    assert "written past Python" in out


def test_a_known_secret_is_not_kept(home):
    text = TALKS.replace("DO", "from casflow.secrets import Secret; print(Secret('WORD').get())")
    home.casflow("register", home.script(text=text))
    home.casflow("runs", "create", "Talks")
    home.casflow("agent", "start", "--once", environment={"WORD": "sesame-open-up"})
    kept = b"".join(path.read_bytes() for path in (home.path / "logs").iterdir())
    assert b"***" in kept
    assert b"sesame-open-up" not in kept


def test_a_log_is_followed_while_it_grows(home):
    home.casflow("register", home.script())
    with Registry(config.load().registry) as registry:
        version = registry.get_version(None, "Plain")
        registry.create_run(version)
        agent = registry.add_agent(name="a", host=os.uname().nodename, pid=1, labels=version.labels)
        (run,) = registry.claim(agent)
        kept = RunLog(run)
        kept.write(b"first\n")
        with home.start("runs", "logs", "1", "--follow") as follower:
            assert follower.stdout.readline() == "first\n"
            kept.write(b"second\n")
            assert follower.stdout.readline() == "second\n"
            registry.finish(run, RunState.SUCCESS)
            assert follower.wait(60) == 0


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("1", "no agent has taken it yet"),
        ("2", "it ran on elsewhere"),
        ("9", "no such run"),
    ],
)
def test_a_log_that_is_not_here_is_said_to_be_elsewhere(home, number, words):
    home.casflow("register", home.script())
    with Registry(config.load().registry) as registry:
        version = registry.get_version(None, "Plain")
        registry.create_run(version, labels=["none"])
        registry.create_run(version)
        agent = registry.add_agent(name="a", host="elsewhere", pid=1, labels=version.labels)
        registry.claim(agent)
    _, err = home.casflow("runs", "logs", number, code=3)
    assert words in err
    assert err.count("\n") == 1


def test_a_long_log_keeps_its_first_part_and_its_last(home):
    kept = RunLog(run_of())
    line = b"%07d\n"
    count = 8 * PART // len(line % 0)
    kept.write(b"".join(line % number for number in range(count)))
    kept.close()
    assert kept.parts() == [0, 5, 6, 7]
    pieces = kept.read()
    assert pieces[0].data.startswith(line % 0)
    assert pieces[-1].data.endswith(line % (count - 1))
    assert sum(each.left_out for each in pieces) == 4 * PART
    (last,) = kept.read(8 * PART - 8)
    assert last.data == line % (count - 1)


def test_runs_of_two_registries_have_two_logs(home):
    first, second = run_of(created=1_700_000_000.0), run_of(created=1_700_000_001.0)
    RunLog(first).write(b"one")
    RunLog(second).write(b"two")
    assert text_of(logs.find_log(first)) == b"one"
    assert text_of(logs.find_log(second)) == b"two"


def test_the_log_of_the_latest_attempt_is_shown(home):
    RunLog(run_of(attempt=2)).write(b"second")
    RunLog(run_of(attempt=10)).write(b"tenth")
    assert text_of(logs.find_log(run_of(attempt=11))) == b"tenth"


def test_old_logs_go_and_so_do_those_that_are_too_much(home):
    for number in range(10):
        RunLog(run_of(number)).write(b"x" * 1000)
    paths = sorted(logs.folder().iterdir(), key=lambda path: int(path.name.split("-")[0]))
    for age, path in enumerate(reversed(paths)):
        moment = time.time() - age * 1000
        os.utime(path, (moment, moment))
    logs.trim(most=7000)
    assert sorted(logs.folder().iterdir()) == sorted(paths[3:])
    logs.trim(age=3500)
    assert sorted(logs.folder().iterdir()) == sorted(paths[6:])


def test_a_folder_that_takes_no_logs_costs_no_run(home, caplog):
    home.path.mkdir(parents=True)
    (home.path / "logs").write_text("in the way")
    reader, writer = os.pipe()
    keeping = logs.keep(reader, RunLog(run_of()))
    writing = threading.Thread(target=os.write, args=(writer, b"x" * PART))
    writing.start()
    writing.join(30)
    assert not writing.is_alive()
    os.close(writer)
    keeping.join(30)
    assert not keeping.is_alive()
    assert "not kept" in caplog.text
