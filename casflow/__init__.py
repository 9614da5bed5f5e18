"""Content-addressed storage for Python workflow flows, with a local cache.

Owns the public names. Invariant: importing casflow imports no SDK and almost nothing else; a name
brings its module when it is first used.
"""

from __future__ import annotations

import importlib
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
    if name == "flow":  # the package, which can be called
        return importlib.import_module("casflow.flow")
    if not name.startswith("_") and name not in __all__:
        from casflow.flow.prefect import NAMES, refuse

        if name in NAMES:
            raise refuse(name, "casflow", NAMES[name])
    return _find(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
