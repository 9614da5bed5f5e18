"""Starting a project of 1,000 files: casflow's trees against a clone, an archive and a copy.

All requests to the bucket wait 25 ms, as far away as a bucket in the same region is. Run it as
`uv run python -m tests.benchmarks.bench_trees`.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import casflow
from casflow.cache import Cache
from casflow.storage.urls import open_url
from casflow.trees.scan import scan
from tests.benchmarks.measure import Table
from tests.services.proxy import Proxy
from tests.services.s3 import S3, MotoServer

if TYPE_CHECKING:
    from collections.abc import Callable

FILES, SIZE, LATENCY = 1000, 20_000, 0.025
COLUMNS = ("what", "milliseconds", "requests", "bytes sent")
NOTE = """\
A project of 1,000 files of 20 kB of random bytes; each request to the bucket waits 25 ms. One tar
and the bare copy do less: they verify nothing and know no versions. The clone is from a bare
repository on the same disk, without a network, so the clone is at its best, too."""


class Bench:
    """A project, a bucket behind a slow proxy, and what was measured."""

    def __init__(self, folder: Path, proxy: Proxy, url: str) -> None:
        self.folder, self.proxy, self.url = folder, proxy, url
        self.chance = random.Random(1)
        self.project = folder / "project"
        self.rows: list[tuple[str, str, str, str]] = []
        for number in range(FILES):
            path = self.project / f"pkg{number % 20}" / f"mod_{number}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.chance.randbytes(SIZE))

    def store(self, machine: str) -> casflow.Store:
        """Return the store as a machine with an empty cache sees it, connected already."""
        store = casflow.Store(self.url, cache=Cache(self.folder / machine, 10**10))
        store.names()
        return store

    def row(self, what: str, action: Callable[[], Any]) -> Any:
        """Measure one thing."""
        self.proxy.reset()
        started = time.perf_counter()
        result = action()
        took = (time.perf_counter() - started) * 1000
        sent = sum(record.up for record in self.proxy.requests)
        shown = (what, f"{took:.0f}", str(len(self.proxy.requests)), f"{sent:,}")
        self.rows.append(shown)
        print("  ".join(shown), flush=True)
        return result

    def measure(self) -> None:
        """Measure everything."""
        here = self.store("here")
        self.row("walk and hash alone", lambda: scan(self.project))
        self.row("casflow: first push", lambda: here.push(self.project, "p"))
        self.row("casflow: push, unchanged", lambda: here.push(self.project, "p"))
        (self.project / "pkg1/mod_1.py").write_bytes(self.chance.randbytes(SIZE))
        second = self.row("casflow: push, one file changed", lambda: here.push(self.project, "p"))
        there = self.store("there")
        self.row("casflow: cold checkout and lease", lambda: there.checkout("p@1"))
        self.row("casflow: the next version", lambda: there.checkout("p@2"))
        ref = f"p@{second.digest}"
        there.checkout(ref)
        self.row("casflow: warm checkout", lambda: there.checkout(ref))
        self.row("casflow: private copy", lambda: there.checkout(ref, self.folder / "copy"))
        self._bare_copies()
        self._clones()

    def _bare_copies(self) -> None:
        tar = subprocess.run(
            ["tar", "cf", "-", "-C", str(self.project), "."], check=True, capture_output=True
        ).stdout
        store, memory = open_url(self.url), BytesIO()
        store.find("tar")
        self.row("one tar up", lambda: store.create("tar", tar))
        self.row("one tar down", lambda: store.copy_to("tar", memory, len(tar)))
        target = self.folder / "untarred"
        target.mkdir()
        self.row(
            "untar",
            lambda: subprocess.run(["tar", "xf", "-", "-C", str(target)], input=tar, check=True),
        )
        self.row("cp -r", lambda: _run("cp", "-r", self.project, self.folder / "cp"))
        if shutil.which("rsync"):
            target = self.folder / "rsync"
            self.row("rsync -a", lambda: _run("rsync", "-a", f"{self.project}/", target))

    def _clones(self) -> None:
        if not shutil.which("git"):
            return
        work, bare = self.folder / "work", self.folder / "bare.git"
        shutil.copytree(self.project, work)
        _run("git", "init", "-q", work)
        _run("git", "-C", work, "add", ".")
        author = ("-c", "user.name=x", "-c", "user.email=x@localhost")
        _run("git", *author, "-C", work, "commit", "-qm", "x")
        _run("git", "clone", "-q", "--bare", work, bare)
        target = self.folder / "clone"
        clone = ("git", "clone", "-q", "--depth", "1", f"file://{bare}", target)
        self.row("git clone --depth 1, local", lambda: _run(*clone))


def _run(*command: object) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


def main() -> int:
    """Measure, print and keep the table."""
    with tempfile.TemporaryDirectory() as folder, MotoServer() as server:
        os.environ["CASFLOW_HOME"] = f"{folder}/home"
        s3 = S3(server.url)
        with Proxy(server.url, latency=LATENCY) as proxy:
            for name, value in s3.environ.items():
                os.environ[name] = value.replace(server.url, proxy.url)
            bench = Bench(Path(folder), proxy, f"s3://{s3.bucket()}/p")
            bench.measure()
    table = Table("trees", "Starting a project of 1,000 files", COLUMNS, [NOTE])
    for row in bench.rows:
        table.add(*row)
    table.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
