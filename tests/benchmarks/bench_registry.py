"""What the registry's work costs as it fills up: 1 to 100,000 versions, 1 to 10,000 waiting runs.

Registries of all sizes lie side by side, on SQLite and PostgreSQL, and each does each thing once a
round. Beside it the memory of an agent that waits. Run it as
`uv run python -m tests.benchmarks.bench_registry`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import TYPE_CHECKING, Any

from casflow.digests import digest_of
from casflow.registry import Registry, RunState
from casflow.registry.schema import runs, versions
from tests.benchmarks.measure import (
    Chart,
    Table,
    interleaved,
    medians,
    milliseconds,
    options,
    ratio,
    timed,
)
from tests.registry.processes import REFERENCE
from tests.services.postgres import PostgresServer, find_binaries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from casflow.registry import Agent, Run

SIZES = ((1, 1), (100, 100), (10_000, 10_000), (100_000, 10_000))  # versions, waiting runs
FLOWS = 100
ACTS = (
    "register",
    "claim",
    "claim behind others",
    "find by digest",
    "new versions",
    "status",
    "list",
)
NOTE = """\
Register: the latest version looked up, and another one added. Claim: a run taken by an agent, timed
without its finish and the run that takes its place. Claim behind others: the only run that an
agent may take, asked for after all the others. New versions: what an agent asks after each wake.
Status and list: what `casflow agent status` and `casflow ls` (of at most 100 flows) read."""
MEMORY_NOTE = """\
Resident: all pages of the process. Private: those that it shares with no other process."""


class Full:
    """A registry with so many versions and waiting runs.

    Args:
        url: Where it is; empty.
        size: Versions of all flows together.
        waiting: Runs that wait.
    """

    def __init__(self, url: str, size: int, waiting: int) -> None:
        self.registry = Registry(url)
        self._flows = flows = min(size, FLOWS)
        first = [self._add(f"flow {number}", -number) for number in range(flows)]
        self._fill(first, size - flows)
        self._version = first[0]
        self._fill_runs(self.registry.create_run(first[0]), waiting - 1)
        self._agent, self._other = map(self._enter, ("linux", "other"))
        self.registry.create_run(first[0], labels=["other"])
        self._count = size
        self._last = max(each.id for each in self.registry.versions_since(0, limit=1))

    def _enter(self, label: str) -> Agent:
        return self.registry.add_agent(name=label, host="here", pid=1, labels=[label])

    def _add(self, flow: str, content: int, after: int | None = None) -> Any:
        return self.registry.add_version(
            project=None,
            flow=flow,
            digest=digest_of(b"%d" % content),
            storage={"type": "Local", "directory": "/srv/flows", "flows": {flow: flow}},
            reference={**REFERENCE, "size": 10_000},
            labels=["linux"],
            location=flow,
            after=after,
        )

    def _fill(self, first: list[Any], count: int) -> None:
        template = {
            "storage": first[0].storage,
            "reference": {**REFERENCE, "size": 1},
            "labels": ["linux"],
        }
        template |= {"location": "x", "created": first[0].created}
        with self.registry._db.write() as connection:
            for start in range(0, count, 10_000):
                rows = [
                    {
                        **template,
                        "flow_id": 1 + number % len(first),
                        "number": 2 + number // len(first),
                        "digest": digest_of(b"%d" % number),
                    }
                    for number in range(start, min(count, start + 10_000))
                ]
                connection.execute(versions.insert(), rows)
            connection.exec_driver_sql(
                "UPDATE casflow_flows SET latest ="
                " (SELECT max(number) FROM casflow_versions WHERE flow_id = casflow_flows.id)"
            )
        self._analyze()

    def _fill_runs(self, run: Run, count: int) -> None:
        row = {"version_id": 1, "label_set_id": 1, "parameters": {}, "state": RunState.SCHEDULED}
        row |= {"scheduled": run.scheduled, "created": run.created, "attempt": 0, "losses": 0}
        if count:
            with self.registry._db.write() as connection:
                connection.execute(runs.insert(), [row] * count)
        self._analyze()

    def _analyze(self) -> None:
        """Let PostgreSQL count its rows now, as it does by itself a minute later."""
        if not self.registry._db.is_sqlite:
            with self.registry._db.write() as connection:
                connection.exec_driver_sql("ANALYZE")

    def acts(self) -> dict[str, Callable[[], float]]:
        """Return what is timed, by name."""
        digest = digest_of(b"%d" % 0)
        ask = self.registry
        return {
            "register": self._register,
            "claim": lambda: self._claim(self._agent, ["linux"]),
            "claim behind others": lambda: self._claim(self._other, ["other"]),
            "find by digest": timed(lambda: ask.get_by_digest(digest[:20])),
            "new versions": timed(lambda: ask.versions_since(self._last)),
            "status": timed(ask.overview),
            "list": timed(ask.flows),
        }

    def _register(self) -> float:
        self._count += 1
        flow = f"flow {self._count % self._flows}"

        def register() -> None:
            latest = self.registry.find_latest(None, flow)
            self._add(flow, self._count, latest.number)

        return timed(register)()

    def _claim(self, agent: Agent, labels: list[str]) -> float:
        started = time.perf_counter()
        (run,) = self.registry.claim(agent)
        took = time.perf_counter() - started
        self.registry.finish(run, RunState.SUCCESS)
        self.registry.create_run(self._version, labels=labels)
        return took


def costs(stack: ExitStack, folder: Path, sizes: tuple[tuple[int, int], ...], rounds: int) -> Table:
    """Measure each act in registries of all sizes."""
    table = Table(
        "registry",
        "The registry as it fills up",
        ("database", "versions", "waiting runs", *ACTS, "register / smallest", "claim / smallest"),
        [NOTE],
    )
    urls: dict[str, Callable[[int], str]] = {
        "SQLite": lambda number: f"sqlite:///{folder}/{number}.db"
    }
    if find_binaries() is None:
        table.notes.append("PostgreSQL could not be had here: not measured.")
    else:
        server = stack.enter_context(PostgresServer())
        urls["PostgreSQL"] = lambda _: server.url_of(server.database())
    full = {
        (name, *size): Full(url(number), *size)
        for name, url in urls.items()
        for number, size in enumerate(sizes)
    }
    subjects = {(key, act): do for key, each in full.items() for act, do in each.acts().items()}
    took = medians(interleaved(subjects, rounds=rounds, warm_up=3))
    for key in full:
        least = key[0], *sizes[0]
        rises = [ratio(took[key, act], took[least, act]) for act in ("register", "claim")]
        table.add(*key, *(milliseconds(took[key, act]) for act in ACTS), *rises)
    table.chart = Chart(
        "lines",
        "versions (and as many waiting runs, at most 10,000)",
        "ms",
        [str(size[0]) for size in sizes],
        {
            f"{act}, {name}": [took[(name, *size), act] * 1000 for size in sizes]
            for name in urls
            for act in ("register", "claim", "claim behind others")
        },
    )
    for each in full.values():
        each.registry.close()
    return table


@contextmanager
def agent(home: Path) -> Iterator[int]:
    """Start an agent as a person does; give its process id when it waits."""
    environment = {**os.environ, "CASFLOW_HOME": str(home)}
    command = [sys.executable, "-m", "casflow", "agent", "start", "local"]
    with Registry(f"sqlite:///{home}/registry.db") as registry:
        process = Popen(command, env=environment, stdout=DEVNULL, stderr=DEVNULL)
        try:
            while not registry.agents():
                time.sleep(0.05)
            time.sleep(5)  # for the fork server to import what it keeps ready
            yield process.pid
        finally:
            process.terminate()
            process.wait()


def memory(home: Path) -> Table:
    """Measure the processes of an agent that waits."""
    columns = ("process", "resident", "private")
    table = Table("agent_memory", "Memory of an agent that waits", columns, [MEMORY_NOTE])
    with agent(home) as pid:
        for each in [pid, *descendants(pid)]:
            name = "agent" if each == pid else module_of(each)
            shown = (f"{of_process(each, field) / 1024:.1f} MiB" for field in ("Rss", "Private"))
            table.add(name, *shown)
    return table


def descendants(pid: int) -> list[int]:
    """Return the processes below a process."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [each for child in map(int, children) for each in (child, *descendants(child))]


def module_of(pid: int) -> str:
    """Return what a Python process runs."""
    words = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")
    return words[words.index("-m") + 1] if "-m" in words else words[0]


def of_process(pid: int, field: str) -> int:
    """Return the KiB of a process's memory of a kind."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(field))


def main() -> None:
    """Measure everything in a folder of its own."""
    quick = options("The registry as it fills up.").quick
    sizes = SIZES[:2] + SIZES[2:3] if quick else SIZES
    with tempfile.TemporaryDirectory(prefix="casflow-benchmark-") as folder, ExitStack() as stack:
        costs(stack, Path(folder), sizes, 5 if quick else 60).report()
        (Path(folder) / "home").mkdir()
        memory(Path(folder) / "home").report()


if __name__ == "__main__":
    main()
