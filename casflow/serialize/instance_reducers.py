"""How instances of a project's classes are pickled where their class would be in the way.

Owns the choice of a rule for a type, and the rules for what its methods do to pickling and loading:
its own reduction, `__new__` and `__init__` with further arguments, `__getattr__`, `__setattr__`.
Invariant: none of them runs when an instance is loaded, unless the class says by itself how its
instances are pickled.
"""

from __future__ import annotations

import copyreg
import pickle
import types
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from casflow.serialize.reducers import PROTOCOL, REDUCERS, reducer, set_state

if TYPE_CHECKING:
    from casflow.serialize.reducers import Pickling, Reducer

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by code, and gone some day
PLAIN = (tuple, str, int, float, complex, bytes)


def reducer_for(kind: type) -> Reducer | None:
    """Return the rule for objects of a type, found by its own name or that of a base."""
    return _find(kind) if kind.__flags__ & _HEAP_TYPE else _find_builtin(kind)


@lru_cache(maxsize=1024)
def _find_builtin(kind: type) -> Reducer | None:
    return _find(kind)


def _find(kind: type) -> Reducer | None:
    for base in kind.__mro__:
        found = REDUCERS.get(f"{base.__module__}.{base.__qualname__}")
        if found is not None:
            return found
    if _reduces_itself(kind):
        return with_own_reduction
    if _makes_itself(kind):
        return plain_subclass
    return past_methods if _meddles(kind) else None


def _reduces_itself(kind: type) -> bool:
    """Tell whether Python code says how objects of a type are pickled."""
    found = (
        vars(base).get(name) for base in kind.__mro__ for name in ("__reduce_ex__", "__reduce__")
    )
    return isinstance(next(filter(None, found), None), types.FunctionType)


def _is_default(kind: type, name: str, base: type = object) -> bool:
    return getattr(kind, name) is getattr(base, name)


def _meddles(kind: type) -> bool:
    """Tell whether methods of a class are called when attributes are restored, and may not bear it.

    `__getattr__` is asked for `__setstate__`, and `__setattr__` is called for slots.
    """
    if hasattr(kind, "__setstate__") or issubclass(kind, (type, types.ModuleType)):
        return False
    asks = any("__getattr__" in vars(base) for base in kind.__mro__)
    asks |= isinstance(kind.__getattribute__, types.FunctionType)
    sets = isinstance(kind.__setattr__, types.FunctionType)
    return asks or (sets and any(vars(base).get("__slots__") for base in kind.__mro__))


def _makes_itself(kind: type) -> bool:
    """Tell whether a subclass of an immutable type has a `__new__` that may want something else."""
    if not issubclass(kind, PLAIN):
        return False
    names = ("__new__", "__getnewargs__", "__getnewargs_ex__")  # the first that a base has
    own = (next((each for each in names if each in vars(base)), None) for base in kind.__mro__)
    said = next(filter(None, own))
    return said == "__new__" and isinstance(kind.__new__, types.FunctionType)


def with_own_reduction(pickler: Pickling, obj: Any) -> Any:
    """Make an object of a project that says it is a global: there is no module to find it in."""
    kind = type(obj)
    unusable = _is_default(kind, "__reduce_ex__") and kind.__reduce__ is None
    if unusable or kind in pickler.dispatch_table:
        return NotImplemented
    reduction = obj.__reduce_ex__(PROTOCOL)
    if isinstance(reduction, str):
        home = pickle.whichmodule(obj, reduction)  # type: ignore[attr-defined]
        if not pickler.travels(kind) and not pickler.scope.is_local(home):
            return reduction
        return copyreg.__newobj__, (kind,), object.__getstate__(obj)  # type: ignore[attr-defined]
    return reduction


def plain_subclass(pickler: Pickling, obj: Any) -> Any:
    """Make an instance of a project's subclass of text, tuple or number past its `__new__`."""
    kind = type(obj)
    if not pickler.travels(kind):
        return NotImplemented
    plain = next(each for each in PLAIN if isinstance(obj, each))
    return plain.__new__, (kind, plain_value(plain, obj)), object.__getstate__(obj)


def plain_value(plain: Any, obj: Any) -> Any:
    """Return an instance of a subclass as the plain type has it, past its own methods."""
    if plain is tuple:
        return tuple(tuple.__iter__(obj))
    return plain.__getnewargs__(obj)[0] if plain is not complex else complex(obj.real, obj.imag)


def past_methods(pickler: Pickling, obj: Any) -> Any:
    """Restore the attributes of an instance past methods of its class that would be in the way."""
    if not pickler.travels(type(obj)) and _bears_questions(type(obj)):
        return NotImplemented
    reduction = object.__reduce_ex__(obj, PROTOCOL)
    function, arguments, state, *rest = (*reduction, None, None, None)[:5]
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    if not (isinstance(attributes, dict) or slots):
        return reduction
    return function, arguments, (attributes, slots), *rest, set_state


def _bears_questions(kind: type) -> bool:
    """Tell whether an empty instance can be asked for `__setstate__`, as loading does."""
    try:
        empty: Any = object.__new__(kind)
    except TypeError:
        return True
    try:
        hasattr(empty, "__setstate__")
    except Exception:  # noqa: BLE001 - it looks for an attribute that is not there yet
        return False
    return True


# Exceptions that keep what they are given elsewhere than in `args`.
_ARGUMENTS_ELSEWHERE: tuple[type, ...] = (
    OSError,
    ImportError,
    SyntaxError,
    UnicodeError,
    StopIteration,
    SystemExit,
)
_ARGUMENTS_ELSEWHERE += (AttributeError, NameError, BaseExceptionGroup)


@reducer("builtins.BaseException")
def exception(pickler: Pickling, obj: Any) -> Any:
    """Make a project's exceptions past their `__init__`, which may want something else.

    The empty dict that an exception gets when somebody looks for its attributes is left out.
    """
    reduction = obj.__reduce_ex__(PROTOCOL)
    if not isinstance(reduction, tuple):
        return reduction
    kind = type(obj)
    plain = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    past_init = (
        _is_default(kind, "__reduce__", BaseException)
        and _is_default(kind, "__reduce_ex__")
        and not issubclass(kind, _ARGUMENTS_ELSEWHERE)
        and isinstance(kind.__init__, types.FunctionType)
        and kind.__new__ is plain.__new__
        and pickler.travels(kind)
    )
    if past_init:
        reduction = (plain.__new__, (kind, *obj.args), *reduction[2:])
    return reduction[:2] if reduction[2:] == ({},) else reduction


@reducer("builtins.set", "builtins.frozenset")
def set_subclass(_: Pickling, obj: Any) -> Any:
    """Hand the members of a subclass of set over as a set: a list would have an order."""
    kind = type(obj)
    plain = set if isinstance(obj, set) else frozenset
    if "__reduce_ex__" in _overridden(kind, plain) or "__reduce__" in _overridden(kind, plain):
        return NotImplemented
    return kind, (plain(obj),), obj.__getstate__()


def _overridden(kind: type, plain: type) -> set[str]:
    return {name for base in kind.__mro__[: kind.__mro__.index(plain)] for name in vars(base)}
