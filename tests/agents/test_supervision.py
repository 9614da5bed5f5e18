"""Agents as processes: woken, stopped, killed, and the runs that they leave."""

from __future__ import annotations

import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text

from casflow.errors import UnavailableError
from casflow.registry import RunState

if TYPE_CHECKING:
    import subprocess

    from casflow.registry import Run
    from tests.agents.conftest import House
    from tests.services.postgres import PostgresServer

BOTH = pytest.mark.parametrize(
    "url", ["sqlite", pytest.param("postgres", marks=pytest.mark.service)], indirect=True
)


def _sleeping(file: Path, seconds: float = 600) -> str:
    """Code that notes its process and that of a child, then sleeps."""
    return f"""
        import os, pathlib, subprocess, time
        child = subprocess.Popen(["sleep", "600"])
        file = pathlib.Path({str(file)!r})
        file.with_suffix(".new").write_text(f"{{os.getpid()}} {{child.pid}}")
        file.with_suffix(".new").rename(file)
        time.sleep({seconds})
    """


def _alive(file: Path) -> list[str]:
    return [pid for pid in file.read_text().split() if _is_alive(pid)]


def _is_alive(pid: str) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    """Where a run notes its processes."""
    return tmp_path / "pids"


@BOTH
def test_an_idle_agent_wakes_at_once(house: House) -> None:
    agent = house.start(poll=30)
    house.until(house.registry.agents)
    time.sleep(0.5)
    began = time.monotonic()
    run = house.ask()
    house.wait(run, RunState.RUNNING, RunState.SUCCESS)
    assert time.monotonic() - began < 5
    house.wait(run, RunState.SUCCESS)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(45) == 0


@BOTH
def test_a_cancelled_run_is_stopped_with_its_children(house: House, pids: Path) -> None:
    house.start(heartbeat=30, lost_after=600)
    run = house.ask(_sleeping(pids))
    house.until(pids.exists)
    house.registry.cancel(run)
    house.until(lambda: not _alive(pids))
    after = house.ask()
    house.wait(after, RunState.SUCCESS)
    assert house.registry.get_run(run.id).state == RunState.CANCELLED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_agent_lets_its_run_end(house: House, pids: Path, number: int) -> None:
    agent = house.start()
    run = house.ask(_sleeping(pids, seconds=1))
    waiting = house.ask()
    house.until(pids.exists)
    agent.send_signal(number)
    assert agent.communicate(timeout=30)[0] == "stopped cleanly\n"
    assert agent.returncode == 0
    assert house.registry.get_run(run.id).state == RunState.SUCCESS
    assert house.registry.get_run(waiting.id).state == RunState.SCHEDULED
    assert house.registry.agents() == []


def test_a_run_that_outlasts_the_grace_returns_to_the_queue(house: House, pids: Path) -> None:
    agent = house.start(grace=0.3)
    run = house.ask(_sleeping(pids))
    house.until(pids.exists)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(30) == 0
    stands = house.registry.get_run(run.id)
    assert (stands.state, stands.losses) == (RunState.SCHEDULED, 0)
    assert _alive(pids) == []


def test_a_second_signal_cuts_the_grace_short(house: House, pids: Path) -> None:
    agent = house.start(grace=600)
    run = house.ask(_sleeping(pids))
    house.until(pids.exists)
    agent.send_signal(signal.SIGTERM)
    assert agent.poll() is None
    house.until(lambda: "1 runs have 600 s to end; stop it again to requeue" in house.logs())
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(30) == 0
    assert "requeueing 1 runs" in house.logs()
    assert house.registry.get_run(run.id).state == RunState.SCHEDULED


@BOTH
def test_a_killed_agent_takes_its_runs_with_it_and_another_runs_them(
    house: House, pids: Path
) -> None:
    agent = house.start()
    run = house.ask(f"""
        import pathlib
        if not pathlib.Path({str(pids)!r}).exists():
            {_sleeping(pids).strip().replace(chr(10), chr(10) + "    ")}
    """)
    house.until(pids.exists)
    agent.kill()
    agent.wait()
    house.until(lambda: not _alive(pids))
    house.start()
    done = house.wait(run, RunState.SUCCESS, RunState.FAILED)
    assert (done.state, done.attempt, done.losses) == (RunState.SUCCESS, 2, 1)


def _freeze_and_release(agent: subprocess.Popen[str], house: House, run: Run) -> Run:
    """Stop an agent at a moment when it does not hold SQLite's lock, and take a run from it."""
    for _ in range(10):
        agent.send_signal(signal.SIGSTOP)
        try:
            return house.registry.release(house.registry.get_run(run.id))
        except UnavailableError:
            agent.send_signal(signal.SIGCONT)
            time.sleep(0.05)
    raise AssertionError("the registry stayed locked")


def test_a_run_that_was_taken_away_is_stopped(house: House, pids: Path) -> None:
    frozen = house.start(heartbeat=0.1)
    run = house.ask(_sleeping(pids))
    house.until(pids.exists)
    house.registry.cancel(_freeze_and_release(frozen, house, run))
    assert len(_alive(pids)) == 2
    frozen.send_signal(signal.SIGCONT)
    house.until(lambda: not _alive(pids))


@pytest.mark.service
@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_an_agent_outlives_a_restart_of_its_registry(
    house: House, pids: Path, postgres_server
) -> None:
    agent = house.start(poll=0.2)
    run = house.ask(_sleeping(pids, seconds=3))
    house.until(pids.exists)
    postgres_server.stop()
    time.sleep(4)
    postgres_server.start()
    assert house.wait(run, RunState.SUCCESS).attempt == 1
    after = house.ask()
    house.wait(after, RunState.SUCCESS)
    assert agent.poll() is None


@pytest.mark.service
@pytest.mark.parametrize("url", ["postgres"], indirect=True)
@pytest.mark.parametrize(
    ("trouble", "cure", "message"),
    [
        (
            "ALTER DATABASE {name} SET default_transaction_read_only = on",
            "ALTER DATABASE {name} RESET default_transaction_read_only",
            "server is read-only",
        ),
        (
            "ALTER ROLE worker CONNECTION LIMIT 0",
            "ALTER ROLE worker CONNECTION LIMIT -1",
            "no conn",
        ),
        (
            "ALTER DATABASE {name} CONNECTION LIMIT 0",
            "ALTER DATABASE {name} CONNECTION LIMIT -1",
            "",
        ),
    ],
)
def test_an_agent_outlives_what_passes_on_its_server(
    house: House, url: str, trouble: str, cure: str, message: str, postgres_server: PostgresServer
) -> None:
    name = url.rpartition("/")[2]
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    execute = partial(_execute, postgres_server.url_of("postgres"))
    execute("DROP ROLE IF EXISTS worker", "CREATE ROLE worker LOGIN IN ROLE pg_write_all_data")
    execute("GRANT pg_read_all_data TO worker")
    agent = house.start(poll=0.1, url=url.replace("test@", "worker@"))
    house.until(house.registry.agents)
    execute(trouble.format(name=name), end)
    house.until(lambda: f"{message}" in house.logs() and "next attempt in" in house.logs())
    execute(cure.format(name=name), end)
    house.registry.close()
    house.wait(house.ask(), RunState.SUCCESS)
    assert agent.poll() is None


def _execute(url: str, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()
