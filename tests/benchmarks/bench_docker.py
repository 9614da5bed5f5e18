"""A flow put into an image and read out of one, against the docker client.

Put: a changed flow is registered, against building an image of its script and pushing it. Read:
against pulling the image and copying the flow out of a container.

Needs a registry and an engine; both are started here, as in the tests. Run it as
`uv run python -m tests.benchmarks.bench_docker`.
"""

from __future__ import annotations

import itertools
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
from tests.services.images import PYTHON_IMAGE, busybox_root, python_root
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


PUT_COLUMNS = ("a changed flow, into the registry", "median", "requests", "sent", "times faster")
PUT_NOTE = """\
Image: a busybox and the flow. The base image and casflow's environment are there already. docker:
`docker build` and `docker push` of the same script. Both through one proxy to a registry on
loopback, so the network costs nothing here."""


def payload_flow(value: int = 42, storage: Any = None) -> Flow:
    """Return a small flow."""

    @task
    def give() -> int:
        return value

    with Flow("Benchmark", storage=storage) as flow:
        give()
    return flow


class Changes:
    """A flow that is another one each time, put into a registry.

    Args:
        engine: The engine that builds.
        host: The registry.
        base: The image to start from.
        folder: A folder for docker's context.
    """

    def __init__(self, engine: DockerEngine, host: str, base: str, folder: Path) -> None:
        self._engine = engine
        self._host = host
        self._base = base
        self._folder = folder
        self._numbers = itertools.count()
        (folder / "Dockerfile").write_text(f"FROM {base}\nCOPY flow.py /flow.py\n")

    def register(self) -> None:
        """Register it."""
        storage = Docker(self._host, base_image=self._base, base_url=self._engine.url)
        payload_flow(next(self._numbers), storage).register("benchmark")

    def build_and_push(self) -> None:
        """Build an image of it, and push that."""
        number = next(self._numbers)
        image = f"{self._host}/peer:{number}"
        (self._folder / "flow.py").write_text(f"def give():\n    return {number}\n")
        self._engine.docker("build", "-q", "-t", image, str(self._folder))
        self._engine.docker("push", image)


def stored(host: str, base: str) -> dict[str, Any]:
    """Put an image together in a registry; return its storage's JSON form."""
    storage = Docker(host, base_image=base, builder="registry", ignore_healthchecks=True)
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


def counted(proxy: Proxy, work: Callable[[], object]) -> tuple[int, int, int]:
    """Return how many requests some work makes, and the bytes that it downloads and sends."""
    proxy.reset()
    work()
    return proxy.count(), proxy.down, proxy.up


def measure_put(rounds: int, engine: DockerEngine, proxy: Proxy, folder: Path) -> Table:
    """Measure how a changed flow gets into a registry."""
    root = busybox_root(folder, {"bin/python": "#!/bin/sh\nexit 0\n"})
    base = f"{proxy.host}/base/small:1"
    engine.load_root(root, base)
    engine.docker("push", base)
    changes = Changes(engine, proxy.host, base, folder)
    works: dict[str, Callable[[], None]] = {
        "`docker build` and `docker push`": changes.build_and_push,
        "`flow.register()`": changes.register,
    }
    docker = next(iter(works))
    subjects = {name: timed(work) for name, work in works.items()}
    took = medians(interleaved(subjects, rounds=rounds))
    table = Table("docker_put", "A changed flow into an image", PUT_COLUMNS, [PUT_NOTE])
    for name, work in works.items():
        requests, _, up = counted(proxy, work)
        times = ratio(took[docker], took[name])
        table.add(name, milliseconds(took[name]), requests, f"{up:,} B", times)
    return table


def measure(rounds: int, engine: DockerEngine, server: RegistryServer, proxy: Proxy) -> Table:
    """Measure how a flow is had out of an image, all three ways side by side."""
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
        requests, down, _ = counted(proxy, work)
        share = f"{down / size:.3%}"
        times = ratio(took[pulled], took[name])
        table.add(name, milliseconds(took[name]), requests, f"{down:,} B", share, times)
    return table


def main() -> None:
    """Measure in a home of its own."""
    rounds = 2 if options("Flows in images.").quick else 7
    with tempfile.TemporaryDirectory(prefix="casflow-benchmark-") as home, ExitStack() as stack:
        os.environ["CASFLOW_HOME"] = home
        os.environ["DOCKER_HOST"] = "unix:///nowhere.sock"  # the flow comes from the registry
        engine = peers.serve(stack, DockerEngine)
        server = peers.serve(stack, RegistryServer)
        proxy = stack.enter_context(Proxy(server.url, dialect="plain"))
        context = Path(home, "context")
        context.mkdir()
        measure_put(rounds, engine, proxy, context).report()
        measure(rounds, engine, server, proxy).report()


if __name__ == "__main__":
    peers.or_say(main)
