"""A flow read out of an image, against pulling the image and copying the flow out of a container.

Needs a registry and an engine; both are started here, as in the tests. Run it as
`uv run python -m tests.benchmarks.bench_docker`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casflow import Flow, task
from casflow.storage import Docker, load
from casflow.storage.docker.layer import path_of
from casflow.storage.docker.names import ImageName
from casflow.storage.docker.registry import Registry
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
from tests.services.engine import DockerEngine
from tests.services.images import PYTHON_IMAGE, python_root
from tests.services.oci import Registry as RegistryServer
from tests.services.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = (
    "how the flow is had",
    "median",
    "requests",
    "downloaded",
    "share of the image",
    "times faster",
)
NOTE = """\
Image: Debian with Python and a flow. Pull: `docker pull`, `docker create`, `docker cp`, the image
removed before each round. Cold: `get_flow` with an empty cache and no image; warm: with the cache.
Both against a registry on loopback, so the network costs nothing here."""


def payload_flow() -> Flow:
    """Return a small flow."""

    @task
    def give() -> int:
        return 42

    with Flow("Benchmark") as flow:
        give()
    return flow


def stored(host: str, base: str) -> dict[str, Any]:
    """Put an image together in a registry; return its storage's JSON form."""
    storage = Docker(host, base_image=base, builder="registry")
    storage.add_flow(payload_flow())
    storage.build()
    return storage.serialize()


def cold(form: dict[str, Any]) -> None:
    """Read the flow with an empty cache."""
    shutil.rmtree(Path(os.environ["CASFLOW_HOME"], "cache"), ignore_errors=True)
    load(form).get_flow("Benchmark")


def pull(engine: DockerEngine, image: str, path: str) -> None:
    """Pull the image, and copy the flow out of a container that is never started."""
    engine.docker("pull", image)
    container = engine.docker("create", image, "true").stdout.strip()
    engine.docker("cp", f"{container}:{path}", str(Path(os.environ["CASFLOW_HOME"], "copied")))
    engine.docker("rm", container)


def without_image(engine: DockerEngine, work: Callable[[], None]) -> Callable[[], float]:
    """Return a contestant before whose turn the engine loses all images."""

    def once() -> float:
        engine.docker("image", "prune", "-af")
        return timed(work)()

    return once


def counted(proxy: Proxy, work: Callable[[], object]) -> tuple[int, int]:
    """Return how many requests some work makes, and the bytes that it downloads."""
    proxy.reset()
    work()
    return proxy.count(), proxy.down


def measure(rounds: int, stack: ExitStack) -> Table:
    """Measure all three side by side."""
    engine = peers.serve(stack, DockerEngine)
    server = peers.serve(stack, RegistryServer)
    proxy = stack.enter_context(Proxy(server.url, dialect="plain"))
    base = f"{server.host}/base/python:3.11"
    engine.load_root(python_root(), PYTHON_IMAGE)
    engine.docker("tag", PYTHON_IMAGE, base)
    engine.docker("push", base)
    form = stored(proxy.host, base)
    image = ImageName.parse(form["flows"]["Benchmark"])
    path = path_of("/opt/casflow", form["references"]["Benchmark"]["digest"])
    size = sum(each["size"] for each in Registry(image.api_host).get_manifest(image).layers)
    works: dict[str, Callable[[], None]] = {
        "`docker pull`, then copied out": lambda: pull(engine, image.pinned, path),
        "`get_flow`, cold": lambda: cold(form),
        "`get_flow`, warm": lambda: (load(form).get_flow("Benchmark"), None)[1],
    }
    pulled, *ours = works
    subjects = {name: timed(works[name]) for name in ours}
    subjects = {pulled: without_image(engine, works[pulled]), **subjects}
    took = medians(interleaved(subjects, rounds=rounds))
    table = Table("docker", "A flow out of an image", COLUMNS, [NOTE])
    engine.docker("image", "prune", "-af")
    for name, work in works.items():
        requests, down = counted(proxy, work)
        share = f"{down / size:.3%}"
        times = ratio(took[pulled], took[name])
        table.add(name, milliseconds(took[name]), requests, f"{down:,} B", share, times)
    return table


def main() -> None:
    """Measure in a home of its own."""
    quick = options("Flows out of images.").quick
    with tempfile.TemporaryDirectory(prefix="casflow-benchmark-") as home, ExitStack() as stack:
        os.environ["CASFLOW_HOME"] = home
        os.environ["DOCKER_HOST"] = "unix:///nowhere.sock"  # the flow comes from the registry
        measure(2 if quick else 7, stack).report()


if __name__ == "__main__":
    peers.or_say(main)
