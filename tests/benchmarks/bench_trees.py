"""Starting a project of 1,000 files: casflow's trees against clones, archives and copies.

All requests to the bucket and to the git server wait 25 ms, as far away as a bucket in the same
region is. Run it as `uv run python -m tests.benchmarks.bench_trees`.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import casflow
from casflow.cache import Cache
from casflow.store import finish_leases
from casflow.trees.scan import scan
from tests.benchmarks.bench_object_stores import proxied
from tests.benchmarks.measure import (
    Chart,
    Table,
    interleaved,
    medians,
    milliseconds,
    options,
    ratio,
)
from tests.services.btrfs import btrfs
from tests.services.git_http import GitServer, git
from tests.services.proxy import Proxy
from tests.services.s3 import S3, MotoServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FILES, SIZE, ROUNDS = 1000, 20_000, 7
MANY = 100_000
NOTE = """\
A project of 1,000 files of 20 kB of random bytes in 20 folders; each request waits 25 ms. Medians,
all taking turns. Cold: nothing of the project on the machine, a client that is connected; for
casflow by a tag, with the lease that is written behind it not counted. casflow verifies all bytes
and leaves a shared folder and its packs; one archive and rclone verify none and know no versions.
Files are written below TMPDIR; for these tables that was a file system in memory."""
PUSH_NOTE = """\
Requests and bytes are casflow's own, of one push. Unchanged is only said after a look at every blob
of the version: by one listing in a store of fewer than 1,000 objects, as here, else one by one."""
REFLINK_NOTE = """\
A project of 1,000 files of 20 kB on btrfs in a file. A private copy makes and clones each file, as
`cp --reflink` does; a `stat` of each file is what a look at a shared checkout costs."""
MANY_NOTE = """\
The page cache is warm. Reading alone is `cat` of all files by name, in the order of their names.
Memory: the peak of a process that scans, above what it takes with casflow imported."""


class Bench:
    """A project, a bucket behind a slow proxy, and the ways to start it.

    Args:
        folder: Where everything is.
        bucket: Name of the bucket.
        clone_url: Address of the repository that holds the same files.
    """

    def __init__(self, folder: Path, bucket: str, clone_url: str) -> None:
        import boto3

        self.folder, self.bucket, self.clone_url = folder, bucket, clone_url
        self.project = write_project(folder / "project", FILES, SIZE)
        self.client, self.number = boto3.client("s3"), count()
        self.chance = random.Random(2)
        self.here = self.store("here")
        self.version = self.here.push(self.project, "p")
        self.here.tag(self.version, "prod")
        self.warm = self.store("warm")
        self.warm.checkout(self.version)
        for kind in ("tar", "zip"):
            made = shutil.make_archive(str(folder / kind), kind, self.project)
            self.client.upload_file(made, bucket, f"p.{kind}")

    def store(self, machine: str) -> casflow.Store:
        """Return the store as a machine with a cache of its own sees it, connected already."""
        url = f"s3://{self.bucket}/trees"
        store = casflow.Store(url, cache=Cache(self.folder / machine, 10**10))
        store.versions("nobody")
        return store

    def new(self) -> Path:
        """Return the path of a new folder."""
        return self.folder / f"new{next(self.number)}"

    def cold(self) -> float:
        """Check the project out on a machine that has nothing of it."""
        machine = self.new()
        store = self.store(machine.name)
        took = seconds(lambda: store.checkout("p@prod"))
        finish_leases()
        return _without(machine, took)

    def unpacked(self, kind: str) -> Callable[[], float]:
        """Download one archive and unpack it."""

        def once() -> float:
            target, file = self.new(), self.folder / f"down.{kind}"

            def start() -> None:
                self.client.download_file(self.bucket, f"p.{kind}", str(file))
                target.mkdir()
                if kind == "tar":
                    run("tar", "xf", file, "-C", target)
                else:
                    shutil.unpack_archive(file, target)

            return _without(target, seconds(start))

        return once

    def by(self, *command: object) -> Callable[[], float] | None:
        """Let a command make a new folder, if it is installed."""
        if shutil.which(str(command[0])) is None:
            return None

        def once() -> float:
            target = self.new()
            return _without(target, seconds(lambda: run(*command, target)))

        return once

    def starts(self) -> dict[str, Callable[[], float] | None]:
        """Return the ways to start from a bucket or a server."""
        os.environ["GIT_CONFIG_GLOBAL"] = os.devnull
        clone = ("git", "clone", "-q", "--depth=1")
        return {
            "casflow, cold": self.cold,
            "one tar down and unpacked": self.unpacked("tar"),
            "one zip down and unpacked (Ray, Prefect)": self.unpacked("zip"),
            "`git clone --depth 1` by http": self.by(*clone, self.clone_url),
            "`rclone copy`": self._rclone(),
            "`restic restore`": self._restic(),
        }  # fmt: skip

    def _rclone(self) -> Callable[[], float] | None:
        os.environ.pop("AWS_CA_BUNDLE", None)  # it takes none with a transport of its own
        settings = {"TYPE": "s3", "PROVIDER": "Other", "ENV_AUTH": "true", "REGION": "us-east-1"}
        settings["ENDPOINT"] = os.environ["AWS_ENDPOINT_URL"]
        os.environ |= {f"RCLONE_CONFIG_FAR_{name}": value for name, value in settings.items()}
        place = f"far:{self.bucket}/rclone"
        options = ("rclone", "--transfers", "16", "--checkers", "16", "copy")
        if shutil.which("rclone"):
            run(*options, self.project, place)
        return self.by(*options, place)

    def _restic(self) -> Callable[[], float] | None:
        if shutil.which("restic") is None:
            return None
        os.environ |= {
            "RESTIC_PASSWORD": "x",
            "RESTIC_REPOSITORY": f"s3:{os.environ['AWS_ENDPOINT_URL']}/{self.bucket}/restic",
            "RESTIC_CACHE_DIR": str(self.folder / "restic-cache"),
        }
        run("restic", "init")
        run("restic", "backup", self.project)
        return self.by("restic", "restore", "latest", "--target")

    def copies(self) -> dict[str, Callable[[], float] | None]:
        """Return the ways to start from what the machine has already."""
        ref = f"p@{self.version.digest}"
        bare = self.folder / "local.git"
        run("git", "clone", "-q", "--bare", self.clone_url, bare)

        def private() -> float:
            target = self.new()
            return _without(target, seconds(lambda: self.warm.checkout(ref, target)))

        return {
            "casflow, warm": lambda: seconds(lambda: self.warm.checkout(ref)),
            "casflow, a private copy": private,
            "`cp -r`": self.by("cp", "-r", self.project),
            "`rsync -a`": self.by("rsync", "-a", f"{self.project}/"),
            "`git clone` of a clone on the disk (Airflow)": self.by("git", "clone", "-q", bare),
        }

    # ---- pushing ---------------------------------------------------------------------------

    def pushes(self) -> dict[str, Callable[[], float]]:
        """Return the ways to push."""

        def first() -> float:
            name = f"first{next(self.number)}"
            return seconds(lambda: self.here.push(self.project, name))

        def changed() -> float:
            self.change()
            return seconds(lambda: self.here.push(self.project, "p"))

        tar = str(self.folder / "tar.tar")

        def one_tar() -> float:
            key = f"up{next(self.number)}"
            return seconds(lambda: self.client.upload_file(tar, self.bucket, key))

        return {
            "casflow, first": first,
            "one tar up": one_tar,
            "casflow, unchanged": lambda: seconds(lambda: self.here.push(self.project, "p")),
            "casflow, one file changed": changed,
            "walk and hash alone": lambda: seconds(lambda: scan(self.project)),
        }

    def change(self) -> None:
        """Change one file."""
        path = self.project / f"pkg1/mod_{1 + 20 * self.chance.randrange(FILES // 20)}.py"
        path.write_bytes(self.chance.randbytes(SIZE))


def write_project(folder: Path, files: int, size: int) -> Path:
    """Write a project of so many files."""
    chance = random.Random(1)
    for number in range(20):
        (folder / f"pkg{number}").mkdir(parents=True)
    for number in range(files):
        (folder / f"pkg{number % 20}/mod_{number}.py").write_bytes(chance.randbytes(size))
    return folder


def seconds(work: Callable[[], object]) -> float:
    """Return how long something took."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def run(*command: object) -> None:
    """Run a command in silence."""
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


