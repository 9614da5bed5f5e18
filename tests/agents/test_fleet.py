"""Many agents on one registry: no run is lost, none runs twice, whoever is killed meanwhile.

`CASFLOW_TEST_FLEET=5000` sets how many runs there are; the default is few.
"""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from casflow.registry import RunState

if TYPE_CHECKING:
    from pathlib import Path

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
    folder, code = _noting(house)
    runs = [house.ask(code) for _ in range(RUNS)]
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
    again = sum(run.attempt - 1 for run in ended)
    assert RUNS <= len(list(folder.iterdir())) <= RUNS + again
    assert all(run.losses <= run.attempt - 1 for run in ended)


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_no_run_is_lost_while_the_registry_s_server_is_restarted(
    house: House, postgres_server
) -> None:
    folder, code = _noting(house)
    runs = [house.ask(code) for _ in range(24)]
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
    again = sum(run.attempt - 1 for run in ended)
    assert len(runs) <= len(list(folder.iterdir())) <= len(runs) + again
    assert [agent.poll() for agent in agents] == [None, None], house.logs()


def _noting(house: House) -> tuple[Path, str]:
    """Return a folder, and code by which each run leaves a file there."""
    folder = house.folder / "done"
    folder.mkdir()
    return folder, f"import tempfile; tempfile.mkstemp(dir={str(folder)!r})"


def _unfinished(house: House) -> bool:
    counts = house.registry.overview(latest=1).runs
    return bool(counts[RunState.SCHEDULED] + counts[RunState.RUNNING])
