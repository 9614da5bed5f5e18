"""What casflow stands on in cloudpickle: its pickler, and internals that may change.

Owns the versions that casflow was tested with, the one import of cloudpickle's internals, and the
pickle of code objects. Invariant: no version of cloudpickle changes a digest or a source map
unnoticed. One that is not in `TESTED` is tried on a probe first (see `canonical`).
"""

from __future__ import annotations

import copyreg
import importlib
import io
import sys
import types
import typing
from collections import ChainMap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import cloudpickle

from casflow.serialize.records import CODE_PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TESTED = ("3.1.0", "3.1.1", "3.1.2", "3.1.3")


def _internals() -> Any:
    try:
        return importlib.import_module("cloudpickle.cloudpickle")
    except ImportError:
        return None  # its users fail on the probe


internals: Any = _internals()


def reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    """Return the reduction of a code object with its file name, which cloudpickle 3.1.3 drops."""
    return types.CodeType, tuple(getattr(code, part) for part in CODE_PARTS)


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """A pickler of cloudpickle that keeps the file names of code."""

    dispatch_table: ClassVar[Any] = ChainMap(
        {types.CodeType: reduce_code},
        getattr(cloudpickle.Pickler, "dispatch_table", copyreg.dispatch_table),
    )


def dumps(value: Any) -> bytes:
    """Return the pickle of a value, not canonical, with the file names of its code."""
    file = io.BytesIO()
    Pickler(file).dump(value)
    return file.getvalue()


@contextmanager
def by_value(is_local: Callable[[str], bool]) -> Iterator[None]:
    """Let cloudpickle pickle the modules of a project by value, with what it offers to all."""
    known = cloudpickle.list_registry_pickle_by_value()
    modules = {each.__name__: each for name, each in list(sys.modules.items()) if is_local(name)}
    added = [each for name, each in modules.items() if name not in known]
    for module in added:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in added:
            cloudpickle.unregister_pickle_by_value(module)


def probe() -> Any:
    """Return an object with one of each record of cloudpickle that the rules know.

    Its code is empty, so that it is the same for every version of Python.
    """
    names = ("casflow_probe", "probe", "probe")
    place = ("probe.py", *names[1:], 7)
    code = types.CodeType(
        *(0, 0, 0, 0, 1, 3), b"", (None,), (), (), *place, b"", b"", ("cell",), ()
    )
    module = {"__name__": names[0]}
    function = types.FunctionType(code, module, "probe", None, (types.CellType(1),))
    function.__module__ = names[0]
    members = {"__module__": names[0], "method": function}
    return [function, type("Probe", (), members), typing.TypeVar("Probed"), types.CodeType]
