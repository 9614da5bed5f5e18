"""What a live object is, as plain data that two processes can compare.

Owns the look at functions, classes and values, independent of the serialiser. Invariant: nothing
that depends on the process is in it (addresses, hashes, lines), and an object that is met again is
a number, so that aliases count.
"""

from __future__ import annotations

import dis
import enum
import re
import types
from typing import Any

_ADDRESS = re.compile(r"0x[0-9a-fA-F]+|\d{12,}")
_ATOMS = (str, bytes, int, float, complex, bool, type(None), type(...), range)
_IDENTIFIED = (list, dict, set, bytearray, types.CellType)  # their aliases are meaning
_DEPTH, _WIDTH = 12, 60
_LEFT_OUT = {
    *("__weakref__", "__dict__", "__slotnames__", "_abc_impl", "__abstractmethods__"),
    *("__annotations_cache__", "__firstlineno__", "__static_attributes__", "_inverted_"),
    *("__pydantic_core_schema__", "__pydantic_validator__", "__pydantic_serializer__"),
    *("__pydantic_parent_namespace__", "__signature__", "__warningregistry__"),
}


class Description:
    """One description in the making."""

    def __init__(self, local: str) -> None:
        self._local = local
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []

    def of(self, obj: Any, depth: int = 0) -> Any:
        """Return an object as plain data."""
        if isinstance(obj, _ATOMS) and type(obj) in _ATOMS:
            return _ADDRESS.sub("*", repr(obj))[:400]
        if id(obj) in self._seen:
            return f"#{self._seen[id(obj)]}"
        if depth > _DEPTH:
            return type(obj).__name__
        if isinstance(obj, _IDENTIFIED) or type(obj) is object or self._is_own(obj):
            self._seen[id(obj)] = len(self._seen)
            self._kept.append(obj)
        try:
            return self._parts(obj, depth + 1)
        except Exception as error:
            return f"{type(obj).__name__} ({type(error).__name__})"

    def _parts(  # noqa: PLR0911 - one line for each kind
        self, obj: Any, depth: int
    ) -> Any:
        if isinstance(obj, types.FunctionType):
            return self._function(obj, depth) if self._is_local(obj) else _name(obj)
        if isinstance(obj, type):
            return self._class(obj, depth) if self._is_local(obj) else _name(obj)
        if isinstance(obj, types.ModuleType):
            return f"module {obj.__name__}"
        if isinstance(obj, (staticmethod, classmethod)):
            return [type(obj).__name__, self.of(obj.__func__, depth)]
        if isinstance(obj, property):
            parts = (obj.fget, obj.fset, obj.fdel, obj.__doc__)
            return ["property", *(self.of(each, depth) for each in parts)]
        if isinstance(obj, types.MethodType):
            return ["method", self.of(obj.__func__, depth), self.of(obj.__self__, depth)]
        if isinstance(obj, types.CodeType):
            return self._code(obj, depth)
        return self._value(obj, depth)

    def _value(  # noqa: PLR0911 - one line for each kind
        self, obj: Any, depth: int
    ) -> Any:
        kind = type(obj).__qualname__
        if isinstance(obj, (dict, types.MappingProxyType)):
            pairs = list(obj.items())[:_WIDTH]
            found: list[Any] = [
                [self.of(key, depth), self.of(value, depth)] for key, value in pairs
            ]
            return [kind, len(obj), *found]
        if isinstance(obj, (list, tuple)):
            return [kind, len(obj), *(self.of(each, depth) for each in obj[:_WIDTH])]
        if isinstance(obj, (set, frozenset)):
            plain = sorted(
                _ADDRESS.sub("*", repr(each)) for each in obj if isinstance(each, _ATOMS)
            )
            return [kind, len(obj), *plain[:_WIDTH]]
        if isinstance(obj, enum.Enum):
            return [kind, obj._name_, self.of(obj._value_, depth)]
        if isinstance(obj, re.Pattern):
            return ["pattern", obj.pattern, obj.flags]
        if self._is_local(type(obj)):
            held = {**_slots_of(obj), **getattr(obj, "__dict__", {})}
            named = [[name, self.of(held[name], depth)] for name in sorted(held, key=str)[:_WIDTH]]
            return [kind, *named]
        return kind

    def _is_own(self, obj: Any) -> bool:
        """Tell whether an object is a function or class of the package, or made by one."""
        is_kind = isinstance(obj, (types.FunctionType, type))
        return self._is_local(obj if is_kind else type(obj))

    def _is_local(self, obj: Any) -> bool:
        module = getattr(obj, "__module__", None)
        return isinstance(module, str) and module.partition(".")[0] == self._local

    def _function(self, obj: types.FunctionType, depth: int) -> Any:
        code = obj.__code__
        used = {name: obj.__globals__[name] for name in _globals(code) if name in obj.__globals__}
        cells = []
        for cell in obj.__closure__ or ():
            try:
                cells.append(self.of(cell.cell_contents, depth))
            except ValueError:
                cells.append("empty")
        annotations = dict(obj.__annotations__)  # an empty one may be shared by chance
        parts = (obj.__defaults__, obj.__kwdefaults__, annotations, obj.__dict__)
        return [
            *("function", obj.__name__, obj.__qualname__, obj.__module__, obj.__doc__),
            self._code(code, depth),
            cells,
            *(self.of(each, depth) for each in parts),
            [[name, self.of(used[name], depth)] for name in sorted(used)],
        ]

    def _code(self, code: types.CodeType, depth: int) -> Any:
        return [
            *("code", code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars),
            *(code.co_cellvars, code.co_flags, code.co_argcount, code.co_kwonlyargcount),
            [self.of(each, depth) for each in code.co_consts],
        ]

    def _class(self, obj: type, depth: int) -> Any:
        own = vars(obj)
        members = {
            name: value
            for name, value in own.items()
            if name not in _LEFT_OUT
            and not (name == "__annotations__" and not value)
            and not (name == "__doc__" and _is_generated(obj, value))
            and not isinstance(value, (types.MemberDescriptorType, types.GetSetDescriptorType))
        }
        return [
            *("class", obj.__name__, obj.__qualname__, obj.__module__, type(obj).__qualname__),
            [each.__qualname__ for each in obj.__mro__],
            [obj.__dictoffset__ != 0, obj.__weakrefoffset__ != 0, obj.__basicsize__],
            sorted(getattr(obj, "__abstractmethods__", ())),
            [[name, self.of(members[name], depth)] for name in sorted(members)],
            [self.of(base, depth) for base in obj.__bases__],
        ]


