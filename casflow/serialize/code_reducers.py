"""How functions, cells, bound methods and modules are pickled.

Owns what each of them says by itself and what it holds later, and the stand-ins for namespaces.
Invariant: a function or module of a project is made empty, so that no owner is needed for another.
"""

from __future__ import annotations

import functools
import importlib
import sys
import types
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from casflow.serialize.compat import internals
from casflow.serialize.reducers import Call, reducer, same

if TYPE_CHECKING:
    from casflow.serialize.reducers import Pickling

# What Python puts into a module by itself: where it was found, and what it warned of.
MACHINERY = frozenset(
    ("__builtins__", "__cached__", "__file__", "__loader__", "__path__", "__spec__", "__name__")
) | {"__warningregistry__", "__annotations__", "__doc__", "__package__"}


@reducer("builtins.function")
def function(pickler: Pickling, obj: Any) -> Any:
    """Pickle the functions of a project by value: the code now, what it holds later."""
    if not pickler.travels(obj):
        return NotImplemented
    code = obj.__code__
    if "_clear_cache" in obj.__dict__:
        _forget_dispatches(obj)
    namespace = pickler.reach_from(obj)
    pickler.hold(obj, (obj.__dict__ or None, _function_slots(pickler, obj)))
    return types.FunctionType, (code, namespace, obj.__name__, None, obj.__closure__)


def _forget_dispatches(function: Any) -> None:
    """Empty the cache of a single-dispatch function, and its note of when that was valid."""
    if function.__code__.co_filename != functools.__file__ or "dispatch" not in function.__dict__:
        return
    function._clear_cache()  # noqa: SLF001
    dispatch = function.__dict__["dispatch"]
    names = dispatch.__code__.co_freevars
    if "cache_token" in names:
        cell = dispatch.__closure__[names.index("cache_token")]
        if cell.cell_contents is not None:
            cell.cell_contents = -1  # no such token: the next call looks again


def _function_slots(pickler: Pickling, obj: Any) -> dict[str, Any]:
    """Return what a function holds that does not follow from its code."""
    code = obj.__code__
    slots: dict[str, Any] = {}
    if obj.__qualname__ != code.co_qualname:
        slots["__qualname__"] = obj.__qualname__
    if obj.__annotations__:
        slots["__annotations__"] = obj.__annotations__
    if obj.__kwdefaults__:
        slots["__kwdefaults__"] = obj.__kwdefaults__
    if obj.__defaults__:
        slots["__defaults__"] = obj.__defaults__
    slots["__module__"] = pickler.scope.name_of(obj.__module__)
    if obj.__doc__ != _doc_of(code):
        slots["__doc__"] = obj.__doc__
    if getattr(obj, "__type_params__", ()):
        slots["__type_params__"] = obj.__type_params__
    return slots


def _doc_of(code: types.CodeType) -> str | None:
    first = code.co_consts[0] if code.co_consts else None
    return first if isinstance(first, str) else None


@reducer("builtins.cell")
def cell(pickler: Pickling, obj: Any) -> Any:
    """Pickle a variable that functions share; its value comes later."""
    try:
        value = pickler.stand_in(obj.cell_contents)
        pickler.hold(obj, (None, {"cell_contents": value}))
    except ValueError:
        pass  # never filled
    return types.CellType, ()


@reducer("casflow.serialize.reducers.Call")
def call(_: Pickling, obj: Any) -> Any:
    """Put the call in the place of what stands for it."""
    return obj.function, obj.arguments


@reducer("casflow.serialize.reducers.Namespace")
def namespace(_: Pickling, obj: Any) -> Any:
    """Put the dict of a module in the place of what stands for it."""
    return getattr, (obj.module, "__dict__")


@reducer("casflow.serialize.reducers.Start")
def start(_: Pickling, obj: Any) -> Any:
    """Say what a namespace starts with."""
    return same, (frozenset((obj.names,)),)


@reducer("casflow.serialize.reducers.Module")
def module_stand_in(_: Pickling, obj: Any) -> Any:
    """Make a module of a project; its namespace is filled afterwards."""
    return types.ModuleType, (obj.name,)


@reducer("builtins.builtin_function_or_method")
def bound_builtin(pickler: Pickling, obj: Any) -> Any:
    """Refer by name to a method of an instance that an installed module keeps, such as `random`."""
    return _exported(pickler, obj)


@reducer("builtins.method")
def bound_method(pickler: Pickling, obj: Any) -> Any:
    """Refer by name to a method of an instance that an installed module keeps, such as `choice`."""
    return _exported(pickler, obj)


def _exported(pickler: Pickling, obj: Any) -> Any:
    owner, name = obj.__self__, obj.__name__
    if owner is None or isinstance(owner, (type, types.ModuleType)):
        return NotImplemented
    home = type(owner).__module__
    if pickler.scope.is_local(home):
        return NotImplemented
    for module_name in (home, home.rpartition(".")[0]):
        module = sys.modules.get(module_name)
        if module is not None and _is_same_method(vars(module).get(name), obj):
            return getattr, (module, name)
    holders = (
        each
        for each, module in list(sys.modules.items())
        if _is_same_method(getattr(module, "__dict__", {}).get(name), obj)
        and not pickler.scope.is_local(each)
    )
    found = min(holders, key=lambda each: (len(each), each), default=None)
    return NotImplemented if found is None else (getattr, (sys.modules[found], name))


def _is_same_method(found: Any, obj: Any) -> bool:
    return type(found) is type(obj) and getattr(found, "__self__", None) is obj.__self__


@reducer("builtins.module")
def module(pickler: Pickling, obj: Any) -> Any:
    """Pickle the modules of a project by value, whole: nobody says which names are used."""
    if not pickler.is_local_module(obj):
        return NotImplemented
    if type(obj) is not types.ModuleType:
        held = {name: each for name, each in vars(obj).items() if name not in MACHINERY}
        made = types.ModuleType.__new__, (type(obj),)
        return *made, {"__name__": pickler.scope.name_of(obj.__name__), **held}
    return same, (pickler.reach_all(obj).module,)


def submodule(package: Any, attribute: str) -> types.ModuleType | None:
    """Return the sub-module that an attribute of a package is, imported when need be."""
    if not hasattr(package, "__path__"):
        return None
    name = f"{package.__name__}.{attribute}"
    value = package.__dict__.get(attribute)
    if value is None and attribute.isidentifier():
        try:
            if find_spec(name) is None:
                return None
            value = importlib.import_module(name)
        except Exception:  # noqa: BLE001 - whatever its import raises, it cannot be used
            return None
    return value if isinstance(value, types.ModuleType) and value.__name__ == name else None


@reducer("functools._lru_cache_wrapper")
def lru_cache(pickler: Pickling, obj: Any) -> Any:
    """Pickle a cached function of a project by value, with an empty cache."""
    wrapped = obj.__wrapped__
    found = internals._lookup_module_and_qualname(obj)  # noqa: SLF001
    if found is not None and not pickler.scope.is_local(found[0].__name__):
        return NotImplemented
    parameters = obj.cache_parameters()
    members = {**obj.__dict__, "cache_parameters": functools.partial(dict, **parameters)}
    info = Call(getattr, functools, "_CacheInfo")
    arguments = (wrapped, parameters["maxsize"], parameters["typed"], info)
    return type(obj), arguments, members
