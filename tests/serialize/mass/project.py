"""The scratch project: copies of installed packages under other names.

Owns which packages are taken and how their imports of themselves are rewritten. Invariant: a copy
knows nothing of the package that it was made from, and lies in a folder that is thrown away.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "mass_"
_LARGEST = 300_000  # bytes of a file that is copied
_MODULES = 40  # of one package
# What starts something or changes the process when it is imported.
_NEVER = {"antigravity", "this", "idlelib", "test", "turtledemo", "casflow", "cloudpickle", "pip"}
_NEVER |= {"tkinter", "lib2to3", "site", "sitecustomize", "__future__", "setuptools", "turtle"}
_NEVER |= {"tests", "daemon", "distutils", "ensurepip"}


def packages() -> list[str]:
    """Return the importable top-level names that are written in Python, installed ones first."""
    site = Path(sysconfig.get_path("purelib"))
    standard = sorted(name for name in sys.stdlib_module_names if not name.startswith("_"))
    return [*_names_in(site), *(name for name in standard if name not in _NEVER)]


def _names_in(folder: Path) -> Iterator[str]:
    for each in sorted(folder.iterdir()):
        is_module = each.suffix == ".py" and each.stem.isidentifier()
        is_package = each.is_dir() and each.name.isidentifier() and (each / "__init__.py").is_file()
        if (is_module or is_package) and not each.name.startswith("_") and each.stem not in _NEVER:
            yield each.stem


def copy(name: str, folder: Path) -> list[str]:
    """Copy a package into a folder under another name, and return modules to take things from."""
    spec = find_spec(name)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return []
    origin = Path(spec.origin)
    new = f"{PREFIX}{name}"
    if origin.name != "__init__.py":
        _copy_file(origin, folder / f"{new}.py", name)
        return [new]
    target = folder / new
    shutil.copytree(origin.parent, target, ignore=_ignored, copy_function=_copier(name))
    found = []
    for file in sorted(target.rglob("*.py")):
        parts = file.relative_to(folder).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        is_package = all(
            (up / "__init__.py").is_file() for up in file.parents if up.is_relative_to(target)
        )
        named = all(part.isidentifier() for part in parts) and parts[-1] != "__main__"
        if named and is_package:
            found.append(".".join(parts))
    return sorted(sorted(found, key=chance)[:_MODULES])


def chance(name: str) -> str:
    """Return what a name is drawn by: the same in every process."""
    return hashlib.sha256(name.encode()).hexdigest()


def _ignored(folder: str, names: list[str]) -> list[str]:
    left_out = ("__pycache__", "tests", "test", "testing", "benchmarks", "docs", "locale", "static")
    return [
        name
        for name in names
        if name in left_out
        or (Path(folder, name).is_file() and Path(folder, name).stat().st_size > _LARGEST)
    ]


def _copier(name: str):
    return lambda source, target: _copy_file(Path(source), Path(target), name)


def _copy_file(source: Path, target: Path, name: str) -> None:
    data = source.read_bytes()
    if source.suffix == ".py":
        data = renamed(data.decode("utf-8", "surrogateescape"), name).encode(
            "utf-8", "surrogateescape"
        )
    target.write_bytes(data)


def renamed(text: str, name: str) -> str:
    """Return source whose imports of a package are those of its copy."""
    new = f"{PREFIX}{name}"
    text = re.sub(rf"^(\s*from ){name}(?=[. ])", rf"\g<1>{new}", text, flags=re.MULTILINE)
    text = re.sub(
        rf"^(\s*import ){name}((?:\.\w+)*)( as \w+)", rf"\g<1>{new}\2\3", text, flags=re.MULTILINE
    )
    found = rf"^(\s*)import {name}((?:\.\w+)*)[ \t]*(?=#|$)"
    return re.sub(found, rf"\1import {new}\2; {name} = {new}", text, flags=re.MULTILINE)
