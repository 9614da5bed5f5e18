"""What `casflow agent status`, `casflow top` and the metrics say of what goes on."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from urllib.request import urlopen

import pytest

from casflow import config
from casflow.errors import ConfigError
from casflow.integrations.metrics import serve
from casflow.registry import Registry, RunState
from tests.services.process import free_port

COLOURS = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]")
TIMEOUT = 60  # seconds


@pytest.fixture
def registry(home):
    """A registry with an agent, a run that was cold, one that was warm, one of each other kind."""
    home.casflow("register", "-p", home.script())
    with Registry(config.load().registry) as registry:
        version = registry.get_version(None, "Plain")
        runs = [registry.create_run(version) for _ in range(5)]
        agent = registry.add_agent(name="first", host="here", pid=1, labels=version.labels)
        cold, warm, *_ = registry.claim(agent, limit=4)
        outcome = {"cache": "miss", "downloaded_bytes": 700}
        registry.finish(cold, RunState.SUCCESS, outcome=outcome)
        registry.finish(warm, RunState.SUCCESS, outcome={"cache": "hit", "downloaded_bytes": 0})
        registry.cancel(runs[3])
        registry.limit_label("gpu", 2)
        yield registry


def test_status_counts_agents_runs_and_hits(home, registry):
    said = home.json("agent", "status")
    counts = {"Scheduled": 1, "Running": 1, "Success": 2, "Failed": 0, "Cancelled": 1}
    assert said["runs"] == counts
    assert [(each["name"], each["runs"]) for each in said["agents"]] == [("first", 1)]
    assert (said["hits"], said["misses"], said["hit_rate"]) == (1, 1, 0.5)
    size = registry.get_version(None, "Plain").reference["size"]
    assert (said["saved_bytes"], said["downloaded_bytes"]) == (size, 700)
    assert said["limits"] == {"gpu": 2}


@pytest.mark.parametrize("command", [("agent", "status"), ("top",)])
def test_people_see_the_same(home, registry, command):
    out, _ = home.casflow(*command)
    assert "scheduled 1, running 1, success 2, failed 0, cancelled 1" in out
    assert "50% of the latest runs hit" in out
    assert "gpu 2" in out
    assert "first" in out


def test_runs_that_nobody_can_take_are_named(home, registry):
    run = home.json("runs", "create", "Plain", "-l", "gpu", "-l", "linux")
    assert run["missing_labels"] == ["gpu", "linux"]
    assert home.json("runs", "show", run["run"])["missing_labels"] == ["gpu", "linux"]
    _, err = home.casflow("runs", "create", "Plain", "-l", "gpu")
    assert "no working agent carries gpu; start one with --label" in err
    unserved = home.json("agent", "status")["unserved"]
    assert {"labels": ["gpu", "linux"], "runs": 1} in unserved
    assert "1 run waiting for an agent with gpu" in home.casflow("agent", "status")[0]


def test_a_name_is_never_markup_nor_a_control_sequence(home, registry):
    with pytest.raises(ConfigError, match="agent's name"):
        registry.add_agent(name="\x1b[2J", host="h", pid=1, labels=[])
    registry.add_agent(name="[/]", host="\x1b]0;x\x07\u202e", pid=1, labels=["[red]"])
    for command in (("agent", "status"), ("agent", "ls"), ("top",)):
        out, _ = home.casflow(*command)
        assert "[/]" in out
        assert "[red]" in out
        assert not set(out) & {"\x1b", "\x07", "\u202e"}


def test_a_message_is_bounded_and_shown_by_its_head(home, registry):
    (run,) = registry.runs(state=RunState.RUNNING)
    ended = registry.finish(run, RunState.FAILED, message="head" + "x" * 5_000_000 + "tail")
    assert ended.message.startswith("head")
    assert ended.message.endswith("tail")
    assert len(home.casflow("runs", "ls")[0]) < 5_000


def test_status_of_nothing(home):
    out, _ = home.casflow("agent", "status")
    assert "no agent is working" in out
    assert home.json("agent", "status")["hit_rate"] is None


def test_a_limit_is_set_and_taken_away_by_command(home):
    home.casflow("agent", "limit", "gpu", "3")
    assert home.json("agent", "status")["limits"] == {"gpu": 3}
    assert home.json("agent", "limit", "gpu") == {"gpu": 3}
    assert "gpu" in home.casflow("agent", "limit")[0]
    assert home.json("agent", "limit", "gpu", "--none") == {}
    assert home.json("agent", "status")["limits"] == {}
    home.casflow("agent", "limit", "--none", code=2)


def test_prometheus_reads_the_same_numbers(registry):
    pytest.importorskip("prometheus_client")
    with serve(registry, 0) as port:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        with pytest.raises(ConfigError, match=f"port {port}"), serve(registry, port):
            pass
    assert {'casflow_runs{state="success"} 2.0', "casflow_agents 1.0"} <= set(lines)
    assert 'casflow_latest_bytes{bytes="downloaded"} 700.0' in lines


def shown(screen, text):
    """Tell whether a terminal shows a text, in whatever colours, before patience is over."""
    seen, deadline = b"", time.monotonic() + TIMEOUT
    while text.encode() not in COLOURS.sub(b"", seen) and time.monotonic() < deadline:
        if select.select([screen], [], [], 0.1)[0]:
            seen += os.read(screen, 1 << 16)
    return text.encode() in COLOURS.sub(b"", seen)


def test_top_follows_what_goes_on_until_it_is_interrupted(home, registry):
    screen, terminal = pty.openpty()
    environment = {**home.environment, "TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    command = [sys.executable, "-m", "casflow", "top", "--interval", "60"]
    top = subprocess.Popen(
        command,
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.PIPE,
    )
    try:
        assert shown(screen, "success 2")
        (running,) = registry.runs(state=RunState.RUNNING)
        registry.finish(running, RunState.SUCCESS)
        assert shown(screen, "success 3")
        top.send_signal(signal.SIGINT)
        assert top.wait(TIMEOUT) == 0
        assert top.stderr.read() == b""
    finally:
        top.kill()
        top.communicate()
        os.close(screen)
        os.close(terminal)


def test_an_agent_serves_metrics_when_it_is_asked_to(home):
    pytest.importorskip("prometheus_client")
    address = f"http://127.0.0.1:{(port := free_port())}/metrics"
    deadline = time.monotonic() + TIMEOUT
    with home.start("agent", "start", "--metrics", port) as agent:
        said = ""
        while "casflow_agents 1.0" not in said.splitlines():
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
            with suppress(OSError), urlopen(address, timeout=10) as answer:
                said = answer.read().decode()
        agent.terminate()
        assert agent.wait(TIMEOUT) == 0
