"""Flows on S3 with 25 ms added to each request, against who does the same without a digest.

Prefect 1.4.1's S3 storage uploads at each registration and downloads at each read; fsspec's
`simplecache::` and a bare `get_object` read the bytes of the same object and unpickle them. The
last table has big blobs on S3, GCS and Azure against the same client's plain copy, without the
25 ms; casflow hashes them on the way. Run it as
`uv run python -m tests.benchmarks.bench_object_stores`.
"""

from __future__ import annotations

import os
import pickle
import random
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from casflow import Flow, storage, task
from casflow.blobs.fsspec import PARALLEL, PIECE
from casflow.digests import Verifying, digest_of_file
from casflow.storage import S3, load
from tests.benchmarks import peers
from tests.benchmarks.measure import Table, interleaved, medians, milliseconds, options, ratio
from tests.services import s3 as service
from tests.services.azure import Azure, AzuriteServer
from tests.services.gcs import GCS, FakeGcsServer
from tests.services.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from casflow.storage.base import Storage
    from tests.services.objects import ObjectServer

LATENCY = 0.025  # seconds
SIZES = {"10 kB": 10_000, "1 MB": 1_000_000, "50 MB": 50_000_000}
PREFECT = (*peers.PREFECT, "boto3")
NOTE = """\
casflow registers with its registry and checks the store; Prefect is timed for its storage alone.
Each read gets a fresh storage and ends with a loaded flow. All talk to the same server."""

COLD_NOTE = """\
Both end with a loaded flow; casflow's is verified, written to the cache and found by its next
reader. New clients: what a process pays that has read nothing from the store yet."""

PIECES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "S3": ({"chunksize": PIECE, "max_concurrency": PARALLEL},) * 2,
    "GCS": ({"chunksize": PIECE}, {"chunk_size": PIECE, "concurrency": PARALLEL}),
    "Azure": ({"max_concurrency": PARALLEL}, {"max_concurrency": PARALLEL}),
}
"""How the bare client is told to put and to get in pieces."""
BIG_NOTE = f"""\
Plain: the client's own copy, as it is by default, which may take hundreds of MiB of memory. In
pieces: the same when told to move {PIECE >> 20} MiB at a time, {PARALLEL} at once where it can.
casflow uploads in pieces, downloads in a few long parts side by side, and hashes all bytes, both
ways. Memory: casflow's peak above what the connected client took before."""


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

    from casflow import cache

    flow = payload_flow(size, bucket)
    digest = flow.register().digest.partition(":")[2]
    form, known = flow.storage.serialize(), dict(flow.storage.references)
    key = f".casflow/blobs/{digest[:2]}/{digest}-0"
    client = boto3.client("s3")

    def cold(storage: Callable[[], Storage]) -> float:
        for each in flow.storage.reference(flow.name).blobs():
            cache.default().remove(each.digest)
        return seconds(lambda: storage().get_flow(flow.name))

    def simplecache() -> object:
        place = f"simplecache::s3://{bucket}/{key}"
        with fsspec.open(place, simplecache={"cache_storage": str(folder)}) as file:
            return pickle.loads(file.read())

    def bare(client: Any) -> object:
        return pickle.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())

    def warm() -> object:
        return load(form).get_flow(flow.name)

    warm()
    subjects: dict[str, Callable[[], float]] = {
        "register": lambda: seconds(flow.register),
        "store": lambda: seconds(lambda: flow.storage.build(known=known)),
        "warm": lambda: seconds(warm),
        "simplecache": lambda: seconds(simplecache),
        "bare": lambda: seconds(lambda: bare(client)),
        "bare, new": lambda: seconds(lambda: bare(boto3.Session().client("s3"))),
        "cold": lambda: cold(lambda: flow.storage),
        "cold, new": lambda: cold(lambda: load(form)),
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
        (
            *("flow", "casflow", "its storage alone", "Prefect 1.4.1"),
            *("Prefect / casflow", "Prefect / storage alone"),
        ),
        [NOTE],
    )
    reads = Table(
        "s3_get_flow",
        "`get_flow` on S3, 25 ms a request",
        (
            *("flow", "warm", "Prefect 1.4.1", "simplecache, warm", "bare boto3"),
            *("Prefect / warm", "simplecache / warm", "bare / warm"),
        ),
        [NOTE],
    )
    colds = Table(
        "s3_cold",
        "A cold `get_flow` on S3, 25 ms a request",
        (
            *("flow", "cold", "bare boto3", "cold / bare"),
            *("cold, new client", "bare, new client", "cold / bare, new clients"),
        ),
        [COLD_NOTE],
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
            ours = (took["register"], took["store"])
            again.add(
                name,
                *map(milliseconds, (*ours, theirs)),
                *(ratio(theirs, each) for each in ours),
            )
            others = (read, took["simplecache"], took["bare"])
            reads.add(
                name,
                *map(milliseconds, (took["warm"], *others)),
                *(ratio(each, took["warm"]) for each in others),
            )
            pairs = [(took[f"cold{how}"], took[f"bare{how}"]) for how in ("", ", new")]
            parts = [(*map(milliseconds, pair), ratio(*pair)) for pair in pairs]
            colds.add(name, *chain.from_iterable(parts))
    return [again, reads, colds]


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


def big_blobs(rounds: int, servers: Mapping[str, ObjectServer], home: Path, size: int) -> Table:
    """Measure a big blob up and down against the same client's plain copy, store by store."""
    table = Table(
        "big_blobs",
        f"A blob of {size >> 20} MiB, against the plain copy of the same client",
        (
            "store",
            "way",
            "casflow",
            "plain",
            "in pieces",
            "plain / casflow",
            "in pieces / casflow",
            "memory",
        ),
        [BIG_NOTE],
    )
    source = home / "big"
    with source.open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(2**20))
    for kind, server in servers.items():
        # A process of its own, since a peak of memory is a process's.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
            took, memory = apart.submit(big_blob, rounds, kind, server, source).result()
        for way in ("up", "down"):
            ours, *plain = (took[f"{who}{way}"] for who in ("", "plain ", "pieces "))
            ratios = (ratio(each, ours) for each in plain)
            shown = f"{memory[way] / 2**20:.0f} MiB"
            table.add(kind, way, *map(milliseconds, (ours, *plain)), *ratios, shown)
    return table


