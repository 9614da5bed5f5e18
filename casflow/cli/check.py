"""`casflow register --check`: whether a flow is the same in another process.

Owns the two fresh processes that make the flow's bytes again, with another hash seed, folder and
home, one of which imports the script after other modules, and the words for what differs.
`python -m casflow.cli.check FOLDER path|import|module TARGET` is such a process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from casflow.cli.flows import read_flows
from casflow.cli.output import note
from casflow.errors import ConfigError, LoadError
from casflow.serialize import explain, serialize
from casflow.storage.content import name_of

if TYPE_CHECKING:
    from casflow.flow import Flow
    from casflow.serialize import Difference

SEEDS = ("1", "4242")
_TIMEOUT = 600.0  # seconds that a script may take to be read


def check(flows: list[Flow], path: Path | None, module: str | None) -> None:
    """Make the bytes of flows in two other processes and compare them.

    Raises:
        ConfigError: They differ; what differs is said on standard error, a line each.
        LoadError: One of the processes could not make them.
    """
    with tempfile.TemporaryDirectory(prefix="casflow-check-") as scratch:
        folders = [Path(scratch) / seed for seed in SEEDS]
        for folder, seed in zip(folders, SEEDS, strict=True):
            _make(folder, seed, path, module)
        for flow in flows:
            _complain(name_of(flow), _differences(name_of(flow), folders))


def _make(folder: Path, seed: str, path: Path | None, module: str | None) -> None:
    folder.mkdir()
    kind = "import" if path and path.stem.isidentifier() and seed != SEEDS[0] else "path"
    target = [kind, str(path.absolute())] if path else ["module", str(module)]
    done = subprocess.run(
        [sys.executable, "-m", "casflow.cli.check", str(folder), *target],
        cwd=folder,
        env={**os.environ, **_other(folder, seed)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise LoadError(f"the flow cannot be made in another process ({last})", where=target[1])


def _other(folder: Path, seed: str) -> dict[str, str]:
    """Return what is different in the other process, and the search path, which is not."""
    import site

    return {
        "PYTHONHASHSEED": seed,
        "HOME": str(folder),
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONPATH": os.pathsep.join(each or str(Path.cwd()) for each in sys.path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _differences(name: str, folders: list[Path]) -> list[Difference]:
    first, second = ((folder / _file(name)).read_bytes() for folder in folders)
    return explain(first, second)


def _complain(name: str, differences: list[Difference]) -> None:
    for each in differences[1:]:
        note(str(each))
    if differences:
        hint = "make the value the same in every process, or pass it as a parameter"
        raise ConfigError(f"the flow is not reproducible: {differences[0]}", where=name, hint=hint)


def _file(name: str) -> str:
    from casflow.digests import digest_of, hex_of

    return hex_of(digest_of(name.encode()))


def main(folder: str, kind: str, target: str) -> None:
    """Write the bytes of every flow of a script or module to a folder."""
    path, module = (None, target) if kind == "module" else (Path(target), None)
    if kind == "import":  # as a script does that drives it, after other imports
        import xml.dom.minidom  # noqa: F401

        sys.path.insert(0, str(Path(target).parent))
        path, module = None, Path(target).stem
    for name, flow in read_flows(path, module).items():
        (Path(folder) / _file(name)).write_bytes(serialize(flow).data)


if __name__ == "__main__":
    main(*sys.argv[1:])
