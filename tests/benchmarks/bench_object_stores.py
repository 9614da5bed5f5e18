"""Flows on S3 with 25 ms added to each request, against who does the same without a digest.

Prefect 1.4.1's S3 storage uploads at each registration and downloads at each read; fsspec's
`simplecache::` and a bare `get_object` read the bytes of the same object and unpickle them. The
second table has big blobs against the same client's plain copy, without the 25 ms. Run it as
`uv run python -m tests.benchmarks.bench_object_stores`.
"""

from __future__ import annotations

import os
import pickle
import random
import shutil
import tempfile
import time
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casflow import Flow, task
from casflow.blobs.s3 import S3BlobStore
from casflow.storage import S3, load
from tests.benchmarks import peers
from tests.benchmarks.measure import Table, interleaved, medians, milliseconds, options, ratio
from tests.services import s3 as service
from tests.services.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LATENCY = 0.025  # seconds
SIZES = {"10 kB": 10_000, "1 MB": 1_000_000, "50 MB": 50_000_000}
PREFECT = (*peers.PREFECT, "boto3")
NOTE = """\
casflow registers with its registry and checks the store; Prefect is timed for its storage alone.
Each read gets a fresh storage and ends with a loaded flow. All talk to the same server."""


@contextmanager
def proxied(url: str) -> Iterator[str]:
    """Start the proxy that adds the latency, in a process of its own, and return its URL."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(url, there), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


def _serve(url: str, pipe: Any) -> None:
    with Proxy(url, latency=LATENCY) as proxy:
        pipe.send(proxy.url)
        pipe.poll(None)


def payload_flow(size: int, bucket: str) -> Flow:
    """Return a flow that carries so many bytes."""
    payload = random.Random(size).randbytes(size)

    @task
    def give() -> int:
        return len(payload)

    with Flow(f"Payload {size}", storage=S3(bucket)) as flow:
        give()
    return flow


def seconds(work: Callable[[], object]) -> float:
    """Return how long something took."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def contestants(
    size: int, bucket: str, peer: peers.Peer | None, folder: Path
) -> dict[str, Callable[[], float]]:
    """Return who registers and reads a flow of this size, by name."""
    import boto3
    import fsspec

    flow = payload_flow(size, bucket)
    digest = flow.register().digest.partition(":")[2]
    form = flow.storage.serialize()
    key = f".casflow/blobs/{digest[:2]}/{digest}-0"
    client = boto3.client("s3")

    def cold() -> object:
        shutil.rmtree(Path(os.environ["CASFLOW_HOME"]) / "cache", ignore_errors=True)
        return load(form).get_flow(flow.name)

    def simplecache() -> object:
        place = f"simplecache::s3://{bucket}/{key}"
        with fsspec.open(place, simplecache={"cache_storage": str(folder)}) as file:
            return pickle.loads(file.read())

    def bare() -> object:
        return pickle.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())

    def warm() -> object:
        return load(form).get_flow(flow.name)

    warm()
    subjects: dict[str, Callable[[], float]] = {
        "register": lambda: seconds(flow.register),
        "warm": lambda: seconds(warm),
        "simplecache": lambda: seconds(simplecache),
        "bare": lambda: seconds(bare),
        "cold": lambda: seconds(cold),
    }
    if peer is not None:
        subjects["prefect register"] = lambda: float(peer.ask("register", bucket, size))
        subjects["prefect get"] = lambda: float(peer.ask("get", size))
        subjects["prefect register"]()
    return subjects


def requests(rounds: int, server: service.S3, home: Path) -> list[Table]:
    """Measure registrations and reads behind the latency."""
    again = Table(
        "s3_register",
        "Registering an unchanged flow on S3, 25 ms a request",
        ("flow", "casflow", "Prefect 1.4.1", "Prefect / casflow"),
        [NOTE],
    )
    columns = ("flow", "warm", "cold", "Prefect 1.4.1", "simplecache, warm", "bare boto3")
    reads = Table(
        "s3_get_flow",
        "`get_flow` on S3, 25 ms a request",
        (*columns, "Prefect / warm", "simplecache / warm", "bare / warm"),
        [NOTE],
    )
    with ExitStack() as stack:
        url = stack.enter_context(proxied(server.url))
        os.environ.update(server.through(url).environ)
        peer = _peer(stack, home, again)
        for name, size in SIZES.items():
            bucket = server.bucket()
            subjects = contestants(size, bucket, peer, home / "simplecache")
            took = medians(interleaved(subjects, rounds=rounds))
            theirs, read = took.get("prefect register"), took.get("prefect get")
            times = (took["register"], theirs)
            again.add(name, *map(milliseconds, times), ratio(theirs, took["register"]))
            reads.add(
                name,
                *map(milliseconds, (took["warm"], took["cold"], read)),
                *map(milliseconds, (took["simplecache"], took["bare"])),
                *(ratio(each, took["warm"]) for each in (read, took["simplecache"], took["bare"])),
            )
    return [again, reads]


def _peer(stack: ExitStack, home: Path, table: Table) -> peers.Peer | None:
    settings = {"PREFECT__HOME_DIR": str(home / "prefect"), "HOME": str(home)}
    settings["PREFECT__LOGGING__LEVEL"] = "ERROR"  # its log goes where the answers go
    script = Path(__file__).with_name("prefect_s3_peer.py")
    try:
        python = peers.environment("prefect-1.4.1-s3", PREFECT, peers.PREFECT_PYTHONS)
        return stack.enter_context(peers.Peer(python, script, settings))
    except peers.NotToBeHadError as error:
        table.notes.append(f"Prefect 1.4.1 could not be had here: {error}.")
        return None


def big_blobs(rounds: int, server: service.S3, home: Path, size: int) -> Table:
    """Measure a big blob up and down against the same client's plain copy."""
    os.environ.update(server.environ)
    bucket, source, copy = server.bucket(), home / "big", home / "copy"
    block = os.urandom(2**20)
    with source.open("wb") as file:
        for _ in range(size >> 20):
            file.write(block)
    store, fs = S3BlobStore(bucket), server.filesystem()

    def up() -> None:
        store.delete("ours")
        store.create("ours", source)

    up()
    fs.put_file(str(source), f"{bucket}/theirs")

    def down() -> None:
        with copy.open("wb") as target:
            store.copy_to("ours", target)

    subjects = {
        "up": lambda: seconds(up),
        "bare up": lambda: seconds(lambda: fs.put_file(str(source), f"{bucket}/theirs")),
        "down": lambda: seconds(down),
        "bare down": lambda: seconds(lambda: fs.get_file(f"{bucket}/theirs", str(copy))),
    }
    took = medians(interleaved(subjects, rounds=rounds))
    table = Table(
        "s3_big_blobs",
        f"A blob of {size >> 20} MiB on S3, against plain s3fs",
        ("way", "casflow", "plain copy", "casflow's throughput / plain"),
    )
    for way in ("up", "down"):
        pair = (took[way], took[f"bare {way}"])
        table.add(way, *map(milliseconds, pair), ratio(pair[1], pair[0]))
    return table


def main() -> None:
    """Measure everything on one server, in a home of its own."""
    quick = options("Flows and big blobs on S3.").quick
    with (
        tempfile.TemporaryDirectory(prefix="casflow-benchmark-") as folder,
        service.MotoServer() as moto,
    ):
        os.environ["CASFLOW_HOME"] = folder
        server, home = service.S3(moto.url), Path(folder)
        for table in requests(3 if quick else 15, server, home):
            table.report()
        big_blobs(1 if quick else 3, server, home, 2**28 if quick else 2**30).report()


if __name__ == "__main__":
    main()
