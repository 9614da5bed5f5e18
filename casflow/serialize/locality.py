"""Which modules travel with a flow, and which stay behind and are only named.

Owns the line between the modules of a project (pickled by value) and those of installed
distributions and the standard library (pickled by reference). Invariant: the answer follows from
where a module's file lies, not from what else was imported; only a module that is registered with
cloudpickle as one to be pickled by value, as every script is, travels wherever it lies.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from cloudpickle import list_registry_pickle_by_value

from casflow.serialize.unpicklable import walk

MAIN = "__main__"
_CachedFunction = type(lru_cache(len))
_SITE = re.compile(rf"({re.escape(os.sep)}(?:site|dist)-packages)(?={re.escape(os.sep)})")
_NEVER = {"casflow", "cloudpickle"}  # the code that reads the blob is not part of it
_DISTRIBUTION = {".dist-info", ".egg-info", ".pth"}
_NEARBY = 2000  # objects that are looked at to find the script of an object
_PYPROJECT = "pyproject.toml"


class Scope:
    """What belongs to one flow: its project folder and the module that is its script.

    Attributes:
        project: The folder whose modules travel by value.
        script: Names that the script's module goes by.
        files: Source files of the modules that travel, by module name, as they are met.
    """

    def __init__(self, project: Path, script: str = MAIN) -> None:
        self.project = project
        self.script = frozenset({MAIN, "__mp_main__", script})
        self.files: dict[str, Path] = {}
        self._known: dict[str, bool] = {}
        self._names: dict[str, str] = {}

    def is_local(self, name: str | None) -> bool:
        """Tell whether a module travels by value."""
        if name is None:
            return False
        if name not in self._known:
            self._known[name] = name in (MAIN, "__mp_main__") or self._lies_here(name)
            self._note(name)
        return self._known[name]

    def _lies_here(self, name: str) -> bool:
        file = file_of(sys.modules.get(name))
        if name.partition(".")[0] in _NEVER or file is None:
            return False
        return _is_by_value(name) or self.holds(file) or self._lies_beside(name, file)

    def _lies_beside(self, name: str, file: Path) -> bool:
        """Tell whether a file is beside a script among installed packages, and of none of them."""
        from casflow.serialize.environment import distribution_of

        return (
            _is_installed(str(self.project / "script"))
            and file.is_relative_to(self.project)
            and distribution_of(name.partition(".")[0]) is None
        )

    def _note(self, name: str) -> None:
        file = file_of(sys.modules.get(name))
        if self._known[name] and file is not None and file.is_file():
            self.files[name] = file

    def holds(self, file: Path) -> bool:
        """Tell whether a file is one of the project's own."""
        project = str(self.project).rstrip(os.sep) + os.sep
        return str(file).startswith(project) and not _is_installed(str(file))

    def is_importable_here(self, name: str) -> bool:
        """Tell whether an import of `name` would find a module of the project."""
        if name in sys.modules:
            return name != MAIN and self.is_local(name)
        try:
            spec = find_spec(name.partition(".")[0])
        except (ImportError, ValueError, AttributeError):
            return False
        return spec is not None and bool(spec.origin) and self.holds(Path(str(spec.origin)))

    def relative(self, file: str) -> str:
        """Return a file name as it is told elsewhere: relative to the project, or to `sys.path`."""
        if file not in self._names:
            self._names[file] = self._relative(file)
        return self._names[file]

    def _relative(self, file: str) -> str:
        if file.startswith("<"):
            return file
        path = os.path.realpath(file)
        for folder in (str(self.project), *sorted(sys.path, key=len, reverse=True)):
            if folder and path.startswith(folder + os.sep):
                return path[len(folder) + 1 :].replace(os.sep, "/")
        return os.path.basename(file)  # noqa: PTH119 - a hot path


def scope_of(obj: Any, project: Path | None) -> Scope:
    """Return the scope of an object: the given project, or the one that its script lies in."""
    script = _script_of(obj)
    file = file_of(sys.modules.get(script))
    if project is not None:
        return Scope(project.resolve(), script)
    return Scope(_project_of(file.parent if file else Path.cwd()), script)


def _project_of(folder: Path) -> Path:
    here = str(folder)
    if _is_installed(f"{here}{os.sep}"):
        return folder  # what lies above is not the project of an installed script
    while not os.path.isfile(f"{here}{os.sep}{_PYPROJECT}"):  # noqa: PTH113 - a hot path
        above = os.path.dirname(here)  # noqa: PTH120
        if above == here:
            return folder
        here = above
    return Path(here)


def _script_of(obj: Any) -> str:
    """Return the name of the module that an object was made in, as far as it can be told.

    A function or class says it. Otherwise it is the module that has the object as a global, the
    one that its class is from, or the one that the first function or class within it is from.
    """
    own = _home_of(obj)
    if own is not None:
        return own
    if _holds(sys.modules[MAIN], obj):
        return MAIN
    holders = [name for name, module in list(sys.modules.items()) if _holds(module, obj)]
    if holders:
        return min(holders, key=lambda name: (len(name), name))
    nearby = (_home_of(each) or _home_of(type(each)) for each in islice(walk(obj), _NEARBY))
    return next(filter(None, nearby), MAIN)


def _home_of(obj: Any) -> str | None:
    """Return the module of a function or class, unless it is an installed one."""
    if not isinstance(obj, (FunctionType, type, _CachedFunction)):
        return None
    name = obj.__module__
    file = getattr(sys.modules.get(name), "__file__", None)
    if name == MAIN:
        return name
    return name if isinstance(file, str) and not _is_foreign(name, file) else None


def _holds(module: Any, obj: Any) -> bool:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not isinstance(module, ModuleType):
        return False
    if _is_foreign(module.__name__, file):
        return False
    return any(value is obj for value in list(vars(module).values()))


def _is_foreign(name: str, file: str) -> bool:
    return name.partition(".")[0] in _NEVER or (_is_installed(file) and not _is_by_value(name))


def _is_by_value(name: str) -> bool:
    return name in list_registry_pickle_by_value()


def _is_installed(file: str) -> bool:
    if file.startswith(_standard_library()):
        return True
    parts = _SITE.split(file)  # text and names of folders in turn
    sites = ("".join(parts[: at + 1]) for at in range(1, len(parts), 2))
    return any(map(_holds_distributions, sites))


@lru_cache(maxsize=512)
def _holds_distributions(folder: str) -> bool:
    """Tell whether a folder is one of installed packages: its name alone does not make it one."""
    try:
        return any(each.suffix in _DISTRIBUTION for each in Path(folder).iterdir())
    except OSError:
        return False


def file_of(module: ModuleType | None) -> Path | None:
    """Return the file that a module was read from, if it was read from one."""
    file = getattr(module, "__file__", None)
    return _resolved(file) if isinstance(file, str) else None


@lru_cache(maxsize=4096)
def _resolved(file: str) -> Path:
    return Path(file).resolve()


@lru_cache(maxsize=1)
def _standard_library() -> str:
    return str(Path(sysconfig.get_path("stdlib")).resolve()) + os.sep
