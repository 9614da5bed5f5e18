"""From `runs create` to a task's first line, and runs per second through one agent.

The floor is a bare `os.fork` and `pickle.loads` of the same blob; beside it an agent that forks, an
agent that starts an interpreter for each run, and `casflow run` as a process. Run it as
`uv run python -m tests.benchmarks.bench_agents`.
"""

from __future__ import annotations

import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from casflow import Flow, Parameter, cache, config, register, task
from casflow.agents.local import LocalAgent
from casflow.registry import Registry
from casflow.storage import Local
from tests.benchmarks.measure import Table, interleaved, milliseconds, options, ratio, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from casflow.registry import Version

COLUMNS = ("way", "median", "p99", "times the floor")
NOTE = """\
Each from the question to the first line of the flow's only task. The agents' part is claim, fork
or start, read through the cache, verify, load; they write to the registry how it ended."""


def marking_flow() -> Flow:
    """Return a flow whose only task notes the moment in a file."""

    @task
    def mark(path: str) -> None:
        import os
        import time

        with open(f"{path}.{os.getpid()}", "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(str(time.perf_counter()))
        os.rename(f"{path}.{os.getpid()}", path)  # noqa: PTH104

    with Flow("Mark") as flow:
        mark(Parameter("path"))
    flow.storage = Local()
    return flow


def waited(begin: Callable[[str], object], folder: Path) -> Callable[[], float]:
    """Return the contestant that begins a run and gives the seconds to its mark."""

    def once() -> float:
        path = folder / "mark"
        path.unlink(missing_ok=True)
        started = time.perf_counter()
        begin(str(path))
        while not path.exists():
            time.sleep(0.0005)
        return float(path.read_text(encoding="utf-8")) - started

    return once


@contextmanager
def agent(label: str, *, fork: bool) -> Iterator[None]:
    """Keep an agent in a process's thread."""
    with Registry(config.load().registry) as registry:
        worker = LocalAgent(registry, [label], fork=fork)
        thread = threading.Thread(target=worker.start)
        thread.start()
        while not any(label in each.labels for each in registry.agents()):
            time.sleep(0.01)
        try:
            yield
        finally:
            worker.stop()
            thread.join()


def floor(data: bytes, path: str) -> None:
    """Fork, unpickle and run."""
    child = os.fork()
    if child == 0:
        pickle.loads(data).run(parameters={"path": path})
        os._exit(0)
    os.waitpid(child, 0)


def begins(registry: Registry, version: Version, label: str) -> Callable[[str], object]:
    """Return what asks for a run that only one agent can take."""
    labels = [*version.labels, label]
    return lambda path: registry.create_run(version, parameters={"path": path}, labels=labels)


def starts(registry: Registry, version: Version, folder: Path, rounds: int) -> Table:
    """Measure from the question to the first line."""
    data = bytes(cache.default().find(version.digest) or b"")
    command = [sys.executable, "-m", "casflow", "run", version.flow, "-P"]
    table = Table("agents_start", "From the question to a task's first line", COLUMNS, [NOTE])
    with agent("forks", fork=True), agent("starts", fork=False):
        subjects = {
            "fork and `pickle.loads`": waited(lambda path: floor(data, path), folder),
            "agent, forks": waited(begins(registry, version, "forks"), folder),
            "agent, starts an interpreter": waited(begins(registry, version, "starts"), folder),
            "`casflow run`": waited(lambda path: run([*command, f"path={path}"]), folder),
        }
        taken = interleaved(subjects, rounds=rounds, warm_up=2)
    least = statistics.median(taken["fork and `pickle.loads`"])
    for name, seconds in taken.items():
        middle = statistics.median(seconds)
        worst = sorted(seconds)[int(len(seconds) * 0.99)]
        table.add(name, milliseconds(middle), milliseconds(worst), ratio(middle, least))
    return table


def run(command: list[str]) -> None:
    """Run a command to its end."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def throughput(registry: Registry, version: Version, folder: Path, runs: int) -> Table:
    """Measure runs per second through one agent, and loads per second through a pool."""
    data = bytes(cache.default().find(version.digest) or b"")
    path = str(folder / "mark")
    for _ in range(runs):
        registry.create_run(version, parameters={"path": path})
    seconds = timed(lambda: LocalAgent(registry, limit=2).start(once=True))()
    with ProcessPoolExecutor(2) as pool:
        in_pool = timed(lambda: list(pool.map(load_and_run, [data] * runs, [path] * runs)))()
    table = Table("agents_throughput", f"{runs} trivial runs", ("way", "runs per second"))
    table.add("one agent, two at a time, a process each", runs / seconds)
    table.add("`ProcessPoolExecutor(2)`, no process each, no registry", runs / in_pool)
    return table


def load_and_run(data: bytes, path: str) -> bool:
    """Unpickle and run a flow in a pool's process."""
    return bool(pickle.loads(data).run({"path": path}).is_successful())


def main() -> None:
    """Measure everything in a home of its own."""
    quick = options("Agents.").quick
    with tempfile.TemporaryDirectory(prefix="casflow-benchmark-") as home:
        os.environ["CASFLOW_HOME"] = home
        register(marking_flow())
        with Registry(config.load().registry) as registry:
            version = registry.get_version(None, "Mark")
            Local.from_form(version.storage).get_flow("Mark")
            starts(registry, version, Path(home), 3 if quick else 100).report()
            throughput(registry, version, Path(home), 10 if quick else 500).report()


if __name__ == "__main__":
    main()
