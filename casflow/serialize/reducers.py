"""How live objects are pickled where cloudpickle's way depends on the process, or fails.

Owns one small function per kind of object, registered by the name of its type in `REDUCERS`; a
subclass takes the rule of its nearest base. Invariant: each returns a reduction of importable
callables only, or NotImplemented for the ordinary way.
"""

from __future__ import annotations

import abc
import copyreg
import dataclasses
import enum
import functools
import importlib
import inspect
import logging
import sys
import types
import typing
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from casflow.serialize.compat import internals

if TYPE_CHECKING:
    from collections.abc import Callable

    from casflow.serialize.pickler import StagePickler

    Reducer = Callable[[StagePickler, Any], Any]

PROTOCOL = 5
REDUCERS: dict[str, Reducer] = {}
# What Python and cloudpickle leave in the dict of a class, and nothing reads.
_CACHES = frozenset(("__slotnames__", "__firstlineno__", "__static_attributes__"))
_CACHES |= {"__annotations_cache__", "__annotate_func__"}
# What `type` itself keeps of a class, and takes when it is set.
_TAKEN = frozenset(("__doc__", "__annotations__", "__abstractmethods__", "__type_params__"))
_MEMBER_CACHES = frozenset(("_inverted_",))  # what a flag notes when it is inverted
# Metaclasses that want to see the body of a class, which is gone.
_UNCALLED: tuple[type, ...] = (enum.EnumMeta, type(typing.TypedDict("_", {})))  # type: ignore[operator]


def reducer_for(kind: type) -> Reducer | None:
    """Return the rule for objects of a type, found by its own name or that of a base."""
    for base in kind.__mro__:
        found = REDUCERS.get(f"{base.__module__}.{base.__qualname__}")
        if found is not None:
            return found
    return with_own_reduction if _reduces_itself(kind) else None


def _reduces_itself(kind: type) -> bool:
    """Tell whether Python code says how objects of a type are pickled."""
    found = (
        vars(base).get(name) for base in kind.__mro__ for name in ("__reduce_ex__", "__reduce__")
    )
    return isinstance(next(filter(None, found), None), types.FunctionType)


def reducer(*names: str) -> Callable[[Reducer], Reducer]:
    """Register a rule for the types of these names."""

    def register(function: Reducer) -> Reducer:
        REDUCERS.update(dict.fromkeys(names, function))
        return function

    return register


@reducer("builtins.function")
def function(pickler: StagePickler, obj: Any) -> Any:
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


def _function_slots(pickler: StagePickler, obj: Any) -> dict[str, Any]:
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


@reducer("casflow.serialize.pickler.Namespace")
def namespace(_: StagePickler, obj: Any) -> Any:
    """Put the dict of a module in the place of what stands for it."""
    return getattr, (obj.module, "__dict__")


@reducer("casflow.serialize.pickler.Start")
def start(_: StagePickler, obj: Any) -> Any:
    """Say what a namespace starts with."""
    from casflow.serialize.pickler import same

    return same, (frozenset((obj.names,)),)


@reducer("casflow.serialize.pickler.Module")
def module_stand_in(_: StagePickler, obj: Any) -> Any:
    """Make a module of a project; its namespace is filled afterwards."""
    return types.ModuleType, (obj.name,)


@reducer("builtins.cell")
def cell(pickler: StagePickler, obj: Any) -> Any:
    """Pickle a variable that functions share; its value comes later."""
    try:
        value = pickler.stand_in(obj.cell_contents)
        pickler.hold(obj, (None, {"cell_contents": value}))
    except ValueError:
        pass  # never filled
    return types.CellType, ()


@reducer("builtins.type")
def class_(pickler: StagePickler, obj: Any) -> Any:
    """Pickle the classes of a project by value: empty now, with what they hold later."""
    if _is_builtin(obj) or not pickler.travels(obj):
        return internals._class_reduce(obj)  # noqa: SLF001
    pickler.classes[id(obj)] = obj
    members = _own_members(obj)
    registry = members.pop("_abc_impl", None)
    start = {"__module__": pickler.scope.name_of(obj.__module__), "__qualname__": obj.__qualname__}
    for name in ("__slots__", "__orig_bases__", *_set_otherwise(obj, members)):
        if name in members:
            start[name] = members.pop(name)
    if isinstance(start.get("__slots__"), dict):
        members["__slots__"] = start["__slots__"]
    if isinstance(doc := members.pop("__doc__", None), str):
        start["__doc__"] = f"{obj.__name__}(...)" if _is_generated(obj, doc) else doc
    elif doc is not None:
        members["__doc__"] = doc
    if issubclass(type(obj), enum.EnumMeta) and members.get("_member_map_"):
        return _enum(pickler, obj, members, start)
    pickler.hold(obj, (members, registry))
    identity = internals._get_or_create_tracker_id(obj)  # noqa: SLF001
    if issubclass(type(obj), _UNCALLED):
        made = Call(type.__new__, type(obj), obj.__name__, obj.__bases__, start)
        return internals._lookup_class_or_track, (identity, made)  # noqa: SLF001
    arguments = (type(obj), obj.__name__, obj.__bases__, start, identity, None)
    return internals._make_skeleton_class, arguments  # noqa: SLF001


