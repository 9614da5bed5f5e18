"""Runs the corpus in fresh processes that differ in all that must not matter.

One row of `FACTORS` is one process for each corpus file as a script, and one that imports them
all. Every process works on its own copy of the corpus.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
ROOT = Path(__file__).parents[2]
FILES = ("function_cases", "class_cases", "value_cases", "library_cases")
IMPORTER = "import sys; sys.path.insert(0, sys.argv.pop(1))\n{before}\n" + "\n".join(
    f"import {name}; {name}.cases.report()" for name in FILES
)


@dataclass(frozen=True)
class Factors:
    """What one process differs in."""

    seed: str
    folder: str
    before: str = ""
    cwd: str = "/"
    relative: bool = False
    home: str = "/nowhere"
    flags: tuple[str, ...] = ()
    warm: bool = False


FACTORS = (
    Factors("0", "a"),
    Factors("1", "b/flows", "import json, asyncio", warm=True),
    Factors("2", "c", "import asyncio, json", cwd=".", relative=True),
    Factors("3", "a b", "import concurrent.futures, xml.dom.minidom", home="/"),
    Factors("4", "d" * 80, "import typing; [list[int], typing.List[int]]", cwd=".."),
    Factors("5", "e", "import logging, collections.abc, decimal, fractions", warm=True),
    Factors("6", "f/g/h", "import xml.etree.ElementTree", relative=True, cwd="."),
    Factors("7", "i", "import unittest.mock, email, http.client", flags=("-X", "no_debug_ranges")),
    Factors("8", "j", "import typing; [typing.List[n] for n in (int, str, float, set, dict)]"),
    Factors("random", "k", "import multiprocessing, sqlite3", cwd=".", warm=True),
    Factors("random", "l", "import pydantic, dataclasses", home="/root"),
    Factors(
        "random", "m", "import numpy, numpy.ma, pydantic; numpy.linalg", cwd="..", relative=True
    ),
)


def run_matrix(scratch: Path, python: str = sys.executable) -> dict[str, dict[str, set[str]]]:
    """Return for each case the digests that it got, by mode."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [(at, mode) for at in range(len(FACTORS)) for mode in ("script", "module")]
        results = pool.map(lambda job: _run(scratch, python, *job), jobs)
        found: dict[str, dict[str, set[str]]] = {}
        for (_, mode), result in zip(jobs, results, strict=True):
            for name, digest in result.items():
                found.setdefault(name, {}).setdefault(mode, set()).add(digest)
    return found


def _run(scratch: Path, python: str, at: int, mode: str) -> dict[str, str]:
    factors = FACTORS[at]
    folder = scratch / mode / str(at) / factors.folder
    shutil.copytree(CORPUS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    found: dict[str, str] = {}
    for round_ in range(2 if factors.warm and mode == "module" else 1):
        out = folder / f"out{round_}.json"
        for command in _commands(factors, folder, mode, python):
            _call([*command, str(out)], factors, folder)
        found = json.loads(out.read_text())
    return found


def _commands(factors: Factors, folder: Path, mode: str, python: str) -> list[list[str]]:
    start = [python, *factors.flags]
    if mode == "module":
        return [[*start, "-c", IMPORTER.format(before=factors.before), str(folder)]]
    place = Path(os.path.relpath(folder, _cwd(factors, folder))) if factors.relative else folder
    return [[*start, str(place / f"{name}.py")] for name in FILES]


def _cwd(factors: Factors, folder: Path) -> Path:
    return (folder / factors.cwd).resolve()


def _call(command: list[str], factors: Factors, folder: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": factors.seed,
        "HOME": factors.home,
        **({} if factors.warm else {"PYTHONDONTWRITEBYTECODE": "1"}),
    }
    cwd = _cwd(factors, folder)
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def unstable(found: dict[str, dict[str, set[str]]]) -> dict[str, str]:
    """Return the cases that are not one digest in all processes, with what was found."""
    bad = {}
    for name, modes in found.items():
        digests = set().union(*modes.values())
        if len(digests) != 1 or not next(iter(digests)).startswith("blake3:"):
            bad[name] = "; ".join(f"{mode}: {sorted(d)[:3]}" for mode, d in modes.items())
    return bad


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        result = run_matrix(Path(scratch))
    print(f"{len(result)} cases, {len(unstable(result))} unstable")
    for case, why in unstable(result).items():
        print(case, why)
