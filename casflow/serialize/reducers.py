"""How live objects are pickled where cloudpickle's way depends on the process, or fails.

Owns one small function per kind of object, registered by the name of its type in `REDUCERS`; a
subclass takes the rule of its nearest base. Invariant: each returns a reduction of importable
callables only, or NotImplemented for the ordinary way.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import types
import typing
from typing import TYPE_CHECKING, Any

from casflow.serialize.bytecode import imports_of, submodules_of
from casflow.serialize.compat import internals

if TYPE_CHECKING:
    from collections.abc import Callable

    from casflow.serialize.pickler import StagePickler

    Reducer = Callable[[StagePickler, Any], Any]

PROTOCOL = 5
REDUCERS: dict[str, Reducer] = {}
_MACHINERY = ("__builtins__", "__cached__", "__file__", "__loader__", "__path__", "__spec__")


def reducer_for(kind: type) -> Reducer | None:
    """Return the rule for objects of a type, found by its own name or that of a base."""
    for base in kind.__mro__:
        found = REDUCERS.get(f"{base.__module__}.{base.__qualname__}")
        if found is not None:
            return found
    return None


def reducer(*names: str) -> Callable[[Reducer], Reducer]:
    """Register a rule for the types of these names."""

    def register(function: Reducer) -> Reducer:
        REDUCERS.update(dict.fromkeys(names, function))
        return function

    return register


@reducer("builtins.function")
def function(pickler: StagePickler, obj: Any) -> Any:
    """Find sub-modules by what the byte code reads, not by what happens to be imported."""
    if not pickler.travels(obj):
        return NotImplemented
    reduction = pickler.function_by_value(obj)
    members = reduction[2][1]
    members["_cloudpickle_submodules"] = [
        each for each in submodules_of(obj) if not pickler.scope.is_local(each.__name__)
    ]
    if pickler.scope.is_local(obj.__module__):
        for name in imports_of(obj.__code__, obj.__globals__.get("__package__") or ""):
            pickler.imports.setdefault(name, obj)
    return reduction


@reducer("builtins.type")
def class_(pickler: StagePickler, obj: Any) -> Any:
    """Pickle the classes of a project by value; text of a dataclass may hold a set's order."""
    if _is_builtin(obj) or not pickler.travels(obj):
        return internals._class_reduce(obj)  # noqa: SLF001
    pickler.classes.add(id(obj))
    reduction = internals._dynamic_class_reduce(obj)  # noqa: SLF001
    members = reduction[2][0]
    if _is_generated(obj, members.get("__doc__")):
        members["__doc__"] = f"{obj.__name__}(...)"
    if members.get("__slots__"):
        reduction[1][3]["__slots__"] = members["__slots__"]  # else instances get a `__dict__`
    if members.get("__pydantic_complete__"):
        _forget_namespace(members)
    return reduction


def _forget_namespace(members: dict[str, Any]) -> None:
    """Drop the local variables in which pydantic looks for names until a model is complete.

    Loading would fill them with those of the loader, so None must stand in their place.
    """
    members["__pydantic_parent_namespace__"] = None
    in_order = sorted(members.items())
    members.clear()
    members.update(in_order)


def _is_builtin(obj: Any) -> bool:
    return (
        obj in (type(None), type(Ellipsis), type(NotImplemented))
        or obj in internals._BUILTIN_TYPE_NAMES  # noqa: SLF001
    )


def _is_generated(cls: Any, doc: Any) -> bool:
    """Tell whether `dataclass` made the text of a class, and it shows a set or an address."""
    if "__dataclass_fields__" not in vars(cls) or not isinstance(doc, str):
        return False
    if "{" not in doc and " at 0x" not in doc:
        return False
    signature = str(inspect.signature(cls)).replace(" -> None", "")
    return doc == f"{cls.__name__}{signature}"


@reducer("builtins.module")
def module(pickler: StagePickler, obj: Any) -> Any:
    """Pickle the modules of a project by value, without where they were found, names in order.

    The module is made empty and filled afterwards, so that modules may refer to each other.
    """
    name = obj.__name__
    if name in sys.modules and not pickler.scope.is_local(name):
        return NotImplemented
    members = {key: obj.__dict__[key] for key in sorted(obj.__dict__) if key not in _MACHINERY}
    return types.ModuleType, (name,), members


