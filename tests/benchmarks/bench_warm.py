"""A warm `get_flow` against the same by hand and against Prefect 1.4.1, and what starting up costs.

By hand is what nobody can do without: open, read, hash and unpickle the same blob in the same
process. Run it as `uv run python -m tests.benchmarks.bench_warm`.
"""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from casflow import Flow, task
from casflow.cache import Cache
from casflow.digests import digest_of
from casflow.storage import Local, load
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
    from collections.abc import Callable

SIZES = {"10 kB": 10_000, "1 MB": 1_000_000, "100 MB": 100_000_000}
COLUMNS = (
    "flow",
    "by hand",
    "reused storage",
    "fresh storage",
    "Prefect 1.4.1",
    "reused / by hand",
    "fresh / by hand",
    "Prefect / fresh",
)
NOTE = """\
By hand: open, read, BLAKE3 and `pickle.loads` of the same file in the same process. Fresh: the
storage is made of its JSON form for every call, as an agent does. casflow verifies the digest at
every read; Prefect 1.4.1 verifies nothing."""
THEIRS = "Prefect 1.4.1: import, `get_flow`, run"
SCRIPT = Path(__file__).parents[2] / "casflow" / "cli" / "demo" / "orders.py"


def payload_flow(size: int) -> Flow:
    """Return a flow that carries so many bytes."""
    payload = random.Random(size).randbytes(size)

    @task
    def give() -> int:
        return len(payload)

    with Flow(f"Payload {size}") as flow:
        give()
    return flow


def by_hand(path: Path, digest: str) -> object:
    """Open, read, hash and unpickle a blob."""
    with path.open("rb") as file:
        data = file.read()
    if f"blake3:{blake3(data).hexdigest()}" != digest:
        raise SystemExit("the blob is damaged")
    return pickle.loads(data)


def stored(flow: Flow) -> tuple[Local, dict[str, Any], Path]:
    """Return a storage that holds a flow, its JSON form, and the flow's file in the cache."""
    storage = Local()
    storage.add_flow(flow)
    storage.get_flow(flow.name)
    return storage, storage.serialize(), storage.cache.path(storage.reference(flow.name).digest)


def contestants(size: int, peer: peers.Peer | None, folder: str) -> dict[str, Callable[[], float]]:
    """Return who reads a flow of this size, by name."""
    flow = payload_flow(size)
    storage, form, path = stored(flow)
    digest = storage.reference(flow.name).digest
    times = max(1, min(100, 10_000_000 // size))
    subjects = {
        "by hand": timed(lambda: by_hand(path, digest), times=times),
        "reused": timed(lambda: storage.get_flow(flow.name), times=times),
        "fresh": timed(lambda: load(form).get_flow(flow.name), times=times),
    }
    if peer is not None:
        place = peer.ask("store", folder, size)
        subjects["prefect"] = lambda: float(peer.ask("get", folder, flow.name, place))
    return subjects


def warm(rounds: int, home: Path) -> Table:
    """Measure `get_flow` of flows that are in the cache."""
    table = Table("warm_get_flow", "Warm `get_flow` on Local storage", COLUMNS, [NOTE])
    with ExitStack() as stack:
        peer = _peer(stack, home, table)
        for name, size in SIZES.items():
            subjects = contestants(size, peer, str(home / "prefect"))
            took = medians(interleaved(subjects, rounds=max(5, rounds // (1 + size // 10**7))))
            table.add(
                name,
                *(milliseconds(took.get(key)) for key in ("by hand", "reused", "fresh", "prefect")),
                ratio(took["reused"], took["by hand"]),
                ratio(took["fresh"], took["by hand"]),
                ratio(took.get("prefect"), took["fresh"]),
            )
    return table


def _peer(stack: ExitStack, home: Path, table: Table) -> peers.Peer | None:
    settings = {"PREFECT__HOME_DIR": str(home / "prefect"), "HOME": str(home)}
    try:
        script = Path(__file__).with_name("prefect_peer.py")
        return stack.enter_context(peers.Peer(peers.prefect(), script, settings))
    except peers.NotToBeHadError as error:
        table.notes.append(f"Prefect 1.4.1 could not be had here: {error}.")
        return None


def fills(rounds: int, home: Path) -> Table:
    """Measure putting 20 kB into the cache against what nobody can do without."""
    cache = Cache(home / "fills", 10**10)
    (home / "bare").mkdir()
    fresh = iter(range(10**9))

    def fill() -> None:
        data = next(fresh).to_bytes(8, "big") * 2500
        cache.fetch(digest_of(data), len(data), lambda target: target.write(data))

    def bare() -> None:
        number = next(fresh)
        path = home / "bare" / f"{number}.part"
        path.write_bytes(number.to_bytes(8, "big") * 2500)
        path.rename(path.with_suffix(""))

    took = medians(
        interleaved({"ours": timed(fill), "bare": timed(bare)}, rounds=20 * rounds, warm_up=300)
    )
    table = Table(
        "cache_fill", "A fill of the cache, 20 kB", ("contestant", "median", "times bare")
    )
    table.add("write and rename", milliseconds(took["bare"]), ratio(took["bare"], took["bare"]))
    table.add("`Cache.fetch`, cold", milliseconds(took["ours"]), ratio(took["ours"], took["bare"]))
    return table


def process(*command: str | Path) -> Callable[[], float]:
    """Return a contestant that runs a process to its end."""
    words = [str(word) for word in command]
    return timed(lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL))


def start(rounds: int, home: Path) -> Table:
    """Measure processes from their start to their end."""
    command = Path(sys.executable).with_name("casflow")
    subprocess.run([command, "register", "-p", SCRIPT], check=True, stdout=subprocess.DEVNULL)
    subjects = {
        "`python -c pass`": process(sys.executable, "-c", "pass"),
        '`python -c "import casflow"`': process(sys.executable, "-c", "import casflow"),
        "`casflow --help`": process(command, "--help"),
        '`casflow run "Quarterly orders"`, warm': process(command, "run", "Quarterly orders"),
    }
    columns = ("process", "median", "times bare Python", "part of Prefect's run")
    table = Table("start", "Processes, from start to end", columns)
    try:
        python = peers.prefect()
        subjects["Prefect 1.4.1: `python -c pass`"] = process(python, "-c", "pass")
        subjects["Prefect 1.4.1: `import prefect`"] = process(
            python, "-W", "ignore", "-c", "import prefect"
        )
        subjects[THEIRS] = process(*peers.prefect_run(home / "prefect-run"), home / "mark")
    except peers.NotToBeHadError as error:
        table.notes.append(f"Prefect 1.4.1 could not be had here: {error}.")
    took = medians(interleaved(subjects, rounds=rounds, warm_up=2))
    for name, seconds in took.items():
        parts = ratio(seconds, took["`python -c pass`"]), ratio(seconds, took.get(THEIRS))
        table.add(name, milliseconds(seconds), *parts)
    return table


def main() -> None:
    """Measure everything in a home of its own."""
    quick = options("Warm reads and start-up.").quick
    with tempfile.TemporaryDirectory(prefix="casflow-benchmark-") as home:
        os.environ["CASFLOW_HOME"] = home
        warm(5 if quick else 60, Path(home)).report()
        fills(1 if quick else 20, Path(home)).report()
        start(3 if quick else 25, Path(home)).report()


if __name__ == "__main__":
    main()
