"""How many requests whole runs make, counted at a proxy in front of a real S3 server."""

from __future__ import annotations

import shutil
import statistics
import time

import pytest

pytestmark = pytest.mark.service
FLOW = """\
from casflow import Flow, task
from casflow.storage import S3

@task
def double(n):
    return 2 * n

with Flow({name!r}, storage=S3({bucket!r}, add_default_labels=False)) as flow:
    double(21)
"""


@pytest.fixture
def bucket(s3_server, proxy_to, home, monkeypatch):
    """Return a bucket behind a proxy, the proxy, and what clients read of both."""
    name = s3_server.bucket()
    proxy = proxy_to(s3_server.url, dialect="s3")
    behind = s3_server.through(proxy.url)
    for key, value in behind.environ.items():
        monkeypatch.setenv(key, value)
    return name, proxy


def register(home, name, mode):
    script = home.script("Counted", text=FLOW.replace("{bucket!r}", repr(name)))
    words = ["--as-script"] if mode == "script" else []
    home.casflow("register", *words, "-p", script)


def forget(home):
    shutil.rmtree(home.path / "cache", ignore_errors=True)


@pytest.mark.parametrize("mode", ["pickle", "script"])
def test_a_cold_run_asks_twice_and_a_warm_one_never(home, bucket, mode):
    name, proxy = bucket
    register(home, name, mode)
    forget(home)
    proxy.reset()
    assert home.json("run", "Counted")["cache"] == "miss"
    cold = [each.path for each in proxy.requests]
    assert len(cold) == (1 if mode == "script" else 2), cold  # a script has no source map
    proxy.reset()
    assert home.json("run", "Counted")["cache"] == "hit"
    assert proxy.requests == []


@pytest.mark.parametrize("mode", ["pickle", "script"])
def test_an_agent_s_warm_run_asks_never_and_one_without_the_server_succeeds(home, bucket, mode):
    name, proxy = bucket
    register(home, name, mode)
    forget(home)
    proxy.reset()
    with home.start("agent", "start") as agent:
        assert run_by_agent(home, 1)["cache"] in ("hit", "miss")  # it may have prefetched it
        cold = [each.path for each in proxy.requests]
        assert len(cold) <= (1 if mode == "script" else 2), cold
        proxy.reset()
        assert run_by_agent(home, 2)["cache"] == "hit"
        proxy.__exit__()
        assert run_by_agent(home, 3)["cache"] == "hit"
        agent.terminate()
        agent.communicate(timeout=60)
    assert proxy.requests == []


def run_by_agent(home, number):
    home.casflow("runs", "create", "Counted")
    deadline = time.monotonic() + 60
    while (ended := home.json("runs", "show", str(number)))["state"] in ("Scheduled", "Running"):
        assert time.monotonic() < deadline, ended
    assert ended["state"] == "Success", ended
    return ended["outcome"]


def test_a_warm_run_with_the_server_stopped_takes_no_longer(home, bucket):
    name, proxy = bucket
    register(home, name, "pickle")
    home.casflow("run", "Counted")

    def median():
        taken = [home.json("run", "Counted") for _ in range(3)]
        return statistics.median(each["load_seconds"] + each["run_seconds"] for each in taken)

    before = median()
    proxy.__exit__()
    assert median() < before + 1.0  # to wait for the server even once takes longer
