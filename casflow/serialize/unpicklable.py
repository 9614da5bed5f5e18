"""Where the part of an object lies that cannot be pickled.

Owns the walk over live objects that finds it. Invariant: the walk only reads, and an object that
cannot be reached is still named by its type.
"""

from __future__ import annotations

import functools
import os
import sysconfig
import types
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from casflow.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = "flow"
_LIBRARY = f"{sysconfig.get_path('stdlib')}{os.sep}"
_MOST = 200_000  # objects that are looked at before the search is given up
_WIDTH = 200  # parts of one object
_ATOMS = (str, bytes, int, float, complex, type(None))


def error_for(root: Any, last: Any, error: Exception) -> ConfigError:
    """Return what to say when pickling `root` failed at `last`."""
    path = path_to(root, last) or f"{ROOT} … {type(last).__module__}.{type(last).__qualname__}"
    hint = "create it inside the function that uses it, or leave it out in __getstate__"
    return ConfigError(f"{path}: {error}", hint=hint)


def path_to(root: Any, wanted: Any) -> str | None:
    """Return the shortest path from `root` to an object that it holds, None when there is none."""
    found = (path for path, obj in islice(_walk(root), _MOST) if obj is wanted)
    return next(found, None)


def walk(root: Any) -> Iterator[Any]:
    """Yield an object and what it holds, nearest first, with the first parts of large ones only."""
    return (obj for _, obj in _walk(root, _WIDTH))


def _walk(root: Any, width: int | None = None) -> Iterator[tuple[str, Any]]:
    queue: deque[tuple[str, Any]] = deque([(ROOT, root)])
    seen = {id(root)}
    while queue:
        path, obj = queue.popleft()
        yield path, obj
        for label, part in islice(_parts(obj), width):
            if id(part) not in seen and not isinstance(part, _ATOMS):
                seen.add(id(part))
                queue.append((path + label, part))


def _parts(obj: Any) -> Iterator[tuple[str, Any]]:
    kind = type(obj)
    if issubclass(kind, dict):
        yield from ((f"[{_shown(key)}]", value) for key, value in dict.items(obj))
    elif issubclass(kind, (list, tuple)):
        plain = list if issubclass(kind, list) else tuple
        yield from ((f"[{at}]", value) for at, value in enumerate(plain.__iter__(obj)))
    elif issubclass(kind, (set, frozenset)):
        plain_set = set if issubclass(kind, set) else frozenset
        yield from (("{…}", value) for value in plain_set.__iter__(obj))
    if isinstance(obj, types.FunctionType):
        yield from _parts_of_function(obj)
    if isinstance(obj, types.MethodType):
        yield ".__func__", obj.__func__
        yield ".__self__", obj.__self__
    if isinstance(obj, (staticmethod, classmethod)):
        yield ".__func__", obj.__func__
    if isinstance(obj, functools.partial):
        yield from ((".func", obj.func), (".args", obj.args), (".keywords", obj.keywords))
    yield from _attributes(obj)


def _shown(key: Any) -> str:
    return repr(key) if isinstance(key, _ATOMS) else f"{type(key).__name__}"


def _parts_of_function(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    names = _names(function.__code__)
    for name, value in function.__globals__.items():
        if name in names:
            yield f".__globals__[{name!r}]", value
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f".__closure__[{name!r}]", cell.cell_contents
        except ValueError:
            continue  # not filled yet
    yield ".__defaults__", function.__defaults__
    yield ".__kwdefaults__", function.__kwdefaults__


def _names(code: types.CodeType) -> set[str]:
    nested = (_names(each) for each in code.co_consts if isinstance(each, types.CodeType))
    return {*code.co_names}.union(*nested)


def _attributes(obj: Any) -> Iterator[tuple[str, Any]]:
    """Yield what an object holds, read past its class: its own `__getattr__` may do anything."""
    if isinstance(obj, types.ModuleType) and _is_installed(obj):
        return
    try:
        held = object.__getattribute__(obj, "__dict__")
    except (AttributeError, TypeError):
        held = None
    if isinstance(held, (dict, types.MappingProxyType)):
        yield from ((f".{name}", value) for name, value in list(held.items()))
    for base in type(obj).__mro__:
        for name in _slots(base):
            descriptor = vars(base).get(name)
            if isinstance(descriptor, types.MemberDescriptorType):
                try:
                    yield f".{name}", descriptor.__get__(obj, type(obj))
                except AttributeError:
                    continue  # not set


def _is_installed(module: types.ModuleType) -> bool:
    """Tell whether a module is named, not stored: its parts are not those of the object."""
    file = module.__dict__.get("__file__")
    spec = module.__dict__.get("__spec__")
    if not isinstance(file, str):
        return spec is not None
    return "-packages" in file or file.startswith(_LIBRARY)


def _slots(base: type) -> tuple[str, ...]:
    slots = vars(base).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    private = f"_{base.__name__.lstrip('_')}"
    return tuple(
        f"{private}{name}" if name.startswith("__") and not name.endswith("__") else name
        for name in names
        if name not in ("__dict__", "__weakref__")
    )