def _set_otherwise(cls: Any, members: dict[str, Any]) -> list[str]:
    """Return members that cannot be set on a class: its metaclass has something of that name."""
    metaclass = type(cls)
    return [
        name
        for name in members
        if name not in _TAKEN and hasattr(type(_held(metaclass, name)), "__set__")
    ]


def _held(cls: type, name: str) -> Any:
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)


class Call:
    """Stands in the stream for what a call returns."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments


@reducer("casflow.serialize.reducers.Call")
def call(_: StagePickler, obj: Any) -> Any:
    """Put the call in the place of what stands for it."""
    return obj.function, obj.arguments


@reducer("builtins.builtin_function_or_method")
def bound_builtin(pickler: StagePickler, obj: Any) -> Any:
    """Refer by name to a method of an instance that an installed module keeps, such as `random`."""
    return _exported(pickler, obj)


@reducer("builtins.method")
def bound_method(pickler: StagePickler, obj: Any) -> Any:
    """Refer by name to a method of an instance that an installed module keeps, such as `choice`."""
    return _exported(pickler, obj)


def _exported(pickler: StagePickler, obj: Any) -> Any:
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


def _own_members(obj: Any) -> dict[str, Any]:
    """Return what a class's own dict holds, save caches and what its making brings."""
    members = {}
    for name in sorted(vars(obj)):
        value = vars(obj)[name]
        kind = type(value)
        if name in _CACHES or (name == "__annotations__" and not value):
            continue
        if kind is types.MemberDescriptorType and value.__objclass__ is obj:
            continue
        if kind is types.GetSetDescriptorType and name in ("__dict__", "__weakref__"):
            continue
        if name in ("__module__", "__qualname__"):
            continue
        members[name] = value
    if isinstance(obj, abc.ABCMeta) and "_abc_impl" in vars(obj):
        registry = abc._get_dump(obj)[0]  # type: ignore[attr-defined]  # noqa: SLF001
        alive = [each for each in (reference() for reference in registry) if each is not None]
        members["_abc_impl"] = alive or None
    if members.get("__pydantic_complete__"):
        # Local variables in which pydantic looks for names until a model is complete; loading
        # would fill them with those of the loader, so None must stand in their place.
        members["__pydantic_parent_namespace__"] = None
        members = {name: members[name] for name in sorted(members)}
    return members


def _enum(pickler: StagePickler, obj: Any, members: dict[str, Any], start: dict[str, Any]) -> Any:
    """Make an enum by `type` alone, then restore its members in order and all that it holds."""
    ordered = members.pop("_member_map_")
    members.pop("_inverted_", None)
    known = {id(each) for each in ordered.values()}
    by_value = members["_value2member_map_"].items()
    members["_value2member_map_"] = {key: value for key, value in by_value if id(value) in known}
    start["_member_map_"] = {}
    pickler.hold(obj, (members, None, list({id(each): each for each in ordered.values()}.values())))
    aliases = {name: each for name, each in ordered.items() if each._name_ != name}
    if aliases:
        pickler.hold(Call(getattr, obj, "_member_map_"), aliases)
    identity = internals._get_or_create_tracker_id(obj)  # noqa: SLF001
    made = Call(type.__new__, type(obj), obj.__name__, obj.__bases__, start)
    return internals._lookup_class_or_track, (identity, made)  # noqa: SLF001


@reducer("enum.Enum")
def enum_member(pickler: StagePickler, obj: Any) -> Any:
    """Make the members of a project's enum anew, with all attributes that they have."""
    kind = type(obj)
    if not pickler.travels(kind) or "_member_map_" not in vars(kind):
        return NotImplemented
    if kind._member_map_.get(obj._name_) is not obj:
        return kind, (obj._value_,)
    plain = kind._member_type_
    if plain is object:
        fresh = Call(object.__new__, kind)
    elif plain in (int, str, float, bytes, tuple):
        fresh = Call(plain.__new__, kind, _plain_value(plain, obj))
    else:
        return kind, (obj._value_,)
    state = {name: value for name, value in vars(obj).items() if name not in _MEMBER_CACHES}
    pickler.hold(obj, (state, None))
    return dict.setdefault, (Call(getattr, kind, "_member_map_"), obj._name_, fresh)


