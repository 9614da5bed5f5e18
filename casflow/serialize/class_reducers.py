"""How classes and enums are pickled.

Owns what a class of a project is made of when it is empty, and what its own dict holds. Invariant:
what is restored is that dict, without what Python and libraries note in it for themselves.
"""

from __future__ import annotations

import abc
import enum
import inspect
import types
from typing import TYPE_CHECKING, Any

from casflow.serialize.compat import internals
from casflow.serialize.instance_reducers import PLAIN, plain_value
from casflow.serialize.reducers import Call, reducer

if TYPE_CHECKING:
    from casflow.serialize.reducers import Pickling

# What Python and cloudpickle leave in the dict of a class, and nothing reads.
_CACHES = frozenset(("__slotnames__", "__firstlineno__", "__static_attributes__"))
_CACHES |= {"__annotations_cache__", "__annotate_func__"}
# What `type` itself keeps of a class, and takes when it is set.
_TAKEN = frozenset(("__doc__", "__annotations__", "__abstractmethods__", "__type_params__"))
_MEMBER_CACHES = frozenset(("_inverted_",))  # what a flag notes when it is inverted
# Metaclasses that want to see the body of a class, which is gone.
_UNCALLED = {"enum.EnumType", "enum.EnumMeta"}
_UNCALLED |= {"typing._TypedDictMeta", "typing_extensions._TypedDictMeta"}


@reducer("builtins.type")
def class_(pickler: Pickling, obj: Any) -> Any:
    """Pickle the classes of a project by value: empty now, with what they hold later."""
    if _is_builtin(obj) or not pickler.travels(obj):
        return internals._class_reduce(obj)  # noqa: SLF001
    pickler.classes[id(obj)] = obj
    members = _own_members(obj)
    registry = members.pop("_abc_impl", None)
    module = vars(obj).get("__module__", obj.__module__)  # it may be a property
    module = pickler.scope.name_of(module) if isinstance(module, str) else module
    start = {"__module__": module, "__qualname__": obj.__qualname__}
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
    if any(f"{each.__module__}.{each.__qualname__}" in _UNCALLED for each in type(obj).__mro__):
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


def _enum(pickler: Pickling, obj: Any, members: dict[str, Any], start: dict[str, Any]) -> Any:
    """Make an enum by `type` alone, then restore its members in order and all that it holds."""
    ordered = members.pop("_member_map_")
    members.pop("_inverted_", None)
    known = {id(each) for each in ordered.values()}
    by_value = members["_value2member_map_"].items()
    members["_value2member_map_"] = {key: value for key, value in by_value if id(value) in known}
    start["_member_map_"] = {}
    if any(each._name_ != name for name, each in ordered.items()):
        members["_member_map_"] = dict(ordered)  # with its aliases, in their places
    pickler.hold(obj, (members, None, list({id(each): each for each in ordered.values()}.values())))
    identity = internals._get_or_create_tracker_id(obj)  # noqa: SLF001
    made = Call(type.__new__, type(obj), obj.__name__, obj.__bases__, start)
    return internals._lookup_class_or_track, (identity, made)  # noqa: SLF001


@reducer("enum.Enum")
def enum_member(pickler: Pickling, obj: Any) -> Any:
    """Make the members of a project's enum anew, with all attributes that they have."""
    kind = type(obj)
    if not pickler.travels(kind) or "_member_map_" not in vars(kind):
        return NotImplemented
    if kind._member_map_.get(obj._name_) is not obj:
        return kind, (obj._value_,)
    plain = kind._member_type_
    if plain is object:
        fresh = Call(object.__new__, kind)
    elif issubclass(plain, PLAIN):
        plain = next(each for each in PLAIN if issubclass(plain, each))
        fresh = Call(plain.__new__, kind, plain_value(plain, obj))
    elif plain.__new__ is object.__new__:
        fresh = Call(object.__new__, kind)
    else:
        return kind, (obj._value_,)
    state = {name: value for name, value in vars(obj).items() if name not in _MEMBER_CACHES}
    pickler.hold(obj, (state, None))
    return dict.setdefault, (Call(getattr, kind, "_member_map_"), obj._name_, fresh)


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