def _is_generated(obj: type, doc: Any) -> bool:
    """Tell whether `dataclass` made a text, which names modules and is left out on purpose."""
    return "__dataclass_fields__" in vars(obj) and str(doc).startswith(f"{obj.__name__}(")


def _name(obj: Any) -> str:
    return f"{obj.__module__}.{obj.__qualname__}"


def _slots_of(obj: Any) -> dict[str, Any]:
    found = {}
    for base in type(obj).__mro__:
        for name, value in vars(base).items():
            if isinstance(value, types.MemberDescriptorType):
                try:
                    found[name] = value.__get__(obj)
                except AttributeError:
                    continue
    return found


def _globals(code: types.CodeType) -> set[str]:
    found = {
        each.argval
        for each in dis.get_instructions(code)
        if each.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    }
    return found.union(*(_globals(each) for each in code.co_consts if hasattr(each, "co_code")))


def first_difference(a: Any, b: Any, path: str = "") -> str | None:
    """Return where two descriptions differ first, None when they are alike."""
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        for at, (one, two) in enumerate(zip(a, b, strict=False)):
            if (found := first_difference(one, two, f"{path}/{_label(a, at)}")) is not None:
                return found
        sizes = f"{path}: {len(a)} and {len(b)} parts"
        return None if len(a) == len(b) else f"{sizes}: {str(a)[:200]} <> {str(b)[:200]}"
    return None if a == b else f"{path}: {str(a)[:80]} <> {str(b)[:80]}"


def _label(parts: Any, at: int) -> str:
    one = parts[at]
    if isinstance(one, (list, tuple)) and len(one) == 2 and isinstance(one[0], str):
        return one[0]
    return f"{at}"
