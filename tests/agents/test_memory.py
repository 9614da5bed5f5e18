"""What an agent that waits takes of a machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from casflow.registry import RunState

if TYPE_CHECKING:
    from tests.agents.conftest import House

MOST = 80 * 1024  # KiB


def resident(pid: int) -> int:
    """Return the KiB of a process that are in memory."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def test_an_agent_that_waits_and_its_fork_server_are_small(house: House) -> None:
    agent = house.start()
    house.until(house.registry.agents)
    house.wait(house.ask(), RunState.SUCCESS)
    servers = house.until(lambda: children(agent.pid))
    assert max(map(resident, [agent.pid, *servers])) <= MOST
