"""Many agents on one registry: no run is lost, none runs twice, whoever is killed meanwhile.

`CASFLOW_TEST_FLEET=5000` sets how many runs there are; the default is few.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from casflow.registry import RunState

if TYPE_CHECKING:
    from casflow.registry import Run
    from tests.agents.conftest import House

RUNS = int(os.environ.get("CASFLOW_TEST_FLEET", "24"))
LONG = RUNS > 100
AGENTS = 8 if LONG else 2
OPTIONS = {"limit": 2, "heartbeat": 0.5, "lost_after": 4, "grace": 20}
PAUSE = 3.0 if LONG else 1.0  # seconds between two accidents


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_no_run_is_lost_or_run_twice_while_agents_are_killed_and_stopped(house: House) -> None:
    runs = _asked(house, RUNS)
    agents = [house.start(**OPTIONS) for _ in range(AGENTS)]
    luck = random.Random(0)
    deadline = time.monotonic() + 3000
    accidents = 0
    while _unfinished(house) and time.monotonic() < deadline:
        time.sleep(PAUSE)
        if accidents < 2 or LONG:
            victim = agents.pop(luck.randrange(len(agents)))
            victim.kill() if accidents % 2 == 0 else victim.terminate()
            accidents += 1
            agents.append(house.start(**OPTIONS))
    ended = [house.registry.get_run(run.id) for run in runs]
    assert {run.state for run in ended} == {RunState.SUCCESS}
    _check_starts(house, ended)
    assert all(run.losses <= run.attempt - 1 for run in ended)


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_no_run_is_lost_while_the_registry_s_server_is_restarted(
    house: House, postgres_server
) -> None:
    runs = _asked(house, 24)
    folder = house.folder / "started"
    agents = [house.start(**{**OPTIONS, "lost_after": 60, "poll": 0.2}) for _ in range(2)]
    house.until(lambda: len(house.registry.agents()) == 2)
    for end in (postgres_server.stop, postgres_server.kill):
        before = len(list(folder.iterdir()))
        house.until(lambda: len(list(folder.iterdir())) > before)  # noqa: B023 - used at once
        end()
        time.sleep(1)
        postgres_server.start()
    ended = [house.wait(run, RunState.SUCCESS, RunState.FAILED) for run in runs]
    assert {(run.state, run.message) for run in ended if run.state != RunState.SUCCESS} == set()
    assert sum(run.losses for run in ended) == 0
    _check_starts(house, ended)
    assert [agent.poll() for agent in agents] == [None, None], house.logs()


def _asked(house: House, count: int) -> list[Run]:
    """Ask for runs each of which leaves a file with its number whenever it is started."""
    folder = house.folder / "started"
    folder.mkdir()
    code = f"import tempfile; tempfile.mkstemp(dir={str(folder)!r}, prefix="
    return [house.ask(f"{code}'{number}-')") for number in range(count)]


def _check_starts(house: House, runs: list[Run]) -> None:
    """Check that each run, in the order of their numbers, was started once an attempt at most."""
    files = (house.folder / "started").iterdir()
    starts = Counter(int(file.name.partition("-")[0]) for file in files)
    for number, run in enumerate(runs):
        assert 1 <= starts[number] <= run.attempt, (run, starts[number])


def _unfinished(house: House) -> bool:
    counts = house.registry.overview(latest=1).runs
    return bool(counts[RunState.SCHEDULED] + counts[RunState.RUNNING])
