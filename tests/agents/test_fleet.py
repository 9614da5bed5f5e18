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
    from tests.agents.conftest import House

RUNS = int(os.environ.get("CASFLOW_TEST_FLEET", "24"))
LONG = RUNS > 100
AGENTS = 8 if LONG else 2
PAUSE = 3.0 if LONG else 1.0  # seconds between two accidents


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_no_run_is_lost_or_run_twice_while_agents_are_killed_and_stopped(house: House) -> None:
    folder = house.folder / "done"
    folder.mkdir()
    code = f"""
        import tempfile
        tempfile.mkstemp(dir={str(folder)!r})
    """
    runs = [house.ask(code) for _ in range(RUNS)]
    options = {"limit": 2, "heartbeat": 0.5, "lost_after": 4, "grace": 20}
    agents = [house.start(**options) for _ in range(AGENTS)]
    luck = random.Random(0)
    deadline = time.monotonic() + 3000
    accidents = 0
    while _unfinished(house) and time.monotonic() < deadline:
        time.sleep(PAUSE)
        if accidents < 2 or LONG:
            victim = agents.pop(luck.randrange(len(agents)))
            victim.kill() if accidents % 2 == 0 else victim.terminate()
            accidents += 1
            agents.append(house.start(**options))
    ended = [house.registry.get_run(run.id) for run in runs]
    assert {run.state for run in ended} == {RunState.SUCCESS}
    again = sum(run.attempt - 1 for run in ended)
    assert RUNS <= len(list(folder.iterdir())) <= RUNS + again
    assert all(run.losses <= run.attempt - 1 for run in ended)


def _unfinished(house: House) -> bool:
    counts = house.registry.overview(latest=1).runs
    return bool(counts[RunState.SCHEDULED] + counts[RunState.RUNNING])
