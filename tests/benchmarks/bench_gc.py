"""A dry run of `casflow gc` against the bare listing of the same keys, DVC's and restic's.

Three fifths of the blobs are garbage, and half of the references expire. Run it as
`uv run python -m tests.benchmarks.bench_gc`.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from casflow.blobs import layout
from casflow.blobs.local import LocalBlobStore
from casflow.cache import Cache
from casflow.digests import digest_of
from casflow.gc import Collector, Policy
from casflow.gc.parallel import ordered_map
from casflow.gc.scan import Scan
from casflow.reference import PICKLE, BlobName, Reference
from casflow.storage.urls import open_url
from tests.benchmarks import peers
from tests.benchmarks.measure import Table, interleaved, medians, options, ratio, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from casflow.blobs.base import BlobStore

COLUMNS = (
    "store",
    "blobs",
    "references",
    "bare listing",
    "first gc",
    "next gc",
    "DVC gc",
    "restic prune",
    "first / listing",
    "next / listing",
    "peak memory",
)
NOTE = """\
All of them dry runs on a warm page cache. Bare listing: every key of the store with size and time.
casflow gc lists, reads every reference, applies a retention policy and checks that nothing is
missing; the next gc on a machine reads only references that are new to it or have changed. DVC is
handed its roots in memory, reads none and asks for no sizes; restic's time includes some 0.7 s of
key derivation, and it keeps these blobs in a few packs. The S3 server of the tests sorts all keys
below a prefix for each page that it lists, so its row has fewer. Peak memory is that of a process
which does nothing else but a first gc."""
FLOWS = 500
POLICY = Policy(last=20)


def objects(blobs: int, references: int) -> Iterator[tuple[str, bytes]]:
    """Yield the keys and bytes of a store: two of five blobs are named by a reference."""
    yield layout.FORMAT, b'{"format": 1}\n'
    named = []
    for number in range(blobs):
        data = b"blob %d" % number
        named.append(BlobName(digest_of(data), 0, len(data)))
        yield layout.blob(named[-1].digest, 0), data
    for number in range(references):
        made = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
        flow = f"flow {number % FLOWS}"
        pair = named[2 * number % blobs], named[(2 * number + 1) % blobs]
        reference = Reference(
            flow, pair[0], PICKLE, made.isoformat(), (), {"source_map": pair[1]}, {"python": "3.11"}
        )
        yield layout.reference(flow, made), reference.to_bytes()


def fill_folder(root: Path, blobs: int, references: int) -> None:
    """Write a store without waiting for the disk at every object."""
    for key, data in objects(blobs, references):
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def list_all(store: BlobStore) -> int:
    """Return how many keys a store has."""
    return sum(1 for _ in store.list())


def preview(store: BlobStore, cache: Cache | None = None) -> Any:
    """Do all that a run does before its first write."""
    return Collector(store, policy=POLICY, cache=cache).preview()


def remembering(store: BlobStore, folder: Path) -> Cache:
    """Return the cache that a run on a store leaves."""
    cache = Cache(folder, 10**9)
    scan = Scan(store, cache=cache)
    scan.settled = math.inf  # the references are as old as the store
    for _ in scan.live_roots():
        pass
    return cache


def peak_memory(url: str) -> str:
    """Return what a process that previews a store needs at most."""
    code = (
        "import resource, sys; from tests.benchmarks.bench_gc import *;"
        "preview(open_url(sys.argv[1]));"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, url], capture_output=True, text=True, check=True
    )
    return f"{int(done.stdout) / 1024:.0f} MiB"


# ---- peers ------------------------------------------------------------------------------------


def dvc(stack: ExitStack, place: str, blobs: int) -> Callable[[], float] | None:
    """Return DVC's dry run over as many objects, or None when it cannot be had."""
    try:
        python = peers.environment("dvc-s3", ("dvc-s3", "dvc-data"), ("3.11", "3.12", "3.13"))
    except peers.NotToBeHadError as error:
        print(f"DVC: {error}", file=sys.stderr)
        return None
    script = Path(__file__).with_name("dvc_peer.py")
    peer = stack.enter_context(peers.Peer(python, script, {}))
    peer.ask("fill", place, blobs)
    return lambda: float(peer.ask("gc", place, blobs * 2 // 5))


def restic(folder: Path, repository: str, blobs: int) -> Callable[[], float] | None:
    """Return restic's dry run over a repository of as many blobs, or None without restic."""
    if shutil.which("restic") is None:
        print("restic: not installed", file=sys.stderr)
        return None
    files = folder / "files"
    for number in range(blobs):
        path = files / f"{number % 256:02x}" / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"blob %d" % number)
    run = _restic(repository, folder / "cache")
    run("init")
    run("backup", str(files))
    shutil.rmtree(files)
    return timed(lambda: run("prune", "--dry-run"))


def _restic(repository: str, cache: Path) -> Callable[..., None]:
    settings = {"PASSWORD": "benchmark", "REPOSITORY": repository, "CACHE_DIR": str(cache)}
    environment = {**os.environ, **{f"RESTIC_{name}": value for name, value in settings.items()}}

    def run(*arguments: str) -> None:
        subprocess.run(
            ["restic", "-q", *arguments], env=environment, check=True, capture_output=True
        )

    return run


# ---- tables -----------------------------------------------------------------------------------


class Size(NamedTuple):
    """How much a table's row is about."""

    blobs: int
    references: int
    rounds: int


def measure_folder(table: Table, folder: Path, size: Size) -> None:
    """Add the row of a folder, with the peers."""
    store = LocalBlobStore(folder / "store")
    fill_folder(store.root, size.blobs, size.references)
    _measure(table, "folder", store, folder, (f"{folder}/dvc", f"{folder}/repository"), size)


def measure_s3(table: Table, folder: Path, size: Size) -> None:
    """Add the row of a bucket on a server of this machine, with the peers in buckets beside it."""
    from tests.services.s3 import S3, MotoServer

    with MotoServer() as server:
        endpoint = S3(server.url)
        os.environ.update(endpoint.environ)
        store = open_url(f"s3://{endpoint.bucket()}")
        filled = objects(size.blobs, size.references)
        for _ in ordered_map(partial(_put, store), filled, store.parallel):
            pass
        places = f"s3://{endpoint.bucket()}", f"s3:{server.url}/{endpoint.bucket()}"
        _measure(table, "S3 (moto)", store, folder, places, size)


def _measure(
    table: Table, name: str, store: BlobStore, folder: Path, places: tuple[str, str], size: Size
) -> None:
    with ExitStack() as stack:
        subjects = {
            **_own(store, folder),
            "DVC": dvc(stack, places[0], size.blobs),
            "restic": restic(folder / "restic", places[1], size.blobs),
        }
        there = {name: subject for name, subject in subjects.items() if subject is not None}
        taken = medians(interleaved(there, rounds=size.rounds))
    _add(table, name, size, taken, peak_memory(store.url))


def _own(store: BlobStore, folder: Path) -> dict[str, Callable[[], float]]:
    cache = remembering(store, folder / "cache")
    return {
        "listing": timed(lambda: list_all(store)),
        "first": timed(lambda: preview(store)),
        "next": timed(lambda: preview(store, cache)),
    }


def _put(store: BlobStore, item: tuple[str, bytes]) -> None:
    store.put(*item)


def _add(table: Table, name: str, size: Size, taken: dict[str, float], peak: str) -> None:
    shown = {key: f"{seconds:.2f} s" for key, seconds in taken.items()}
    times = [shown.get(key) for key in ("listing", "first", "next", "DVC", "restic")]
    shares = [ratio(taken[key], taken["listing"]) for key in ("first", "next")]
    table.add(name, size.blobs, size.references, *times, *shares, peak)


def main() -> None:
    """Measure and report."""
    quick = options(__doc__.partition("\n")[0]).quick
    table = Table("gc", "Collecting garbage", COLUMNS, [NOTE])
    with tempfile.TemporaryDirectory() as folder:
        size = Size(2_000, 400, 1) if quick else Size(100_000, 20_000, 7)
        measure_folder(table, Path(folder), size)
    with tempfile.TemporaryDirectory() as folder:
        size = Size(200, 40, 1) if quick else Size(10_000, 2_000, 3)
        measure_s3(table, Path(folder), size)
    table.report()


if __name__ == "__main__":
    main()