def _without(folder: Path, took: float) -> float:
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o700)
    shutil.rmtree(folder)
    return took


def table_of(
    name: str, title: str, ways: Mapping[str, Callable[[], float] | None], base: str, rounds: int,
    note: str,
) -> Table:  # fmt: skip
    """Let ways take turns; return what they took, beside one of them."""
    taken = medians(interleaved({way: each for way, each in ways.items() if each}, rounds=rounds))
    table = Table(name, title, ("way", "median", f"times {base}"), [note])
    for way in ways:
        took = taken.get(way)
        table.add(way, milliseconds(took), ratio(took, taken[base]))
    heights: dict[str, list[float | None]] = {way: [taken[way] * 1000] for way in taken}
    table.chart = Chart(
        "bars", "", "milliseconds", [title.partition(":")[2].strip() or title], heights
    )
    return table


def counted(server: MotoServer, bench: Bench) -> list[str]:
    """Return what pushes and checkouts ask of the store: requests and bytes."""
    lines = []
    with Proxy(server.url) as proxy:
        os.environ["AWS_ENDPOINT_URL"] = proxy.url
        here, there = bench.store("here"), bench.store("there")

        def note(what: str, work: Callable[[], Any]) -> None:
            proxy.reset()
            work()
            sent = sum(record.up for record in proxy.requests)
            lines.append(f"{what}: {len(proxy.requests)} requests, {sent:,} bytes sent.")

        here.push(bench.project, "counted")
        note("Unchanged", lambda: here.push(bench.project, "counted"))
        bench.change()
        note("One file changed", lambda: here.push(bench.project, "counted"))
        note("Cold checkout with its lease", lambda: (there.checkout("counted"), finish_leases()))
        digest = here.resolve("counted").digest
        note("Warm", lambda: there.checkout(digest))
    return lines


