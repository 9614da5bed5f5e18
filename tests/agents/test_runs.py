"""How a run ends, by everything that a flow can do."""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from casflow.agents.local import LocalAgent
from casflow.errors import ConfigError, UnavailableError
from casflow.registry import Registry, RunState

if TYPE_CHECKING:
    from casflow.agents.process import RunProcess
    from casflow.registry import Run, Version
    from tests.agents.conftest import House

BOTH = pytest.mark.parametrize(
    "url", ["sqlite", pytest.param("postgres", marks=pytest.mark.service)], indirect=True
)


@BOTH
def test_the_first_run_is_cold_and_the_second_warm(house: House) -> None:
    shutil.rmtree(house.folder / "cache", ignore_errors=True)
    cold, warm = house.ask(), house.ask()
    house.work()
    cold, warm = house.registry.get_run(cold.id), house.registry.get_run(warm.id)
    assert cold.state == warm.state == RunState.SUCCESS
    assert cold.outcome["cache"] == "miss"
    assert cold.outcome["downloaded_bytes"] > 0
    assert (warm.outcome["cache"], warm.outcome["downloaded_bytes"]) == ("hit", 0)
    assert warm.outcome["digest"] == cold.outcome["digest"] == warm.digest
    assert warm.outcome.keys() >= {"load_seconds", "run_seconds"}
    assert house.registry.agents() == []


def test_nothing_waits_and_the_agent_goes(house: House) -> None:
    began = time.monotonic()
    house.work(poll=30)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1/0", "Tasks failed: do-1 (ZeroDivisionError: division by zero)"),
        ("import sys; sys.exit(3)", "Tasks failed: do-1 (SystemExit: 3)"),
        ("import os; os._exit(3)", "its process ended by exit code 3"),
        ("import os; os._exit(0)", "its process ended by exit code 0"),
        ("import os; os.kill(os.getpid(), 9)", "its process ended by signal SIGKILL"),
        ("raise KeyboardInterrupt", "its process ended by signal SIGINT"),
        ("raise ValueError('two\\nlines')", "(ValueError: two lines)"),
    ],
)
def test_a_run_that_fails_says_why_in_one_line(house: House, code: str, said: str) -> None:
    run = house.ask(code)
    house.work()
    done = house.registry.get_run(run.id)
    assert done.state == RunState.FAILED
    assert done.message.endswith(said)
    assert "\n" not in done.message
    assert done.attempt == 1


def test_a_bad_parameter_fails_the_run(house: House) -> None:
    version = house.registry.get_version(None, "do")
    run = house.registry.create_run(version, parameters={"cod": 1})
    house.work()
    said = house.registry.get_run(run.id).message
    assert said.startswith("Failed to load and execute flow run: unknown parameter 'cod'")


def test_a_flow_that_is_gone_fails_the_run(house: House) -> None:
    shutil.rmtree(house.folder / "flows")
    shutil.rmtree(house.folder / "cache", ignore_errors=True)
    run = house.ask()
    house.work()
    done = house.registry.get_run(run.id)
    assert done.state == RunState.FAILED
    assert done.message.startswith("Failed to load and execute flow run: ")


def test_damage_in_the_store_is_never_run(house: House) -> None:
    (blob,) = (each for each in house.folder.glob("flows/.casflow/blobs/**/*") if each.is_file())
    blob.chmod(0o644)
    blob.write_bytes(b"print('pwned')" + blob.read_bytes()[14:])
    shutil.rmtree(house.folder / "cache", ignore_errors=True)
    run = house.ask()
    house.work()
    done = house.registry.get_run(run.id)
    assert "expected blake3:" in done.message
    assert done.state == RunState.FAILED


def test_an_agent_leaves_runs_whose_labels_it_lacks(house: House) -> None:
    run = house.ask(labels=["gpu"])
    house.work()
    assert house.registry.get_run(run.id).state == RunState.SCHEDULED
    house.work(labels=["gpu"])
    assert house.registry.get_run(run.id).state == RunState.SUCCESS


def test_without_the_host_s_label_local_flows_wait(house: House) -> None:
    run = house.ask()
    house.work(hostname_label=False)
    assert house.registry.get_run(run.id).state == RunState.SCHEDULED


def test_runs_run_at_the_same_time_up_to_the_limit(house: House) -> None:
    mark = house.folder / "marks"
    mark.mkdir()
    code = f"""
        import os, time, pathlib
        folder = pathlib.Path({str(mark)!r})
        (folder / str(os.getpid())).touch()
        deadline = time.monotonic() + 30
        while len(list(folder.iterdir())) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(list(folder.iterdir())) == 3
    """
    runs = [house.ask(code) for _ in range(3)]
    house.work(limit=3)
    assert {house.registry.get_run(run.id).state for run in runs} == {RunState.SUCCESS}


