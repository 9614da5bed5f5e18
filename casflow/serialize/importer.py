"""The `__import__` of functions that import modules of their project when they run.

Owns one function, which is never called here: it is pickled by value into the blob, so that
loading needs no casflow. Invariant: the modules that travel in a blob are found by the functions of
that blob alone; `sys.modules` is left as it is, so that two versions can be loaded side by side.
"""

from __future__ import annotations

import builtins
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_modules: dict[str, Any] = {}  # replaced by those of the blob
_import = builtins.__import__


def importer_of(modules: Mapping[str, Any]) -> types.FunctionType:
    """Return an `__import__` that looks among `modules` first."""
    names = {"__name__": "casflow_importer", "_modules": dict(modules), "_import": _import}
    return types.FunctionType(_find.__code__, names, "__import__", (None, None, (), 0))


def _find(
    name: str,
    globals: Any = None,  # noqa: A002 - the signature of `__import__`
    locals: Any = None,  # noqa: A002
    fromlist: Any = (),
    level: int = 0,
) -> Any:
    full = name
    if level:
        package = (globals.get("__package__") or globals["__name__"]).split(".")
        package = package[: len(package) - level + 1]
        full = ".".join([*package, name]) if name else ".".join(package)
    if full not in _modules:
        return _import(name, globals, locals, fromlist, level)
    for each in list(_modules):
        above, _, last = each.rpartition(".")
        if above in _modules:
            _modules[above].__dict__.setdefault(last, _modules[each])
    if fromlist or level:
        return _modules[full]
    return _modules.get(full.split(".")[0], _modules[full])