@reducer("functools._lru_cache_wrapper")
def lru_cache(pickler: StagePickler, obj: Any) -> Any:
    """Pickle a cached function of a project by value, with an empty cache."""
    wrapped = obj.__wrapped__
    if not isinstance(wrapped, types.FunctionType) or not pickler.travels(wrapped):
        return NotImplemented
    parameters = obj.cache_parameters()
    members = {**obj.__dict__, "cache_parameters": functools.partial(dict, **parameters)}
    info = functools._CacheInfo  # noqa: SLF001
    arguments = (wrapped, parameters["maxsize"], parameters["typed"], info)
    return type(obj), arguments, members


@reducer("functools.cached_property")
def cached_property(_: StagePickler, obj: Any) -> Any:
    """Leave out the lock that a cached property has before 3.12."""
    if type(obj) is not functools.cached_property:
        return NotImplemented
    return type(obj), (obj.func,), {"attrname": obj.attrname, "__doc__": obj.__doc__}


@reducer(
    "dataclasses._MISSING_TYPE",
    "dataclasses._HAS_DEFAULT_FACTORY_CLASS",
    "dataclasses._KW_ONLY_TYPE",
)
def dataclass_sentinel(_: StagePickler, obj: Any) -> Any:
    """Refer to the markers of dataclasses by name, so that they stay the only ones."""
    for name in ("MISSING", "_HAS_DEFAULT_FACTORY", "KW_ONLY"):
        if obj is getattr(dataclasses, name, None):
            return name
    return NotImplemented


@reducer("typing.TypeVar")
def type_variable(pickler: StagePickler, obj: Any) -> Any:
    """Pickle the type variables of a project by value."""
    if not pickler.travels(obj, obj.__name__):
        return NotImplemented
    return internals._make_typevar, internals._decompose_typevar(obj)  # noqa: SLF001


@reducer("typing.ParamSpec", "typing.TypeVarTuple")
def parameter_variable(pickler: StagePickler, obj: Any) -> Any:
    """Pickle further type variables of a project by value; a name would not be found."""
    if not pickler.travels(obj, obj.__name__):
        return NotImplemented
    return type(obj), (obj.__name__,)


@reducer("typing.NewType")
def new_type(pickler: StagePickler, obj: Any) -> Any:
    """Pickle the new types of a project by value; a name would not be found."""
    if not pickler.travels(obj, obj.__name__):
        return NotImplemented
    return typing.NewType, (obj.__name__, obj.__supertype__), {"__module__": obj.__module__}


@reducer("builtins.BaseException")
def exception(_: StagePickler, obj: Any) -> Any:
    """Leave out the empty dict that an exception gets when somebody looks for its attributes."""
    reduction = obj.__reduce_ex__(PROTOCOL)
    if isinstance(reduction, tuple) and reduction[2:] == ({},):
        return reduction[:2]
    return reduction


@reducer("builtins.set", "builtins.frozenset")
def set_subclass(_: StagePickler, obj: Any) -> Any:
    """Hand the members of a subclass of set over as a set: a list would have an order."""
    kind = type(obj)
    plain = set if isinstance(obj, set) else frozenset
    if "__reduce_ex__" in _overridden(kind, plain) or "__reduce__" in _overridden(kind, plain):
        return NotImplemented
    return kind, (plain(obj),), obj.__getstate__()


def _overridden(kind: type, plain: type) -> set[str]:
    return {name for base in kind.__mro__[: kind.__mro__.index(plain)] for name in vars(base)}


@reducer("numpy.ufunc")
def ufunc(_: StagePickler, obj: Any) -> Any:
    """Refer to numpy's functions by name in numpy, not in whichever module re-exports them."""
    numpy = sys.modules["numpy"]
    name = obj.__name__
    return (getattr, (numpy, name)) if getattr(numpy, name, None) is obj else NotImplemented


@reducer("numpy.dtype")
def dtype(_: StagePickler, obj: Any) -> Any:
    """Make plain dtypes by their name: equal ones may be one object or several."""
    if obj.fields or obj.subdtype or obj.metadata:
        return NotImplemented
    numpy = sys.modules["numpy"]
    return (numpy.dtype, (obj.str,)) if _restores(numpy, obj) else NotImplemented


def _restores(numpy: Any, obj: Any) -> bool:
    try:
        return bool(numpy.dtype(obj.str) == obj and numpy.dtype(obj.str).str == obj.str)
    except TypeError:
        return False
