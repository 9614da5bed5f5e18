"""Starting a project of 1,000 files in Airflow and in Prefect: their git clones against a tree.

Each host's ways take turns in one process of its own environment. Run it as
`uv run python -m tests.benchmarks.bench_hosts`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import casflow
from tests.benchmarks.measure import Table, milliseconds, options, ratio
from tests.benchmarks.peers import NotToBeHadError
from tests.services import hosts

FILES, SIZE, ROUNDS = 1000, 4_000, 9
COLUMNS = ("host", "start", "git", "casflow", "git / casflow")
NOTE = """\
A project of 1,000 files of 4 kB of text; medians, the ways taking turns. The repository is bare and
on the same disk, and so is the store, so neither has a network: both are at their best. Airflow:
`initialize` of a version, GitDagBundle against CasflowDagBundle. Prefect: the pull step of a
deployment, `git_clone` (shallow) against `pull`; a worker gives each run an empty folder, so its
clone is never warm. Cold: nothing of the project on the machine. Warm: another run of the same
version there. Private: a writable copy, as is the default. Shared: the machine's read-only
checkout."""

# Run in the host's environment: `ways` are functions of a round's number, timed in turns.
TURNS = """
import gc, json, os, pathlib, shutil, sys, tempfile, time
rounds, repository, commit, store, digest = int(sys.argv[1]), *sys.argv[2:]
scratch = pathlib.Path(tempfile.mkdtemp())

def fresh_cache():
    os.environ["CASFLOW_CACHE_DIR"] = tempfile.mkdtemp(dir=scratch)

def turns(ways):
    taken = {name: [] for name in ways}
    for number in range(-1, rounds):
        for name, (prepare, work) in ways.items():
            prepare(number)
            gc.collect()
            began = time.perf_counter()
            work(number)
            if number >= 0:
                taken[name].append(time.perf_counter() - began)
    shutil.rmtree(scratch, ignore_errors=True)
    print("TAKEN", json.dumps(taken))
"""

AIRFLOW = f"""{TURNS}
from airflow.providers.git.bundles.git import GitDagBundle
from casflow.integrations.airflow import CasflowDagBundle

def git(number):
    made = GitDagBundle(
        name=f"git{{number}}", tracking_ref="main", repo_url=repository, version=commit
    )
    made.initialize()
    assert len(list(made.path.iterdir())) == 20

def tree(number):
    made = CasflowDagBundle(name=f"tree{{number}}", tree="p", store=store, version=digest)
    made.initialize()
    assert len(list(made.path.iterdir())) == 20

nothing = lambda number: None
turns({{
    "git cold": (nothing, git),
    "tree cold": (lambda number: fresh_cache(), tree),
    "git warm": (nothing, git),
    "tree warm": (nothing, tree),
}})
"""

PREFECT = f"""{TURNS}
from prefect.deployments.steps import git_clone
from casflow.integrations.prefect import pull

def workspace(number):
    os.chdir(tempfile.mkdtemp(dir=scratch))

def cold(number):
    workspace(number)
    fresh_cache()

def warm_shared(number):
    workspace(number)
    pull(f"p@{{digest}}", store, shared=True)

def checked(folder):
    assert len([each for each in os.listdir(folder) if each.startswith("pkg")]) == 20

turns({{
    "git cold": (workspace, lambda _: checked(git_clone(repository, branch="main")["directory"])),
    "tree cold": (cold, lambda _: checked(pull(f"p@{{digest}}", store)["directory"])),
    "tree warm": (workspace, lambda _: checked(pull(f"p@{{digest}}", store)["directory"])),
    "tree shared": (
        warm_shared,
        lambda _: checked(pull(f"p@{{digest}}", store, shared=True)["directory"]),
    ),
}})
"""


def make_project(folder: Path) -> None:
    """Write the project's files."""
    draw = random.Random(1)
    for number in range(FILES):
        path = folder / f"pkg{number % 20}" / f"mod_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"DATA = '{draw.randbytes(SIZE // 2).hex()}'\n")


def make_repository(project: Path, bare: Path) -> str:
    """Commit the project to a bare repository; return the commit."""
    who = ("-c", "user.name=x", "-c", "user.email=x@localhost")
    shutil.copytree(project, work := bare.with_suffix(".work"))
    git("init", "-q", "-b", "main", work)
    git("-C", work, "add", ".")
    git(*who, "-C", work, "commit", "-qm", "x")
    git("clone", "-q", "--bare", work, bare)
    return git("-C", work, "rev-parse", "HEAD").strip()


def git(*arguments: str | Path) -> str:
    """Run git; return what it printed."""
    done = subprocess.run(["git", *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def taken(name: str, program: str, folder: Path, arguments: list[str]) -> dict[str, float]:
    """Return the median of each way in a host.

    Raises:
        NotToBeHadError: The host cannot be installed here.
    """
    try:
        made = hosts.make(name)
    except RuntimeError as error:
        raise NotToBeHadError(str(error)) from error
    (home := folder / name).mkdir()
    env = {
        **hosts.environment(home),
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(home / "bundles"),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    }
    printed = hosts.Host(made, env).run("python", "-c", program, *arguments, timeout=1200)
    (line,) = [line for line in printed.splitlines() if line.startswith("TAKEN ")]
    times = json.loads(line.removeprefix("TAKEN "))
    return {way: statistics.median(each) for way, each in times.items()}


def main() -> None:
    """Measure, print, keep."""
    rounds = 2 if options(__doc__ or "").quick else ROUNDS
    table = Table("hosts", "Starting a project of 1,000 files in Airflow and Prefect", COLUMNS)
    table.notes.append(NOTE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["CASFLOW_HOME"] = str(folder / "home")
        make_project(folder / "project")
        commit = make_repository(folder / "project", folder / "bare.git")
        version = casflow.Store(str(folder / "store")).push(folder / "project", "p")
        repository = (folder / "bare.git").as_uri()
        arguments = [str(rounds), repository, commit, str(folder / "store")]
        found = taken("airflow-git", AIRFLOW, folder, [*arguments, version.path_safe])
        add(table, "Airflow", "cold", found["git cold"], found["tree cold"])
        add(table, "Airflow", "warm", found["git warm"], found["tree warm"])
        found = taken("prefect", PREFECT, folder, [*arguments, version.digest])
        add(table, "Prefect", "cold, private", found["git cold"], found["tree cold"])
        add(table, "Prefect", "warm, private", found["git cold"], found["tree warm"])
        add(table, "Prefect", "warm, shared", found["git cold"], found["tree shared"])
    table.report()


def add(table: Table, host: str, start: str, theirs: float, ours: float) -> None:
    """Add a row."""
    table.add(host, start, milliseconds(theirs), milliseconds(ours), ratio(theirs, ours))


if __name__ == "__main__":
    try:
        main()
    except NotToBeHadError as error:
        sys.exit(str(error))
