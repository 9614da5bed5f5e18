"""`python -m tests.serialize.mass [--limit N] [--seconds S] [PACKAGE...]`: see the package.

Prints how many definitions have one digest in all processes, are refused, load otherwise than
they were, each also for plain cloudpickle; and how many changed programs keep their digest. With
`--report FILE` the cases are written there as JSON. Exits with 1 when less holds than is claimed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casflow.serialize import explain
from tests.serialize.mass.describe import first_difference
from tests.serialize.mass.project import chance, copy, packages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[3]
_IDENTITY = re.compile(r"'[0-9a-f]{32}'")  # follows from the other differences
_EACH = 50  # definitions of one package
_BEFORE = ([], ["json", "asyncio"], ["typing", "xml.dom.minidom", "logging.handlers"], ["decimal"])
_CLAIMED = 0.97


def run(name: str, args: argparse.Namespace, scratch: Path) -> dict[str, dict[str, Any]]:
    """Return what became of each definition of a package."""
    keep = scratch / name / "kept"
    keep.mkdir(parents=True)
    runs, wanted = [], []
    for number in range(args.processes):
        folder = scratch / name / ("a", "b c", "d", "f" * 60)[number % 4]
        folder.mkdir(parents=True)
        (folder / "pyproject.toml").touch()
        modules = copy(name, folder)
        if not modules:
            return {}
        job = {
            "do": "write", "folder": str(folder), "modules": modules, "seed": number,
            "before": _BEFORE[number % 4], "limit": args.each if not number else 0,
            "wanted": wanted, "keep": str(keep) if not number else None, "blobs": str(folder),
        }  # fmt: skip
        found = call(job, folder, str(number))
        runs.append(found)
        if not found:
            return {}
        wanted = sorted(found)
    loaded = call({"do": "load", "wanted": wanted, "keep": str(keep)}, keep, "9")
    folders = [keep, *(each for each in sorted((scratch / name).iterdir()) if each != keep)]
    return {
        key: _verdict([each.get(key, {}) for each in runs], loaded.get(key), key, folders)
        for key in wanted
    }


def _difference(key: str, folders: list[Path]) -> str:
    """Return where the blobs of one definition differ first."""
    files = (folder / f"{key.replace(':', '-')}.blob" for folder in folders)
    first, *others = {each.read_bytes(): None for each in files if each.exists()}
    found = [each for other in others for each in explain(first, other)]
    told = [str(each) for each in found if not _IDENTITY.search(str(each))]
    return "; ".join(told[:2])[:600]


def change(name: str, args: argparse.Namespace, scratch: Path, count: int) -> dict[str, Any]:
    """Change definitions of a package; return what changed, and what was not noticed."""
    folder = scratch / f"{name}-changed"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    modules = copy(name, folder)
    job = {
        "do": "mutate", "folder": str(folder), "modules": modules, "seed": args.seed,
        "count": count, "share": 8,
    }  # fmt: skip
    return call(job, folder, "0") if modules else {}


def call(job: dict[str, Any], folder: Path, seed: str) -> dict[str, Any]:
    """Do one job in a fresh process; return what it found, nothing when it died."""
    out = folder / "result.json"
    command = [sys.executable, "-m", "tests.serialize.mass.worker"]
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONHASHSEED": seed,
        "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    try:
        subprocess.run(
            [*command, json.dumps({**job, "out": str(out)})],
            cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=300, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {}
    return json.loads(out.read_text()) if out.exists() else {}


def _verdict(
    runs: list[dict[str, Any]], loaded: dict[str, Any] | None, key: str, folders: list[Path]
) -> dict[str, Any]:
    first = runs[0]
    found: dict[str, Any] = {"plain": first.get("plain"), "warnings": first.get("warnings")}
    errors = [each["error"] for each in runs if "error" in each]
    digests = {each.get("digest") for each in runs if each}
    if errors:
        found["is"], found["why"] = "refused", errors[0]
    else:
        found["is"] = "one" if len(digests) == 1 else "several"
        if len(digests) > 1:
            found["why"] = _difference(key, folders)
    for kind in ("plain", "blob"):
        got = (loaded or {}).get(kind)
        if got is not None:
            found[f"{kind}_load"] = got.get("error") or first_difference(
                first["described"], got["described"]
            )
    if loaded is None:
        found["blob_load"] = "the process died"
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the mass test; return 1 when less holds than is claimed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="*")
    parser.add_argument("--limit", type=int, default=0, help="packages; all when left out")
    parser.add_argument("--each", type=int, default=_EACH, help="definitions of one package")
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="which changes are made")
    parser.add_argument("--report", type=Path)
    args = parser.parse_args(arguments)
    end = time.monotonic() + args.seconds
    names = args.packages or sorted(packages(), key=chance)
    names = names[: args.limit or None]
    with tempfile.TemporaryDirectory(prefix="casflow-mass-") as scratch:
        place = Path(scratch)
        results: dict[str, Any] = {}
        for found in _each(
            names if args.each else [], end, args.jobs, lambda name: run(name, args, place)
        ):
            results.update(found)
            if args.report:
                args.report.write_text(json.dumps(results, indent=1))
        wrong = said(results) if args.each else 0
        if args.mutations:
            share = -(-2 * args.mutations // len(names))
            made = _each(names, end, args.jobs, lambda name: change(name, args, place, share))
            wrong |= said_changes(list(made))
    return wrong


def _each(
    names: list[str], end: float, jobs: int, what: Callable[[str], dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    with ThreadPoolExecutor(jobs) as pool:
        results = pool.map(lambda name: what(name) if time.monotonic() < end else {}, names)
        for name, found in zip(names, results, strict=True):
            print(f"{name}: {len(found)}", file=sys.stderr, flush=True)
            yield found


def said_changes(made: list[dict[str, Any]]) -> int:
    """Print how many changed programs were noticed; return 1 when one was not."""
    counts: Counter[str] = Counter()
    for each in made:
        counts.update(each.get("counts", {}))
    lost = [text for each in made for text in each.get("lost", ())]
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
    print(f"{counts.total()} changes that mean something, {len(lost)} with the digest as before")
    print(f"  {kinds}")
    for text in lost:
        print(text)
    return int(bool(lost) or not counts)


def said(results: dict[str, Any]) -> int:
    """Print the counts; return 1 when less holds than is claimed."""
    can = [each for each in results.values() if each["plain"] is None]
    kinds = {
        kind: sum(each["is"] == kind for each in can) for kind in ("one", "several", "refused")
    }
    worse = sum(bool(each.get("blob_load")) and not each.get("plain_load") for each in can)
    wrong = {
        kind: sum(bool(each.get(f"{kind}_load")) for each in can) for kind in ("blob", "plain")
    }
    more = sum(each["plain"] is not None and each["is"] == "one" for each in results.values())
    print(f"{len(results)} definitions, {len(can)} of which plain cloudpickle can dump:")
    print(f"  {kinds['one']} one digest, {kinds['several']} several, {kinds['refused']} refused")
    print(
        f"  loaded otherwise: {wrong['blob']} (plain cloudpickle: {wrong['plain']}), worse: {worse}"
    )
    print(f"  {more} further ones that plain cloudpickle cannot dump have one digest")
    return int(not can or kinds["one"] < _CLAIMED * len(can) or worse > 0)


if __name__ == "__main__":
    sys.exit(main())
