"""Flows of a project: a script in a folder that holds all that it imports and reads.

Owns how such a folder becomes importable. Invariant: what is imported after a project was entered
comes from it before it comes from elsewhere, and two projects never mix: entering one forgets what
the one before it had imported. Python writes nothing into the folder, which other processes share.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

from casflow.errors import os_errors
from casflow.flow.script import flow_from_script

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from casflow.flow import Flow

_entered: list[str] = []  # folders of this process's projects, on the module search path


def flow_from_project(folder: Path, script: str, name: str) -> Flow:
    """Execute a script of a project and return a flow by name.

    Args:
        folder: The project, whose content was verified.
        script: Path of the script in it.
        name: Name of the flow.

    Raises:
        LoadError: The script is not Python, raised an exception, or holds no such flow.
        NotFoundError: There is no such script in the project.
    """
    path = folder / script
    with os_errors(path):
        data = path.read_bytes()
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # of processes that its tasks start
    enter([path.parent, folder])
    return flow_from_script(data, name, path=str(path))


def enter(folders: Iterable[Path]) -> None:
    """Make what is in some folders importable, the first before the others and all else."""
    added = list(dict.fromkeys(str(each) for each in folders))
    forget_modules(name for each in added for name in os.listdir(each))  # noqa: PTH208 - names
    _entered.extend(added)
    sys.path[:0] = added
    importlib.invalidate_caches()


def forget_modules(names: Iterable[str]) -> None:
    """Forget the modules of earlier projects, and all that these files and folders bring."""
    earlier = tuple(_entered)
    sys.path[:] = [each for each in sys.path if each not in earlier]
    tops = {name.partition("/")[0].partition(".")[0] for name in names}
    brought = tops - sys.stdlib_module_names - {"casflow", "__main__"}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in brought or _is_below(module, earlier):
            del sys.modules[name]


def _is_below(module: object, folders: tuple[str, ...]) -> bool:
    file = getattr(module, "__file__", None) or ""
    return isinstance(file, str) and file.startswith(tuple(f"{each}{os.sep}" for each in folders))
