"""Two whole runs of `casflow gc`, deletions included, against the bare listing and deletion.

A third of the blobs is garbage: the first run condemns it, the second, two days later, deletes it.
Run it as `uv run python -m tests.benchmarks.bench_gc_full`.
"""

from __future__ import annotations

import resource
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from casflow.blobs import layout
from casflow.blobs.local import LocalBlobStore
from casflow.cache import Cache
from casflow.gc import Collector, Report
from tests.benchmarks.bench_gc import fill_folder, list_all
from tests.benchmarks.measure import Table, options, ratio
from tests.gc.aging import Later

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = (
    "blobs",
    "references",
    "bare listing",
    "bare deletion",
    "gc that condemns",
    "gc that deletes",
    "deletes / bare",
    "the same by the wall clock",
    "peak memory",
)
NOTE = """\
One round on a folder in memory, in seconds of the processor, so that what else the machine does
is left out but in the last ratio. The first run reads every reference, and keeps in the machine's
cache what they said; the second, as `casflow gc` does day by day, reads new ones. The bare deletion
is that of as many files, the markers, after both runs. A marker is durable when its request
returns: its folder is synced once for a thousand of them. Peak memory is that of the process that
does both runs."""
LATER = 2 * 86400.0
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


class Took(NamedTuple):
    """Seconds of the processor, and by the wall clock."""

    processor: float
    wall: float


@contextmanager
def clocked(times: dict[str, Took], name: str) -> Iterator[None]:
    """Note what a block takes."""
    began = Took(time.process_time(), time.perf_counter())
    yield
    times[name] = Took(time.process_time() - began.processor, time.perf_counter() - began.wall)


def collect(store: LocalBlobStore, ahead: float, cache: Cache) -> Report:
    """Run a collector of a later day."""
    later = Later(store, ahead)
    later.create_empty = store.create_empty
    return Collector(later, now=later.now, cache=cache).run()


def main() -> None:
    """Measure and report."""
    quick = options(__doc__.partition("\n")[0]).quick
    blobs, references = (3_000, 1_000) if quick else (300_000, 100_000)
    times: dict[str, Took] = {}
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        store = LocalBlobStore(Path(folder) / "store")
        cache = Cache(Path(folder) / "cache", 10**9)
        fill_folder(store.root, blobs, references)
        list_all(store)
        with clocked(times, "listing"):
            list_all(store)
        with clocked(times, "condemns"):
            condemned = collect(store, 0.0, cache).condemned.blobs
        with clocked(times, "deletes"):
            deleted = collect(store, LATER, cache).deleted.blobs
        if not condemned == deleted == blobs // 3:
            raise SystemExit(f"condemned {condemned} and deleted {deleted} of {blobs}")
        markers = list((store.root / layout.CONDEMNED).iterdir())
        with clocked(times, "deletion"):
            for marker in markers:
                marker.unlink()
    shown = [
        f"{times[name].processor:.1f} s" for name in ("listing", "deletion", "condemns", "deletes")
    ]
    bare = [sum(both) for both in zip(times["listing"], times["deletion"], strict=True)]
    ratios = map(ratio, times["deletes"], bare)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    table = Table("gc_full", "Collecting 100,000 of 300,000 blobs", COLUMNS, [NOTE])
    table.add(blobs, references, *shown, *ratios, f"{peak:.0f} MiB")
    table.report()


if __name__ == "__main__":
    main()