def test_a_flow_s_standard_input_is_empty(house: House) -> None:
    run = house.ask("import sys; assert sys.stdin.read() == ''")
    house.work()
    assert house.registry.get_run(run.id).state == RunState.SUCCESS


def test_what_a_run_leaves_behind_ends_with_it(house: House) -> None:
    file = house.folder / "pid"
    run = house.ask(f"""
        import subprocess, pathlib
        child = subprocess.Popen(["sleep", "600"])
        pathlib.Path({str(file)!r}).write_text(str(child.pid))
    """)
    house.work()
    assert house.registry.get_run(run.id).state == RunState.SUCCESS
    house.until(lambda: not Path("/proc", file.read_text()).exists())


def test_the_registry_s_password_is_not_on_the_command_line(house: House) -> None:
    run = house.ask("""
        import pathlib
        said = pathlib.Path("/proc/self/cmdline").read_text()
        assert "casflow.agents.fork" in said and "sqlite" not in said, said
    """)
    house.work()
    assert house.registry.get_run(run.id).message == "All tasks succeeded"


def test_a_secret_never_reaches_the_registry(
    house: House, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOOR_CODE", "open-sesame")
    house.register(secrets=["DOOR_CODE"])
    run = house.ask("""
        from casflow.secrets import Secret
        raise ValueError("wrong: " + Secret("DOOR_CODE").get())
    """)
    house.work()
    assert "(ValueError: wrong: ***)" in house.registry.get_run(run.id).message
    said = capfd.readouterr().err
    assert "wrong: ***" in said
    assert "open-sesame" not in said


def test_a_missing_secret_is_named(house: House) -> None:
    house.register(secrets=["DOOR_CODE"])
    run = house.ask()
    house.work()
    said = house.registry.get_run(run.id).message
    assert said.startswith(
        'Failed to load and execute flow run: Local Secret "DOOR_CODE" was not found'
    )


@pytest.mark.parametrize("options", [{"labels": ["a,b"]}, {"heartbeat": 20}])
def test_an_agent_that_cannot_work_is_refused(house: House, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        house.work(**options)
    assert house.registry.agents() == []


def test_an_agent_whose_clock_was_set_takes_nobody_s_run(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    registry = Registry(house.registry.url, now=lambda: now)
    other = registry.add_agent(name="other", host="h", pid=1, labels=house.ask().labels)
    registry.claim(other)
    offsets = iter((0.0, 3600.0))
    monkeypatch.setattr("casflow.agents.local._clock_offset", lambda: next(offsets, 3600.0))
    agent = LocalAgent(registry, fork=False)
    own = registry.add_agent(name="own", host="h", pid=2, labels=[])
    now += timedelta(hours=1)
    agent._heartbeat(own)
    assert set(registry.held_by(other)) == {1}
    LocalAgent(registry, fork=False)._heartbeat(own)  # its clock was not set: an hour has passed
    assert registry.held_by(other) == {}
    registry.close()


class Hindered(LocalAgent):
    """An agent whose machine cannot start anything for the first few times."""

    def __init__(self, registry: Registry, failures: int) -> None:
        super().__init__(registry, poll=0.05, prefetch=None, fork=False)
        self.failures = failures
        self.tried: list[float] = []

    def open(self, run: Run, version: Version) -> RunProcess:
        """Start a run, or say that it is not to be done now."""
        self.tried.append(time.monotonic())
        if len(self.tried) <= self.failures:
            what = "no engine here"
            raise UnavailableError(what)
        return super().open(run, version)


def test_a_run_that_its_agent_cannot_start_waits_longer_each_time(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    run, agent = house.ask(), Hindered(house.registry, failures=4)
    thread = threading.Thread(target=agent.start)
    thread.start()
    try:
        done = house.wait(run, RunState.SUCCESS, RunState.FAILED)
    finally:
        agent.stop()
        thread.join()
    assert done.state == RunState.SUCCESS
    gaps = [later - before for before, later in itertools.pairwise(agent.tried)]
    assert len(gaps) == 4
    assert all(gap >= wait for gap, wait in zip(gaps, (0.1, 0.2, 0.4, 0.8), strict=True))
    said = [each for each in caplog.messages if "no engine here" in each]
    assert len(said) == 4
    assert all(f"run {run.id}: cannot start" in each for each in said)
    assert "the next start is in 0.8 s" in said[-1]


def test_an_agent_that_could_not_start_anything_for_days_still_waits_a_minute(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.ask()
    agent = Hindered(house.registry, failures=1)
    agent._failed_starts = 100_000
    agent.start(once=True)
    assert "the next start is in 60 s" in caplog.text