def _plain_value(plain: Any, obj: Any) -> Any:
    return plain.__str__(obj) if plain is str else plain(obj)


def _is_builtin(obj: Any) -> bool:
    return (
        obj in (type(None), type(Ellipsis), type(NotImplemented))
        or obj in internals._BUILTIN_TYPE_NAMES  # noqa: SLF001
    )


def _is_generated(cls: Any, doc: str) -> bool:
    """Tell whether `dataclass` made the text of a class: it names modules, and may hold a set."""
    if "__dataclass_fields__" not in vars(cls) or not doc.startswith(f"{cls.__name__}("):
        return False
    try:
        signature = str(inspect.signature(cls)).replace(" -> None", "")
    except (TypeError, ValueError):
        return True  # what was made from a signature that is none any more
    return doc == f"{cls.__name__}{signature}"


@reducer("builtins.module")
def module(pickler: StagePickler, obj: Any) -> Any:
    """Pickle the modules of a project by value, whole: nobody says which names are used."""
    if not pickler.is_local_module(obj):
        return NotImplemented
    from casflow.serialize.pickler import same

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
def lru_cache(pickler: StagePickler, obj: Any) -> Any:
    """Pickle a cached function of a project by value, with an empty cache."""
    wrapped = obj.__wrapped__
    found = internals._lookup_module_and_qualname(obj)  # noqa: SLF001
    if found is not None and not pickler.scope.is_local(found[0].__name__):
        return NotImplemented
    parameters = obj.cache_parameters()
    members = {**obj.__dict__, "cache_parameters": functools.partial(dict, **parameters)}
    info = functools._CacheInfo  # noqa: SLF001
    arguments = (wrapped, parameters["maxsize"], parameters["typed"], info)
    return type(obj), arguments, members


@reducer("weakref.WeakKeyDictionary", "weakref.WeakValueDictionary")
def weak_dictionary(_: StagePickler, obj: Any) -> Any:
    """Pickle what a dictionary of weak references holds now, without the references."""
    return type(obj), (), None, None, iter(list(obj.items()))


@reducer("_struct.Struct")
def struct(_: StagePickler, obj: Any) -> Any:
    """Make a compiled format anew."""
    return (type(obj), (obj.format,)) if obj.__class__.__module__ == "_struct" else NotImplemented


@reducer(*{f"sys.{type(each).__qualname__}" for each in vars(sys).values()})
def of_interpreter(_: StagePickler, obj: Any) -> Any:
    """Refer to what `sys` says of the interpreter by name: it is that of whoever runs the code."""
    name = type(obj).__qualname__
    return (getattr, (sys, name)) if getattr(sys, name, None) is obj else NotImplemented


def with_own_reduction(pickler: StagePickler, obj: Any) -> Any:
    """Make an object of a project that says it is a global: there is no module to find it in."""
    kind = type(obj)
    if not pickler.travels(kind):
        return NotImplemented
    reduction = obj.__reduce_ex__(PROTOCOL)
    if isinstance(reduction, str):
        return copyreg.__newobj__, (kind,), object.__getstate__(obj)  # type: ignore[attr-defined]
    return reduction


@reducer("functools.partial")
def partial(_: StagePickler, obj: Any) -> Any:
    """Leave out the empty dict that a partial gets when somebody looks for its attributes."""
    reduction = obj.__reduce_ex__(PROTOCOL)
    if type(obj) is functools.partial and reduction[2][3] == {}:
        return (*reduction[:2], (*reduction[2][:3], None))
    return reduction


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


@reducer("logging.Logger")
def logger(pickler: StagePickler, obj: Any) -> Any:
    """Name the loggers of a module after its file, as the module itself, and those below them."""
    if type(obj) is logging.RootLogger:
        return logging.getLogger, ()
    return logging.getLogger, (pickler.scope.name_within(obj.name),)


@reducer("typing.ForwardRef")
def forward_reference(pickler: StagePickler, obj: Any) -> Any:
    """Leave out what a name in quotes was found to be when somebody looked."""
    module = obj.__forward_module__
    slots: dict[str, Any] = {}
    if module is not None:
        slots["__forward_module__"] = pickler.scope.name_of(module)
    if obj.__forward_is_class__:
        slots["__forward_is_class__"] = True
    reduction = typing.ForwardRef, (obj.__forward_arg__, obj.__forward_is_argument__)
    return (*reduction, (None, slots)) if slots else reduction


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
    module = pickler.scope.name_of(obj.__module__)
    return typing.NewType, (obj.__name__, obj.__supertype__), {"__module__": module}


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
