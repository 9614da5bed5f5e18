"""Which modules travel with a flow, and which stay behind and are only named.

Owns the line between the modules of a project (pickled by value) and those of installed
distributions and the standard library (pickled by reference), and the names of the former.
Invariant: the answers follow from where a module's file lies, not from who runs or imports it;
only a module that is registered with cloudpickle as one to be pickled by value, as every script
is, travels wherever it lies.
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from cloudpickle import list_registry_pickle_by_value

from casflow.errors import ConfigError
from casflow.serialize.bytecode import imports_of
from casflow.serialize.distributions import distribution_of, is_editable, is_installed
from casflow.serialize.unpicklable import walk

MAIN = "__main__"
_MAINS = (MAIN, "__mp_main__")
_CachedFunction = type(lru_cache(len))
_NEVER = {"casflow", "cloudpickle"}  # the code that reads the blob is not part of it
_NEARBY = 2000  # objects that are looked at to find the script of an object
_EXTENSIONS = (".so", ".pyd", ".dylib")
_PYPROJECT = "pyproject.toml"


class Scope:
    """What belongs to one object: the folder of its project, and which modules travel.

    Attributes:
        project: The folder that file names are relative to.
        files: Source files of the modules that travel, by module name, as they are met.
        renamed: Names of modules in this process, by which of them the file says otherwise.
    """

    def __init__(self, project: Path) -> None:
        self.project = project
        self.files: dict[str, Path] = {}
        self.renamed: dict[str, str] = {}
        self._known: dict[str, bool] = {}
        self._relative_names: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def is_local(self, name: str | None) -> bool:
        """Tell whether a module travels by value.

        It does when it has a source file that is neither of the standard library nor of an
        installed distribution.
        """
        if name is None:
            return False
        if name not in self._known:
            module = sys.modules.get(name)
            file = source_of(module)
            self._known[name] = (
                name in _MAINS
                or self._is_open_package(name, module)
                or (
                    file is not None
                    and name.partition(".")[0] not in _NEVER
                    and (_is_by_value(name) or not self._is_installed(name, file))
                )
            )
            if self._known[name] and file is not None and file.is_file():
                self.files[name] = file
        return self._known[name]

    def _is_open_package(self, name: str, module: ModuleType | None) -> bool:
        """Tell whether a module is a package without a file, all of whose folders are local."""
        places = getattr(module, "__dict__", {}).get("__path__")
        if places is None or module_file(module) is not None or name.partition(".")[0] in _NEVER:
            return False
        folders = [f"{place}{os.sep}" for place in places]
        return bool(folders) and not any(map(is_installed, folders))

    def _is_installed(self, name: str, file: Path) -> bool:
        if is_installed(module_file(sys.modules.get(name)) or "") or is_installed(str(file)):
            return not self._lies_beside(name, file)
        if str(file).startswith(str(self.project).rstrip(os.sep) + os.sep):
            return False
        return is_editable(file)

    def _lies_beside(self, name: str, file: Path) -> bool:
        """Tell whether a file is beside a script among installed packages, and of none of them."""
        return (
            is_installed(str(self.project / "script"))
            and file.is_relative_to(self.project)
            and distribution_of(name.partition(".")[0]) is None
        )

    def name_of(self, name: str | None) -> str | None:
        """Return the name of a module that follows from its file alone, however it was loaded.

        It is what an import from the folder above its outermost package would use: the stem of
        a script, whether it is run, imported or registered.
        """
        if name is None or not self.is_local(name):
            return name
        if name not in self._names:
            self._names[name] = _name_by_file(source_of(sys.modules.get(name))) or name
            if self._names[name] != name:
                self.renamed[name] = self._names[name]
        return self._names[name]

    def name_within(self, name: str) -> str:
        """Return a dotted name in which that of a module is the name by its file."""
        parts = name.split(".")
        for size in range(len(parts), 0, -1):
            for at in range(len(parts) - size + 1):
                part = ".".join(parts[at : at + size])
                if part in sys.modules and self.is_local(part):
                    return ".".join([*parts[:at], self.name_of(part) or part, *parts[at + size :]])
        return name

    def importable(self, name: str) -> ModuleType | None:
        """Return the module of the project that an import of `name` finds, imported when need be.

        One that lacks a module fails there as it does here, and does not travel.

        Raises:
            ConfigError: It is one, but its import fails otherwise.
        """
        if name not in sys.modules:
            if not self._finds(name):
                return None
            try:
                importlib.import_module(name)
            except ImportError:
                return None
            except Exception as error:  # whatever a module raises
                what = f"the project's module {name} cannot be imported"
                raise ConfigError(f"{what} ({type(error).__name__}: {error})") from error
        module = sys.modules.get(name)
        return module if isinstance(module, ModuleType) and self.is_local(name) else None

    def _finds(self, name: str) -> bool:
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top in _NEVER:
            return False
        try:
            spec = find_spec(top)
        except (ImportError, ValueError, AttributeError):
            return False
        if spec is None:
            return False
        places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
        if not places or any(is_installed(str(place)) for place in places):
            return False
        try:
            return find_spec(name) is not None
        except (ImportError, ValueError, AttributeError):
            return False

    def imported_by(self, module: ModuleType) -> set[str]:
        """Return the modules that the source of a module imports at its top level."""
        file = source_of(module)
        if file is None or file.suffix != ".py" or not file.is_file():
            return set()
        package = module.__dict__.get("__package__") or ""
        found: set[str] = set()
        for each in imports_of(_code_of(file, file.stat().st_mtime_ns), package):
            parts = each.name.split(".")
            found.update(".".join(parts[: at + 1]) for at in range(len(parts)))
            found.update(f"{each.name}.{name}" for name in each.wanted)
        return found

    def relative(self, file: str) -> str:
        """Return a file name as it is told elsewhere: relative to the project, or to `sys.path`."""
        if file not in self._relative_names:
            self._relative_names[file] = self._relative(file)
        return self._relative_names[file]

    def _relative(self, file: str) -> str:
        if file.startswith("<"):
            return file
        for absolute in (os.path.abspath, os.path.realpath):
            path = absolute(file)
            for folder in (str(self.project), *sorted(sys.path, key=len, reverse=True)):
                if folder and path.startswith(folder + os.sep):
                    return path[len(folder) + 1 :].replace(os.sep, "/")
        return os.path.basename(file)  # noqa: PTH119 - a hot path


@lru_cache(maxsize=256)
def _code_of(file: Path, _: int) -> CodeType:
    code = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
    nothing_within = tuple(each for each in code.co_consts if not isinstance(each, CodeType))
    return code if nothing_within == code.co_consts else code.replace(co_consts=_blank(code))


def _blank(code: CodeType) -> tuple[object, ...]:
    return tuple(None if isinstance(each, CodeType) else each for each in code.co_consts)


def scope_of(obj: Any, project: Path | None) -> Scope:
    """Return the scope of an object: the given project, or the one that its code lies in."""
    if project is not None:
        return Scope(project.resolve())
    file = source_of(sys.modules.get(_home(obj)))
    return Scope(_project_of(file) if file else Path.cwd())


def _project_of(file: Path) -> Path:
    """Return the nearest folder with a `pyproject.toml`, else the one that packages start in."""
    here = os.path.dirname(file)  # noqa: PTH120 - a hot path
    if is_installed(f"{here}{os.sep}"):
        return Path(here)  # what lies above is not the project of an installed script
    while not os.path.isfile(f"{here}{os.sep}{_PYPROJECT}"):  # noqa: PTH113
        above = os.path.dirname(here)  # noqa: PTH120
        if above == here:
            return _root_of(file)
        here = above
    return Path(here)


@lru_cache(maxsize=1024)
def _root_of(file: Path) -> Path:
    folder = file.parent
    while (folder / "__init__.py").is_file() and folder.parent != folder:
        folder = folder.parent
    return folder


@lru_cache(maxsize=1024)
def _name_by_file(file: Path | None) -> str | None:
    if file is None or file.suffix != ".py":
        return None
    parts = file.relative_to(_root_of(file)).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _home(obj: Any) -> str:
    """Return the module of the first function or class that an object holds, its own first."""
    own = _home_of(obj)
    if own is not None:
        return own
    nearby = (_home_of(each) or _home_of(type(each)) for each in islice(walk(obj), _NEARBY))
    return next(filter(None, nearby), MAIN)


def _home_of(obj: Any) -> str | None:
    """Return the module of a function or class, unless it is an installed one."""
    if not isinstance(obj, (FunctionType, type, _CachedFunction)):
        return None
    name = getattr(obj, "__module__", None)
    if name == MAIN:
        return MAIN
    if not isinstance(name, str):
        return None
    file = module_file(sys.modules.get(name))
    if file is None or name.partition(".")[0] in _NEVER or is_installed(file):
        return name if file is not None and _is_by_value(name) else None
    return name


def _is_by_value(name: str) -> bool:
    return name in list_registry_pickle_by_value()


def module_file(module: ModuleType | None) -> str | None:
    """Return the file of a module as it is known, links not followed."""
    file = getattr(module, "__dict__", {}).get("__file__")
    if file is None and type(module) is not ModuleType and isinstance(module, ModuleType):
        try:
            file = module.__file__  # one that stands for another module asks that
        except Exception:  # noqa: BLE001 - whatever its own code raises
            return None
    return file if isinstance(file, str) else None


def source_of(module: ModuleType | None) -> Path | None:
    """Return the source file of a module where it was found, links not followed."""
    file = module_file(module)
    return None if file is None or file.endswith(_EXTENSIONS) else _absolute(file)


@lru_cache(maxsize=4096)
def _absolute(file: str) -> Path:
    return Path(os.path.abspath(file))  # noqa: PTH100 - a link keeps its name
