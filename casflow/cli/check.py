"""`casflow register --check`: whether a flow is the same in another process, and loads in one.

Owns the fresh processes that make the flow's bytes again, each with another hash seed and home, and
the words for what differs. The script is run by its path; imported by another, after other modules;
and reached through another folder, under another name, with its byte code cached. One more process,
which does not know the project, loads it. `python -m casflow.cli.check FOLDER WAY
TARGET` is one of the first three.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from casflow.cli.flows import read_flows
from casflow.cli.output import note
from casflow.errors import ConfigError, LoadError
from casflow.serialize import explain, serialize
from casflow.serialize.clean import check_loads
from casflow.storage.content import name_of

if TYPE_CHECKING:
    from casflow.flow import Flow
    from casflow.serialize import Difference

PATH, IMPORT, RENAMED, MODULE = "path", "import", "renamed", "module"
_WAYS = {PATH: "1", IMPORT: "4242", RENAMED: "77"}  # with the hash seed of each
_WORDS = {
    IMPORT: "when it is imported after other modules",
    RENAMED: "when it lies elsewhere and __name__ is another",
    MODULE: "in another process",
}
_TIMEOUT = 600.0  # seconds that a script may take to be read


def check(flows: list[Flow], path: Path | None, module: str | None) -> None:
    """Make the bytes of flows in two other processes and compare them.

    Raises:
        ConfigError: They differ; what differs is said on standard error, a line each.
        LoadError: One of the processes could not make them.
    """
    with tempfile.TemporaryDirectory(prefix="casflow-check-") as scratch:
        made = _make_all(Path(scratch), path, module)
        for flow in flows:
            first, *others = ((way, folder / _file(name_of(flow))) for way, folder in made)
            for way, file in others:
                _complain(name_of(flow), way, explain(first[1].read_bytes(), file.read_bytes()))
            check_loads(first[1].read_bytes(), where=name_of(flow))


def _make_all(scratch: Path, path: Path | None, module: str | None) -> list[tuple[str, Path]]:
    """Make the bytes in every way that there is for a target; return the ways and folders."""
    if path is None:
        ways = dict.fromkeys(range(2), MODULE)
    else:
        ways = dict(enumerate(_WAYS if path.stem.isidentifier() else (PATH, RENAMED)))
    found = []
    for number, way in ways.items():
        folder = scratch / str(number)
        folder.mkdir()
        target = str(module if path is None else _place(path.absolute(), way, folder))
        seed = _WAYS.get(way, str(number))
        _make(folder, way, target, {**_other(folder, seed), **_byte_code(scratch, way)})
        found.append((way, folder))
    return found


def _place(path: Path, way: str, folder: Path) -> Path:
    """Return the script, behind a link to its folder when it shall lie elsewhere."""
    if way != RENAMED:
        return path
    (folder / "elsewhere").symlink_to(path.parent, target_is_directory=True)
    return folder / "elsewhere" / path.name


def _byte_code(scratch: Path, way: str) -> dict[str, str]:
    """Return where a process keeps byte code: the first has none, later ones share a folder."""
    if way == PATH:
        return {"PYTHONDONTWRITEBYTECODE": "1"}
    return {"PYTHONPYCACHEPREFIX": str(scratch / "pycache"), "PYTHONDONTWRITEBYTECODE": ""}


def _make(folder: Path, way: str, target: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "casflow.cli.check", str(folder), way, target],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if done.returncode != 0:
        what = f"the flow cannot be made {_WORDS.get(way, 'in another process')}"
        last_line = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise LoadError(f"{what} ({last_line})", where=target)


def _other(folder: Path, seed: str) -> dict[str, str]:
    """Return what is different in the other process, and the search path, which is not."""
    import site

    return {
        "PYTHONHASHSEED": seed,
        "HOME": str(folder),
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONPATH": os.pathsep.join(each or str(Path.cwd()) for each in sys.path),
    }


def _complain(name: str, way: str, differences: list[Difference]) -> None:
    for each in differences[1:]:
        note(str(each))
    if differences:
        hint = "make the value the same in every process, or pass it as a parameter"
        what = f"the flow is not reproducible: {differences[0]} ({_WORDS[way]})"
        raise ConfigError(what, where=name, hint=hint)


def _file(name: str) -> str:
    from casflow.digests import digest_of, hex_of

    return hex_of(digest_of(name.encode()))


def main(folder: str, way: str, target: str) -> None:
    """Write the bytes of every flow of a script or module to a folder."""
    path, module = (None, target) if way == MODULE else (Path(target), None)
    if way == IMPORT:  # as a script does that drives it, after other imports
        import xml.dom.minidom  # noqa: F401

        sys.path.insert(0, str(Path(target).parent))
        path, module = None, Path(target).stem
    elif way == RENAMED:
        stem = Path(target).stem
        sys.modules.setdefault(stem, ModuleType(stem))  # the name is taken
    for name, flow in read_flows(path, module).items():
        (Path(folder) / _file(name)).write_bytes(serialize(flow).data)


if __name__ == "__main__":
    main(*sys.argv[1:])