def big_blob(
    rounds: int, kind: str, server: ObjectServer, source: Path
) -> tuple[dict[str, float], dict[str, int]]:
    """Return medians of seconds, casflow's and plain, and casflow's peaks of memory in bytes."""
    os.environ.update(server.environ)
    bucket, copy = server.bucket(), source.with_name("copy")
    store, fs = getattr(storage, kind)(bucket).open_store(), server.filesystem()

    def up() -> None:
        digest_of_file(source)  # its name, as a registration needs it
        store.delete("ours")
        store.create("ours", source)

    def down() -> None:
        with copy.open("w+b") as target:
            hashed = Verifying(target)
            store.copy_to("ours", cast("BinaryIO", hashed))
            hashed.check(digest, where="ours")

    digest = digest_of_file(source)
    store.create("small", b"x" * 2**20)
    store.get("small")
    start, memory = peak(), {}
    for way, work in (("up", up), ("down", down)):
        work()
        memory[way] = peak() - start
    subjects = {"up": lambda: seconds(up), "down": lambda: seconds(down)}
    for who, (put, get) in {"plain": ({}, {}), "pieces": PIECES[kind]}.items():
        subjects[f"{who} up"] = partial(put_seconds, fs, source, f"{bucket}/{who}", put)
        subjects[f"{who} down"] = partial(get_seconds, fs, f"{bucket}/ours", copy, get)
    return medians(interleaved(subjects, rounds=rounds, warm_up=0)), memory


def put_seconds(fs: Any, source: Path, path: str, options: Mapping[str, int]) -> float:
    """Return how long the bare client takes to put a file."""
    return seconds(lambda: fs.put_file(str(source), path, **options))


def get_seconds(fs: Any, path: str, copy: Path, options: Mapping[str, int]) -> float:
    """Return how long the bare client takes to get a file."""
    return seconds(lambda: fs.get_file(path, str(copy), **options))


def peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Measure everything on one server of each kind, in a home of its own."""
    quick = options("Flows and big blobs in object stores.").quick
    with (
        tempfile.TemporaryDirectory(prefix="casflow-benchmark-") as folder,
        ExitStack() as stack,
    ):
        os.environ["CASFLOW_HOME"] = folder
        server, home = service.S3(peers.serve(stack, service.MotoServer).url), Path(folder)
        servers: dict[str, ObjectServer] = {"S3": server}
        missing = []
        for kind, program, endpoint in (
            ("GCS", FakeGcsServer, GCS),
            ("Azure", AzuriteServer, Azure),
        ):
            try:
                servers[kind] = endpoint(peers.serve(stack, program).url)
            except peers.NotToBeHadError as error:
                missing.append(f"{kind} could not be had here: {error}.")
        table = big_blobs(1, servers, home, 2**28 if quick else 2**30)
        table.notes += missing
        table.report()
        for table in requests(3 if quick else 15, server, home):
            table.report()


if __name__ == "__main__":
    peers.or_say(main)
