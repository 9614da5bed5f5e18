"""Runs the scripts of the field in all the ways in which people start them.

`python -m tests.serialize.field_matrix [SCRIPT...]` says what is unstable, refused or loads
otherwise; scripts whose libraries are not installed are left out.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

FIELD = Path(__file__).parent / "field"
ROOT = Path(__file__).parents[2]
_PATH = """
import sys
from casflow.flow.script import _execute
from pathlib import Path
file = Path(sys.argv[1])
sys.path.insert(0, str(file.parent))
{before}
names = vars(_execute(file.read_bytes(), str(file)))
from reporting import report
report(names, sys.argv[2], *sys.argv[3:])
"""
_DRIVER = """
import sys
{before}
sys.path.insert(0, sys.argv[1])
import importlib
names = vars(importlib.import_module(sys.argv[2]))
sys.path.append(sys.argv[4])
from reporting import report
report(names, sys.argv[3])
"""
WAYS = (
    ("path", "", ()),
    ("run", "", ()),
    ("run", "", ("-X", "no_debug_ranges")),
    ("module", "", ()),
    ("path", "import typing, json, xml.dom.minidom, asyncio, logging.handlers", ()),
    ("driver", "", ()),
    ("driver", "import decimal, unittest.mock", ()),
    ("package", "import typing; typing.List[int]; import concurrent.futures.process", ()),
)


_FOLDERS = ("a", "b/b", "c c", "d", "e" * 50, "f", "g", "h")


def scripts() -> list[str]:
    """Return the names of the scripts."""
    return sorted(file.stem for file in FIELD.glob("field_*.py"))


def needs(name: str) -> list[str]:
    """Return the top-level modules that a script imports."""
    tree = ast.parse((FIELD / f"{name}.py").read_text())
    found: dict[str, None] = {}
    for node in tree.body:
        if isinstance(node, ast.Import):
            found.update(dict.fromkeys(each.name.partition(".")[0] for each in node.names))
        elif isinstance(node, ast.ImportFrom):
            found[(node.module or "").partition(".")[0]] = None
    return [each for each in found if not (FIELD / f"{each}.py").exists()]


def run_script(name: str, scratch: Path) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """Return what each process said of each case, and what loads otherwise."""
    blobs = scratch / name / "blobs"
    blobs.mkdir(parents=True)
    results = []
    for number in range(len(WAYS)):
        place = scratch / name / _FOLDERS[number] / "flows"
        shutil.copytree(FIELD, place, ignore=shutil.ignore_patterns("__pycache__"))
        results.append(_run(name, number, place, blobs))
    out = blobs / "loaded.json"
    said = _call(["-c", _LOAD, blobs, out], blobs, "77", [])
    return results, json.loads(out.read_text()) if out.exists() else {"": said}


def _run(name: str, number: int, place: Path, blobs: Path) -> dict[str, str]:
    """Start a script in one of the ways."""
    way, before, flags = WAYS[number]
    file, out = place / f"{name}.py", place / "out.json"
    driver = ["-c", _DRIVER.format(before=before)]
    commands: dict[str, list[Any]] = {
        "path": ["-c", _PATH.format(before=before), file, out, *([] if number else [blobs])],
        "run": [file, out],
        "module": ["-m", name, out],
        "driver": [*driver, place, name, out, place],
        "package": [*driver, place.parent, f"flows.{name}", out, place],
    }
    path = [ROOT, place] if way == "package" else [ROOT]
    cwd = place if way == "module" else place.parent
    said = _call([*flags, *commands[way]], cwd, str(number), path, warm=number % 3 == 0)
    return json.loads(out.read_text()) if out.exists() else {"": said}


_LOAD = """
import json, pickle, sys
from pathlib import Path
folder = Path(sys.argv[1])
wrong = {}
for file in sorted(folder.glob("*.probe")):
    probe, expected = json.loads(file.read_text())
    for kind in ("blob", "plain"):
        made = file.with_suffix("." + kind)
        try:
            x = pickle.loads(made.read_bytes())
            shown = repr(eval(probe, {"x": x})) if probe else ""
        except Exception as error:
            shown = repr(error)
        if shown != expected:
            wrong.setdefault(file.stem, {})[kind] = [expected[:200], shown[:300]]
Path(sys.argv[2]).write_text(json.dumps(wrong))
"""


def _call(
    arguments: list[Any], cwd: Path, seed: str, path: list[Path], *, warm: bool = False
) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONHASHSEED": seed,
        "HOME": str(cwd),
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        **({} if warm else {"PYTHONDONTWRITEBYTECODE": "1"}),
    }
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.stderr[-800:]


def verdict(results: list[dict[str, str]], loaded: dict[str, Any]) -> dict[str, str]:
    """Return what is wrong, by case: several digests, a refusal, or another behaviour."""
    wrong = {}
    for name in {key: None for each in results for key in each}:
        found = [each.get(name, "nothing") for each in results]
        kinds = list(dict.fromkeys(found))
        if len(kinds) > 1 or not found[0].startswith("blake3:"):
            ways = "".join(str(kinds.index(each)) for each in found)
            wrong[name] = f"{ways}: " + " | ".join(each[:160] for each in kinds)
        elif "blob" in loaded.get(name, {}) and "plain" not in loaded[name]:
            wrong[name] = f"loads otherwise: {loaded[name]['blob']}"
    if "" in loaded:
        wrong["load"] = loaded[""]
    return wrong


def main() -> None:
    """Run the scripts that are named, or all."""
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:
        names = sys.argv[1:] or scripts()
        found = pool.map(lambda name: run_script(name, Path(scratch)), names)
        for name, (results, loaded) in zip(names, found, strict=True):
            wrong = verdict(results, loaded)
            better = [key for key, kinds in loaded.items() if list(kinds) == ["plain"]]
            print(f"{name}: {len(results[0])} cases, {len(wrong)} wrong; better: {better}")
            for case, why in wrong.items():
                print("  ", case, why)


if __name__ == "__main__":
    main()
