"""From `runs create` to a task's first line, and runs per second through one agent.

The measure is a bare `os.fork` and `pickle.loads` of the same blob; beside it an agent that forks,
an agent that starts an interpreter for each run, `casflow run` as a process, and a process of
Prefect 1.4.1 that imports, reads and runs the same flow. Run it as
`uv run python -m tests.benchmarks.bench_agents`.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from casflow import Flow, Parameter, cache, config, register, task
from casflow.registry import Registry
from casflow.storage import Local
from tests.benchmarks import peers
from tests.benchmarks.measure import (
    Table,
    interleaved,
    medians,
    milliseconds,
    options,
    ratio,
    timed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from casflow.registry import Run, Version

    Settle = Callable[[], object]

AGENT = """
import sys
from casflow import config
from casflow.agents.local import LocalAgent
from casflow.registry import Registry
label, *options = sys.argv[1:]
with Registry(config.load().registry) as registry:
    LocalAgent(registry, [label], limit=2, fork="no fork" not in options).start()
"""
COLUMNS = ("way", "median", "p99", "times a bare fork", "part of Prefect's way")
BARE, PREFECT = "fork and `pickle.loads`", "Prefect 1.4.1: process, import, `get_flow`, run"
NOTE = """\
Each from the question to the first line of the flow's only task. The agents are processes of their
own, and idle when they are asked; their part is claim, fork or start, read through the cache,
verify, load. Prefect's time is that of the run's process alone, without its agent and server."""


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


def waited(begin: Callable[[str], Callable[[], object]], folder: Path) -> Callable[[], float]:
    """Return the contestant that begins a run and gives the seconds to its mark.

    What `begin` returns is called afterwards, to wait until all is idle again.
    """

    def once() -> float:
        path = folder / "mark"
        path.unlink(missing_ok=True)
        started = time.perf_counter()
        settle = begin(str(path))
        while not path.exists():
            time.sleep(0.0005)
        settle()
        time.sleep(0.1)
        return float(path.read_text(encoding="utf-8")) - started

    return once


@contextmanager
def agent(label: str, *options: str) -> Iterator[None]:
    """Keep an agent in a process of its own."""
    command = [sys.executable, "-c", AGENT, label, *options]
    worker = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    with Registry(config.load().registry) as registry:
        while not any(label in each.labels for each in registry.agents()):
            time.sleep(0.01)
    time.sleep(1)  # until it has prepared what was registered
    try:
        yield
    finally:
        worker.terminate()
        worker.wait()


def bare_fork(data: bytes, path: str) -> Callable[[], object]:
    """Fork, unpickle and run."""
    child = os.fork()
    if child == 0:
        pickle.loads(data).run(parameters={"path": path})
        os._exit(0)
    return lambda: os.waitpid(child, 0)


def begins(registry: Registry, version: Version, label: str) -> Callable[[str], Settle]:
    """Return what asks for a run that only one agent can take."""
    labels = [*version.labels, label]

    def begin(path: str) -> Settle:
        run = registry.create_run(version, parameters={"path": path}, labels=labels)

        def settle() -> None:
            while not registry.get_run(run.id).state.is_final:
                time.sleep(0.01)

        return settle

    return begin


def runs(*command: str | Path) -> Callable[[str], Settle]:
    """Return what starts a process for a run; the mark's path is put to its last word."""
    *words, last = map(str, command)
    quiet = subprocess.DEVNULL
    return lambda path: subprocess.Popen([*words, last + path], stdout=quiet, stderr=quiet).wait


def starts(registry: Registry, version: Version, folder: Path, rounds: int) -> Table:
    """Measure from the question to the first line."""
    data = bytes(cache.default().find(version.digest) or b"")
    command = Path(sys.executable).with_name("casflow")
    table = Table("agents_start", "From the question to a task's first line", COLUMNS, [NOTE])
    ways = {
        BARE: lambda path: bare_fork(data, path),
        "agent, forks": begins(registry, version, "forks"),
        "agent, starts an interpreter": begins(registry, version, "starts"),
        "`casflow run`": runs(command, "run", version.flow, "-P", "path="),
    }
    try:
        ways[PREFECT] = runs(*peers.prefect_run(folder / "prefect"), "")
    except peers.NotToBeHadError as error:
        table.notes.append(f"Prefect 1.4.1 could not be had here: {error}.")
    with agent("forks"), agent("starts", "no fork"):
        subjects = {name: waited(begin, folder) for name, begin in ways.items()}
        taken = interleaved(subjects, rounds=rounds, warm_up=2)
    took = medians(taken)
    for name, seconds in taken.items():
        worst = sorted(seconds)[int(len(seconds) * 0.99)]
        parts = ratio(took[name], took[BARE]), ratio(took[name], took.get(PREFECT))
        table.add(name, milliseconds(took[name]), milliseconds(worst), *parts)
    return table


def throughput(registry: Registry, version: Version, folder: Path, runs: int) -> Table:
    """Measure runs per second through one agent, and loads per second through a pool."""
    data = bytes(cache.default().find(version.digest) or b"")
    path = str(folder / "mark")
    ask = begins(registry, version, "many")
    settles = [ask(path) for _ in range(runs)]
    with agent("many"):
        for settle in settles:
            settle()
    ended = registry.runs(limit=runs)
    seconds = _seconds(ended)
    with ProcessPoolExecutor(2) as pool:
        in_pool = timed(lambda: list(pool.map(load_and_run, [data] * runs, [path] * runs)))()
    table = Table("agents_throughput", f"{runs} trivial runs", ("way", "runs per second"))
    table.add("one agent, two at a time, a process each", runs / seconds)
    table.add("`ProcessPoolExecutor(2)`, no process each, no registry", runs / in_pool)
    return table


def _seconds(ended: list[Run]) -> float:
    """Return the time from the first start to the last end, without the agent's own start."""
    starts = [each.started for each in ended if each.started is not None]
    ends = [each.ended for each in ended if each.ended is not None]
    return (max(ends) - min(starts)).total_seconds()


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
            Local.from_dict(version.storage).get_flow("Mark")
            starts(registry, version, Path(home), 3 if quick else 100).report()
            throughput(registry, version, Path(home), 20 if quick else 500).report()


if __name__ == "__main__":
    main()
