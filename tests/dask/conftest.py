"""A Dask cluster of real processes, and what its workers downloaded."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.services.process import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Scheduler(Server):
    """A scheduler with its workers, each a process."""

    name = "dask"

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__()
        self.environment = environment
        self.workers: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        # The port of the dashboard is taken even without one, and another cluster wants the usual.
        silent = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
        return [sys.executable, "-m", "distributed.cli.dask_scheduler", *address, *silent]

    @property
    def pids(self) -> set[int]:
        return {worker.pid for worker in self.workers}

    def add_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        options = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory"]
        command = [sys.executable, "-m", "distributed.cli.dask_worker", self.address, *options]
        with self.log.open("ab") as log:
            worker = subprocess.Popen(
                [*command, str(self.folder / f"worker-{len(self.workers)}")],
                env={**os.environ, **self.environment, **environment},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        self.workers.append(worker)
        return worker

    def __exit__(self, *details: object) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        super().__exit__(*details)


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home of casflow on the machine of the workers."""
    return tmp_path_factory.mktemp("node")


@pytest.fixture(scope="session")
def cluster(node: Path) -> Iterator[Scheduler]:
    """A scheduler with two workers that share a cache, as on one machine."""
    pytest.importorskip("distributed")
    environment = {"CASFLOW_HOME": str(node), "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
    with Scheduler(environment) as scheduler:
        for _ in range(2):
            scheduler.add_worker()
        yield scheduler
