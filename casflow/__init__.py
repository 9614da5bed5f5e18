"""Content-addressed storage for Python workflow flows, with a local cache.

Owns the public names. Invariant: importing casflow imports no SDK and almost nothing else; a name
brings its module when it is first used.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from casflow.lazy import lazily

if TYPE_CHECKING:
    from casflow.flow import Flow, Parameter, Task, task
    from casflow.flow.single import flow
    from casflow.registration import Registration, register
    from casflow.serialize import digest, dumps, loads
    from casflow.store import Store

__version__ = "0.1.0"
__all__ = [
    "Flow",
    "Parameter",
    "Registration",
    "Store",
    "Task",
    "digest",
    "dumps",
    "flow",
    "loads",
    "register",
    "task",
]

_find = lazily(
    __name__,
    {
        "Flow": "casflow.flow",
        "Parameter": "casflow.flow",
        "Registration": "casflow.registration",
        "Store": "casflow.store",
        "Task": "casflow.flow",
        "digest": "casflow.serialize",
        "dumps": "casflow.serialize",
        "loads": "casflow.serialize",
        "register": "casflow.registration",
        "task": "casflow.flow",
    },
)


def __getattr__(name: str) -> Any:
    if name in ("flow", "config"):  # packages: the one can be called, the other was Prefect's, too
        return importlib.import_module(f"casflow.{name}")
    if not name.startswith("_") and name not in __all__:
        from casflow.flow.prefect import MODULES, NAMES, refuse

        if name in NAMES:
            raise refuse(name, "casflow", NAMES[name])
        if f"casflow.{name}" in MODULES:
            return importlib.import_module(f"casflow.{name}")
    return _find(name)


class _LastFinder:
    """Asked for a module of casflow that no other finder has found: Prefect 1 may have had it."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:  # noqa: ARG004
        if not name.startswith("casflow."):
            return None
        from casflow.flow.prefect import find_module

        return find_module(name)


sys.meta_path.append(_LastFinder)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
