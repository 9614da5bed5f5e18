"""Flows out of a script or a module that a command names.

Owns what a script may import while it is read: what stands beside it, as when Python runs it.
"""

from __future__ import annotations

import glob
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from casflow.errors import ConfigError, FlowNotFoundError, os_errors
from casflow.flow.script import flows_in_module, flows_in_script, pick

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from casflow.flow import Flow


def read_flows(path: Path | None, module: str | None) -> dict[str, Flow]:
    """Return the flows of a script or of a module, whichever is named.

    Raises:
        ConfigError: Both are named, or none.
        CasflowError: There are no flows to be had.
    """
    if (path is None) == (module is None):
        raise ConfigError("name either a script with --path or a module with --module")
    if path is None:
        sys.path.insert(0, str(Path.cwd()))
        return flows_in_module(str(module))
    path = path.absolute()
    with os_errors(path):
        data = path.read_bytes()
    sys.path.insert(0, str(path.parent))
    return flows_in_script(data, path=str(path))


def choose(flows: dict[str, Flow], names: Iterable[str], where: object) -> list[Flow]:
    """Return the flows of some names, or all.

    Raises:
        FlowNotFoundError: There is no flow of one of the names, or none at all.
    """
    what = "file" if isinstance(where, Path) else "module"
    found = [pick(flows, name, what=what, where=str(where)) for name in names]
    if not flows:
        pick(flows, None, what=what, where=str(where))
    return found or list(flows.values())


@dataclass(frozen=True, slots=True)
class Source:
    """A script or a module that flows are read from.

    Attributes:
        path: The script, absolute.
        module: The module, or `module:attribute`.
        may_be_empty: Whether it is only one of the scripts in a folder, which need not hold flows.
    """

    path: Path | None = None
    module: str | None = None
    may_be_empty: bool = False

    def __str__(self) -> str:
        return str(self.where)

    @property
    def where(self) -> Path | str:
        """What messages name."""
        return self.path or str(self.module)

    def flows(self) -> dict[str, Flow]:
        """Return the flows by name."""
        return read_flows(self.path, self.module)


def find_sources(paths: Iterable[str], modules: Iterable[str]) -> list[Source]:
    """Return the scripts and modules that a command names, each once.

    Args:
        paths: Scripts, folders of scripts, and globs.
        modules: Modules.

    Raises:
        ConfigError: Nothing is named.
        FlowNotFoundError: A folder or a glob has no script.
    """
    found = [each for path in paths for each in _scripts(path)]
    found += [Source(module=each) for each in modules]
    if not found:
        raise ConfigError("name a script with --path, or a module with --module")
    return list({(each.path, each.module): each for each in reversed(found)}.values())[::-1]


def _scripts(text: str) -> list[Source]:
    path = Path(text).expanduser().absolute()
    if path.is_dir():
        found = sorted(each for each in path.glob("*.py") if each.is_file())
    elif path.exists() or not glob.has_magic(text):
        return [Source(path)]
    else:
        found = sorted(Path(each) for each in glob.glob(str(path), recursive=True))  # noqa: PTH207 - of an absolute path
        found = [each for each in found if each.is_file()]
    if not found:
        raise FlowNotFoundError("no script there", where=text)
    return [Source(each, may_be_empty=True) for each in found]


@contextmanager
def importing() -> Iterator[None]:
    """Leave what a source imports from beside it to no other source.

    Two scripts in two folders may each have a module `helpers` beside them.
    """
    before, known = list(sys.path), set(sys.modules)
    try:
        yield
    finally:
        folders = [each for each in sys.path if each not in before]
        sys.path[:] = before
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if any(Path(file).is_relative_to(folder) for folder in folders if file):
                del sys.modules[name]
