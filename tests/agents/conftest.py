"""A home with one flow that does whatever its parameter says, and agents that run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from casflow.agents.fork_client import ForkClient, ForkedRun
from casflow.agents.lifetime import RunSpec
from casflow.agents.local import LocalAgent
from casflow.flow.script import flow_from_script
from casflow.registration import register
from casflow.registry import Registry, RunState
from casflow.storage.local import Local

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from casflow.registry import Run

SCRIPT = """
from casflow import Flow, Parameter, task

@task
def do(code):
    exec(code, {})

with Flow("do") as flow:
    do(Parameter("code", default="pass"))
"""
AGENT = """
import json, logging, sys
from casflow.agents.fork_client import ForkedRun, ForkClient
from casflow.agents.lifetime import RunSpec
from casflow.agents.local import LocalAgent
from casflow.registry import Registry
logging.basicConfig(level="INFO")
options = json.loads(sys.argv[1])
with Registry(options.pop("url")) as registry:
    LocalAgent(registry, **options).start()
print("stopped cleanly")
"""
TIMEOUT = 180  # seconds


class House:
    """A home, its registry, and the agents that were started in it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.registry = Registry(url)
        self.agents: list[subprocess.Popen[str]] = []

    def register(self, **options: Any) -> None:
        """Register the flow as a script."""
        path = self.folder / "do.py"
        path.write_text(SCRIPT)
        flow = flow_from_script(SCRIPT.encode(), path=str(path))
        flow.storage = Local(path=path, stored_as_script=True, **options)
        register(flow)

    def ask(self, code: str = "pass", **options: Any) -> Run:
        """Ask for a run of the flow."""
        version = self.registry.get_version(None, "do")
        parameters = {"code": textwrap.dedent(code)}
        return self.registry.create_run(version, parameters=parameters, **options)

    def work(self, **options: Any) -> None:
        """Let an agent work in this process until nothing waits."""
        LocalAgent(self.registry, **options).start(once=True)

    def fork(self, run: Run, fork_client: ForkClient) -> ForkedRun:
        """Claim a run and hand it to a forked child."""
        agent = self.registry.add_agent(name="test", host="here", pid=1, labels=run.labels)
        (claimed,) = self.registry.claim(agent)
        storage = self.registry.get_version(None, "do").storage
        spec = RunSpec(claimed.id, claimed.attempt, "do", storage, claimed.parameters)
        return ForkedRun(claimed, spec, fork_client)

    def start(self, **options: Any) -> subprocess.Popen[str]:
        """Start an agent in a process of its own."""
        values = {"url": self.registry.url, "heartbeat": 0.2, "lost_after": 1.5} | options
        with (self.folder / f"log-{len(self.agents)}").open("w") as log:
            agent = subprocess.Popen(
                [sys.executable, "-c", AGENT, json.dumps(values)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.agents.append(agent)
        return agent

    def wait(self, run: Run, *states: RunState) -> Run:
        """Wait until a run is in one of these states."""
        return self.until(lambda: self._in(run, states))

    def _in(self, run: Run, states: tuple[RunState, ...]) -> Run | None:
        stands = self.registry.get_run(run.id)
        return stands if stands.state in states else None

    def until(self, asked: Callable[[], Any]) -> Any:
        """Wait until something is true, and return it."""
        deadline = time.monotonic() + TIMEOUT
        while not (answer := asked()):
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.02)
        return answer

    def logs(self) -> str:
        """Return what the agents wrote."""
        return "\n".join(each.read_text() for each in sorted(self.folder.glob("log-*")))

    def close(self) -> None:
        """End what still runs."""
        for agent in self.agents:
            with suppress(ProcessLookupError):
                agent.send_signal(signal.SIGKILL)
            agent.communicate()
        self.registry.close()


@pytest.fixture(params=["sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty registry; of each kind where a test asks for it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'registry.db'}"
    server = request.getfixturevalue("postgres_server")
    return server.url_of(server.database())


@pytest.fixture
def house(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A home in which the flow is registered."""
    for name in [each for each in os.environ if each.startswith("CASFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CASFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("CASFLOW_REGISTRY", url)
    house = House(tmp_path, url)
    house.register()
    yield house
    house.close()


@pytest.fixture
def fork_client(house: House) -> Iterator[ForkClient]:
    """A fork server that is ready."""
    fork_client = ForkClient()
    assert fork_client.is_ready(60)
    yield fork_client
    fork_client.close()
