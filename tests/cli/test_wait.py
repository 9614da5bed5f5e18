"""`casflow runs create --wait`, and what `runs show` and `top` say of a run."""

from __future__ import annotations

import json
import signal
import threading

import pytest

from casflow import config
from casflow.cli import casflow
from casflow.registry import Registry, RunState
from tests.cli.terminal import run

OUTCOME = {"cache": "miss", "downloaded_bytes": 700, "load_seconds": 0.0123}


@pytest.fixture
def registered(home, monkeypatch):
    monkeypatch.setenv("CASFLOW_DEFAULT_LABELS", "0")
    run("register", home.script())
    return home


def end_first_run(state):
    """Take the first run that waits and end it, as an agent does."""
    with Registry(config.load().registry) as registry:
        agent = registry.add_agent(name="first", host="worker-1", pid=1, labels=[])
        while not (taken := registry.claim(agent)):
            threading.Event().wait(0.05)
        registry.finish(taken[0], state, message="it was so", outcome=OUTCOME)


@pytest.mark.parametrize(("state", "code"), [(RunState.SUCCESS, 0), (RunState.FAILED, 1)])
def test_waiting_ends_with_the_run_and_says_how(registered, capsys, state, code):
    agent = threading.Thread(target=end_first_run, args=(state,))
    agent.start()
    arguments = ["runs", "create", "Plain", "-P", "n=2", "--wait", "--json"]
    assert casflow.main(arguments, "casflow", standalone_mode=False) == code
    agent.join(30)
    out = capsys.readouterr().out
    said = json.loads(out[out.index("{") :])
    assert (said["state"], said["outcome"]["cache"]) == (state.value, "miss")


def test_an_interruption_leaves_the_run_to_its_agent(registered):
    with registered.start("runs", "create", "Plain", "--wait") as waiting:
        assert "run 1 waits" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(60) == 130
    assert registered.json("runs", "show", "1")["state"] == "Scheduled"


def test_a_run_is_shown_in_words(registered, capsys):
    run("runs", "create", "Plain", "-P", "n=2")
    end_first_run(RunState.SUCCESS)
    capsys.readouterr()
    run("runs", "show", "1")
    out = capsys.readouterr().out
    assert "{" not in out
    assert "[" not in out
    lines = [line.split() for line in out.splitlines()]
    assert ["n", "2"] in lines
    assert ["cache", "miss"] in lines
    assert ["downloaded", "700", "B"] in lines
    assert ["load", "12.3", "ms"] in lines
    assert ["host", "worker-1"] in lines


def test_top_has_the_json_of_agent_status(registered, capsys):
    capsys.readouterr()
    run("top", "--json")
    top = json.loads(capsys.readouterr().out)
    run("agent", "status", "--json")
    assert top.keys() == json.loads(capsys.readouterr().out).keys()
