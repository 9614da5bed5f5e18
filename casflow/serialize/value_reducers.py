"""How values of the standard library and of well-known libraries are pickled.

Owns what each of them says that differs from process to process. Invariant: what is loaded is
equal to what was there, save for what an import makes anew.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import re
import sys
import typing
from typing import TYPE_CHECKING, Any

from casflow.serialize.compat import internals
from casflow.serialize.reducers import PROTOCOL, reducer

if TYPE_CHECKING:
    from casflow.serialize.reducers import Pickling

_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@reducer("os._Environ")
def environment(_: Pickling, obj: Any) -> Any:
    """Refer to the variables of the process by name: they are those of whoever runs the code."""
    names = [name for name in ("environ", "environb") if getattr(os, name, None) is obj]
    return (getattr, (os, names[0])) if names else NotImplemented


@reducer("_io.TextIOWrapper")
def standard_input(_: Pickling, obj: Any) -> Any:
    """Refer to standard input by name, as cloudpickle does to the other two."""
    return (getattr, (sys, "stdin")) if obj is sys.stdin else NotImplemented


@reducer("weakref.WeakKeyDictionary", "weakref.WeakValueDictionary")
def weak_dictionary(_: Pickling, obj: Any) -> Any:
    """Pickle what a dictionary of weak references holds now, without the references."""
    return type(obj), (), None, None, iter(list(obj.items()))


@reducer("_struct.Struct")
def struct(_: Pickling, obj: Any) -> Any:
    """Make a compiled format anew."""
    return (type(obj), (obj.format,)) if obj.__class__.__module__ == "_struct" else NotImplemented


@reducer(*{f"sys.{type(each).__qualname__}" for each in vars(sys).values()})
def of_interpreter(_: Pickling, obj: Any) -> Any:
    """Refer to what `sys` says of the interpreter by name: it is that of whoever runs the code."""
    name = type(obj).__qualname__
    return (getattr, (sys, name)) if getattr(sys, name, None) is obj else NotImplemented


@reducer("functools.partial")
def partial(_: Pickling, obj: Any) -> Any:
    """Leave out the empty dict that a partial gets when somebody looks for its attributes."""
    reduction = obj.__reduce_ex__(PROTOCOL)
    if type(obj) is functools.partial and reduction[2][3] == {}:
        return (*reduction[:2], (*reduction[2][:3], None))
    return reduction


@reducer("functools.cached_property")
def cached_property(_: Pickling, obj: Any) -> Any:
    """Leave out the lock that a cached property has before 3.12."""
    if type(obj) is not functools.cached_property:
        return NotImplemented
    return type(obj), (obj.func,), {"attrname": obj.attrname, "__doc__": obj.__doc__}


@reducer("builtins.property")
def own_property(_: Pickling, obj: Any) -> Any:
    """Make an instance of a subclass of property of what it was made of."""
    kind = type(obj)
    if kind is property or kind.__init__ is not property.__init__:
        return NotImplemented
    own = kind.__doc__ is obj.__doc__ or (obj.fget and obj.fget.__doc__ == obj.__doc__)
    parts = (obj.fget, obj.fset, obj.fdel, *(() if own else (obj.__doc__,)))
    return kind, parts, obj.__dict__ or None


@reducer("builtins.classmethod", "builtins.staticmethod")
def own_method(_: Pickling, obj: Any) -> Any:
    """Make an instance of a subclass of classmethod or staticmethod of its function."""
    kind = type(obj)
    if kind in (classmethod, staticmethod):
        return NotImplemented
    function = obj.__func__
    names = ("__module__", "__name__", "__qualname__", "__doc__", "__wrapped__")
    return kind, (function,), {k: v for k, v in vars(obj).items() if k not in names} or None


@reducer(
    "dataclasses._MISSING_TYPE",
    "dataclasses._HAS_DEFAULT_FACTORY_CLASS",
    "dataclasses._KW_ONLY_TYPE",
)
def dataclass_sentinel(_: Pickling, obj: Any) -> Any:
    """Refer to the markers of dataclasses by name, so that they stay the only ones."""
    for name in ("MISSING", "_HAS_DEFAULT_FACTORY", "KW_ONLY"):
        if obj is getattr(dataclasses, name, None):
            return name
    return NotImplemented


@reducer("pydantic._internal._validate_call.ValidateCallWrapper")
def validated_call(_: Pickling, obj: Any) -> Any:
    """Leave out the variables around a function whose annotations pydantic has understood."""
    function, arguments, (attributes, slots), *_ = obj.__reduce_ex__(PROTOCOL)
    if "ns_resolver" in slots and hasattr(obj, "__pydantic_validator__"):
        slots = {**slots, "ns_resolver": type(obj.ns_resolver)()}
    return function, arguments, (attributes, slots)


@reducer("dask.delayed.DelayedLeaf")
def delayed(_: Pickling, obj: Any) -> Any:
    """Delay a function anew when its key was drawn at random, as an import does."""
    if not re.fullmatch(rf".*-{_UUID}", str(obj.key)):
        return NotImplemented
    return sys.modules["dask.delayed"].delayed, (obj._obj, None, obj._pure, obj._nout)  # noqa: SLF001


@reducer("logging.Logger")
def logger(pickler: Pickling, obj: Any) -> Any:
    """Name the loggers of a module after its file, as the module itself, and those below them."""
    if type(obj) is logging.RootLogger:
        return logging.getLogger, ()
    return logging.getLogger, (pickler.scope.name_within(obj.name),)


@reducer("typing.ForwardRef")
def forward_reference(pickler: Pickling, obj: Any) -> Any:
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
def type_variable(pickler: Pickling, obj: Any) -> Any:
    """Pickle the type variables of a project by value."""
    if not pickler.travels(obj, obj.__name__):
        return NotImplemented
    return internals._make_typevar, internals._decompose_typevar(obj)  # noqa: SLF001


@reducer("typing.ParamSpec", "typing.TypeVarTuple")
def parameter_variable(pickler: Pickling, obj: Any) -> Any:
    """Pickle further type variables of a project by value; a name would not be found."""
    if not pickler.travels(obj, obj.__name__):
        return NotImplemented
    return type(obj), (obj.__name__,)


@reducer("typing.NewType")
def new_type(pickler: Pickling, obj: Any) -> Any:
    """Pickle the new types of a project by value; a name would not be found."""
    if not pickler.travels(obj, obj.__name__):
        return NotImplemented
    module = pickler.scope.name_of(obj.__module__)
    return typing.NewType, (obj.__name__, obj.__supertype__), {"__module__": module}


@reducer("typing.TypeAliasType", "typing_extensions.TypeAliasType")
def type_alias(pickler: Pickling, obj: Any) -> Any:
    """Pickle the type aliases of a project by value; one that is of itself, by what it says."""
    if not pickler.travels(obj, obj.__name__):
        return NotImplemented
    try:
        value = obj.__value__
    except NameError:  # a name for type checkers alone
        value = obj.__name__
    if _is_within(obj, value):
        module = obj.__module__
        value = repr(value).replace(f"{module}.", f"{pickler.scope.name_of(module)}.")
    kind: Any = type(obj)
    return functools.partial(kind, obj.__name__, value, type_params=obj.__type_params__), ()


def _is_within(alias: Any, value: Any) -> bool:
    """Tell whether a type alias is part of a type."""
    work, seen = [value], set()
    while work:
        each = work.pop()
        if each is alias:
            return True
        if id(each) not in seen:
            seen.add(id(each))
            work += getattr(each, "__args__", None) or ()
            parts = (getattr(each, name, None) for name in ("__origin__", "__value__"))
            work += [part for part in parts if part is not None and not isinstance(part, type)]
    return False


@reducer("numpy.ufunc")
def ufunc(_: Pickling, obj: Any) -> Any:
    """Refer to numpy's functions by name in numpy, not in whichever module re-exports them."""
    numpy = sys.modules["numpy"]
    name = obj.__name__
    return (getattr, (numpy, name)) if getattr(numpy, name, None) is obj else NotImplemented


@reducer("numpy.dtype")
def dtype(_: Pickling, obj: Any) -> Any:
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