SCAN = """
import re, sys, time
from pathlib import Path
from casflow.trees.scan import scan
def peak():  # of this program alone; getrusage counts the one that started it, too
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
before, started = peak(), time.perf_counter()
scan(Path(sys.argv[1]))
print(time.perf_counter() - started, peak() - before)
"""


def many(folder: Path, files: int, rounds: int) -> Table:
    """Measure walking and hashing of very many files."""
    project = write_project(folder / "many", files, 2_000)
    memory: list[float] = []

    def ours() -> float:
        command = [sys.executable, "-c", SCAN, str(project)]
        took, peak = subprocess.run(
            command, check=True, capture_output=True, text=True
        ).stdout.split()
        memory.append(float(peak))
        return float(took)

    def by(tool: str) -> Callable[[], float] | None:
        command = f"find {project} -type f -print0 | xargs -0 {tool} > /dev/null"
        if shutil.which(tool.split(maxsplit=1)[0]) is None:
            return None
        return lambda: seconds(lambda: subprocess.run(command, shell=True, check=True))

    ways = {"casflow: walk and hash": ours, "reading alone": by("cat"), "`b3sum`": by("b3sum"),
            "`sha256sum`": by("sha256sum"), "`md5sum`": by("md5sum")}  # fmt: skip
    title = f"Walking and hashing {files:,} files of 2 kB"
    table = table_of("many_files", title, ways, "reading alone", rounds, MANY_NOTE)
    table.notes.append(f"Memory of casflow: {max(memory):.0f} MiB.")
    return table


def reflinks(folder: Path, rounds: int) -> Table:
    """Measure private copies on a file system that shares extents."""
    folder.mkdir()
    with btrfs(folder) as place:
        project = write_project(place / "project", FILES, SIZE)
        store = casflow.Store(place / "store", cache=Cache(place / "cache", 10**10))
        ref = f"p@{store.push(project, 'p').digest}"
        shared, number = store.checkout(ref), count()
        paths = list(shared.rglob("*.py"))

        def copy(work: Callable[[Path], object]) -> Callable[[], float]:
            def once() -> float:
                target = place / f"copy{next(number)}"
                return _without(target, seconds(lambda: work(target)))

            return once

        def cp(how: str) -> Callable[[], float]:
            return copy(lambda target: run("cp", "-r", f"--reflink={how}", project, target))

        ways = {
            "casflow, a private copy": copy(lambda target: store.checkout(ref, target)),
            "`cp -r --reflink=always`": cp("always"),
            "`cp -r --reflink=never`": cp("never"),
            "one `stat` of each file": lambda: seconds(lambda: [each.stat() for each in paths]),
        }
        title = "Private copies that share extents"
        base = "`cp -r --reflink=always`"
        return table_of("trees_reflink", title, ways, base, rounds, REFLINK_NOTE)


def main() -> int:
    """Measure, print and keep the tables."""
    quick = options("Trees against clones, archives and copies.").quick
    rounds = 2 if quick else ROUNDS
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        server = stack.enter_context(MotoServer())
        hub = stack.enter_context(GitServer())
        s3 = S3(server.url)
        bucket = s3.bucket()
        os.environ |= s3.environ
        os.environ |= {
            "CASFLOW_HOME": str(folder / "home"),
            "AWS_ENDPOINT_URL": stack.enter_context(proxied(server.url)),
        }
        repository = hub.create("p")
        work = write_project(folder / "work", FILES, SIZE)
        git("init", "-q", "-b", "main", str(work))
        git("add", ".", cwd=work)
        git("commit", "-qm", "x", cwd=work)
        git("push", "-q", hub.authorized(repository), "main", cwd=work)
        far = stack.enter_context(proxied(hub.url))
        bench = Bench(folder, bucket, hub.authorized(repository).replace(hub.url[7:], far[7:]))
        title = "Starting a project of 1,000 files: cold"
        base = "one tar down and unpacked"
        table_of("trees_cold", title, bench.starts(), base, rounds, NOTE).report()
        title = "Starting a project of 1,000 files: warm, and copies"
        table_of("trees_warm", title, bench.copies(), "`cp -r`", rounds, NOTE).report()
        title = "Pushing a project of 1,000 files"
        pushes = table_of("trees_push", title, bench.pushes(), "one tar up", rounds, PUSH_NOTE)
        pushes.notes += counted(server, bench)
        pushes.report()
        many(folder, MANY // 20 if quick else MANY, min(rounds, 3)).report()
        try:
            reflinks(folder / "reflinks", rounds).report()
        except OSError as error:  # not root, or no such file system
            print(f"not to be had here: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
