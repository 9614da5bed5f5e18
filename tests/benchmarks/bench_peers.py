"""One flow kept and read again, against what others do with as many bytes.

Everybody takes a turn in every round: casflow, Prefect 1.4.1's Local storage, Metaflow's
content-addressed store, DVC's object database, huggingface_hub's cache, fsspec's simplecache, and
the bare read. Run it as `uv run python -m tests.benchmarks.bench_peers`.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import fsspec

from casflow.storage import Local, load
from tests.benchmarks import peers
from tests.benchmarks.bench_warm import SIZES, by_hand, payload_flow, stored
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

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
PYTHONS = ("3.11", "3.12", "3.13")
NOTE = """\
Warm reads, to a loaded object: casflow, what is done by hand and the bare read load one flow,
Prefect its own, the others a pickle of as many bytes. casflow's storage is made of its JSON form
for every read, as an agent does. Store: 1 MB that was never seen before; casflow serializes the
flow and writes blob, source map and reference. By hand: open, read, BLAKE3, `pickle.loads`. DVC
trusts files that are read-only, as it makes all of them. huggingface_hub stores what it downloads,
which needs a hub."""


FACTS = {  # whether who reads verifies; whether who stores syncs, and writes a reference
    "by hand": ("yes", "-", "-"),
    "casflow": ("yes", "yes", "yes"),
    "Prefect 1.4.1": ("no", "no", "no"),
    "Metaflow's store": ("no", "no", "no"),
    "DVC's store": ("no, read-only", "no", "no"),
    "huggingface_hub's cache": ("no", "no", "yes"),
    "fsspec simplecache": ("no", "no", "no"),
    "bare read": ("no", "-", "-"),
}


class Subject(NamedTuple):
    """Somebody who keeps bytes.

    Attributes:
        name: Who it is.
        get: Seconds of a read of what was stored.
        store: Seconds of storing as many bytes; None for one that cannot store.
    """

    name: str
    get: Callable[[], float]
    store: Callable[[], float] | None = None


class Script(NamedTuple):
    """A peer in an environment of its own."""

    name: str
    package: str
    script: str
    stores: bool = True


SCRIPTS = (
    Script("Metaflow's store", "metaflow", "metaflow_peer.py"),
    Script("DVC's store", "dvc-data", "dvc_store_peer.py"),
    Script("huggingface_hub's cache", "huggingface_hub", "huggingface_peer.py", stores=False),
)


def ours(size: int, folder: Path) -> list[Subject]:
    """Return casflow and those that run in its process, with a flow of this size stored."""
    flow = payload_flow(size)
    _, form, path = stored(flow)
    digest = path.name
    url = f"simplecache::file://{path}"
    cached: Any = {"cache_storage": str(folder / "simplecache")}

    def simplecache() -> object:
        with fsspec.open(url, simplecache=cached) as file:
            return pickle.loads(file.read())

    def bare() -> object:
        return pickle.loads(path.read_bytes())

    read = {
        "by hand": lambda: by_hand(path, f"blake3:{digest}"),
        "casflow": lambda: load(form).get_flow(flow.name),
        "fsspec simplecache": simplecache,
        "bare read": bare,
    }
    timings = {name: timed(work) for name, work in read.items()}
    return [
        Subject(name, timing, _storing(size) if name == "casflow" else None)
        for name, timing in timings.items()
    ]


def _storing(size: int) -> Callable[[], float]:
    flows = (payload_flow(size + number) for number in count(1))

    def once() -> float:
        flow = next(flows)
        return timed(lambda: Local().add_flow(flow))()

    return once


def prefect(stack: ExitStack, size: int, folder: Path) -> Subject:
    """Return Prefect 1.4.1, with a flow of this size stored."""
    settings = {"PREFECT__HOME_DIR": str(folder), "HOME": str(folder)}
    script = HERE / "prefect_peer.py"
    peer = stack.enter_context(peers.Peer(peers.prefect(), script, settings))
    place = peer.ask("store", str(folder), size)
    seeds = count(1)
    return Subject(
        "Prefect 1.4.1",
        lambda: float(peer.ask("get", str(folder), f"Payload {size}", place)),
        lambda: float(peer.ask("add", str(folder), size + next(seeds))),
    )


def scripted(stack: ExitStack, each: Script, size: int, folder: Path) -> Subject:
    """Return a peer of a script, with so many bytes stored."""
    python = peers.environment(each.package, (each.package,), PYTHONS)
    home = {"HOME": str(folder), "METAFLOW_HOME": str(folder), "HF_HUB_OFFLINE": "1"}
    peer = stack.enter_context(peers.Peer(python, HERE / each.script, home, str(folder / "data")))
    seeds = count(1)
    peer.ask("store", size, 0)
    return Subject(
        each.name,
        lambda: float(peer.ask("get")),
        (lambda: float(peer.ask("store", size, next(seeds)))) if each.stores else None,
    )


def subjects(stack: ExitStack, size: int, folder: Path, table: Table) -> list[Subject]:
    """Return everybody who is to be had; who is not is named below the table."""
    makers: dict[str, Callable[[Path], Subject]] = {
        "Prefect 1.4.1": lambda home: prefect(stack, size, home)
    }
    for each in SCRIPTS:
        makers[each.name] = lambda home, each=each: scripted(stack, each, size, home)
    found = ours(size, folder)
    for number, (name, make) in enumerate(makers.items()):
        home = folder / str(number)
        home.mkdir()
        try:
            found.append(make(home))
        except peers.NotToBeHadError as error:
            note = f"{name} was not measured: {error}."
            table.notes += [note] if note not in table.notes else []
    return found


def measure(sizes: dict[str, int], rounds: int, home: Path) -> Table:
    """Measure everybody with flows of these sizes."""
    columns = ("who", *(f"get {name}" for name in sizes), *(f"{name} / by hand" for name in sizes))
    table = Table(
        "peers",
        "A flow kept and read again",
        (*columns, "store 1 MB", "verifies", "syncs", "writes a reference"),
        [NOTE],
    )
    reads: dict[str, dict[str, float]] = {}
    stores: dict[str, float] = {}
    for name, size in sizes.items():
        with ExitStack() as stack:
            folder = home / str(size)
            folder.mkdir()
            there = subjects(stack, size, folder, table)
            count = max(5, rounds // (1 + size // 10**7))
            if name == "1 MB":
                storing = {each.name: each.store for each in there if each.store is not None}
                stores = medians(interleaved(storing, rounds=count))
            reading = {each.name: each.get for each in there}
            reads[name] = medians(interleaved(reading, rounds=count))
    for who, flags in FACTS.items():
        took = [reads[name].get(who) for name in sizes]
        times = [
            ratio(each, reads[name]["by hand"]) for each, name in zip(took, sizes, strict=True)
        ]
        table.add(who, *map(milliseconds, took), *times, milliseconds(stores.get(who)), *flags)
    table.chart = chart(reads)
    return table


def chart(reads: dict[str, dict[str, float]]) -> Chart:
    """Return everybody's reads by size."""
    heights = {
        who: [None if who not in took else took[who] * 1000 for took in reads.values()]
        for who in FACTS
        if any(who in took for took in reads.values())
    }
    return Chart("bars", "bytes that the flow carries", "ms for a warm read", list(reads), heights)


def main() -> None:
    """Measure everything in a home of its own."""
    quick = options("casflow and its peers.").quick
    sizes = {name: SIZES[name] for name in (("10 kB", "1 MB") if quick else SIZES)}
    with tempfile.TemporaryDirectory(prefix="casflow-benchmark-") as home:
        os.environ["CASFLOW_HOME"] = f"{home}/casflow"
        measure(sizes, 5 if quick else 40, Path(home)).report()


if __name__ == "__main__":
    main()
