"""What the byte code of a function says about modules.

Owns the reading of instructions. Invariant: the answers follow from the code and from what can be
imported, never from what happens to have been imported before.
"""

from __future__ import annotations

import dis
import importlib
import opcode
import types
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_IMPORT_NAME = opcode.opmap["IMPORT_NAME"]
_LOADS = {"LOAD_GLOBAL", "LOAD_DEREF", "LOAD_NAME", "LOAD_CLASSDEREF"}
_ATTRIBUTES = {"LOAD_ATTR", "LOAD_METHOD"}


def submodules_of(function: types.FunctionType) -> list[types.ModuleType]:
    """Return the sub-modules that a function reaches as attributes of packages, by name.

    `concurrent.futures` is used as an attribute of `concurrent`; whoever loads the function must
    have imported both.
    """
    packages = {name: value for name, value in _visible(function) if _is_package(value)}
    if not packages:
        return []
    found: dict[str, types.ModuleType] = {}
    for code in _codes(function.__code__):
        for name, attributes in _chains(code):
            if name in packages:
                found.update(_descend(packages[name], attributes))
    return [found[name] for name in sorted(found)]


def _visible(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    code = function.__code__
    names = {name for each in _codes(code) for name in each.co_names}
    scope = function.__globals__
    yield from ((name, scope[name]) for name in names if name in scope)
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:
            continue  # not filled yet


def _is_package(value: Any) -> bool:
    return isinstance(value, types.ModuleType) and hasattr(value, "__path__")


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _chains(code: types.CodeType) -> Iterator[tuple[str, list[str]]]:
    """Yield each name that is loaded with the attributes that are read from it one by one."""
    name, attributes = "", []
    for instruction in dis.get_instructions(code):
        if instruction.opname in _ATTRIBUTES and name:
            attributes.append(instruction.argval)
            continue
        if attributes:
            yield name, attributes
        name = str(instruction.argval) if instruction.opname in _LOADS else ""
        attributes = []


def _descend(package: Any, attributes: list[str]) -> dict[str, types.ModuleType]:
    found = {}
    for attribute in attributes:
        module = _submodule(package, attribute)
        if module is None:
            break
        found[module.__name__] = package = module
    return found


def _submodule(package: Any, attribute: str) -> types.ModuleType | None:
    if not _is_package(package):
        return None
    name = f"{package.__name__}.{attribute}"
    value = getattr(package, attribute, None)
    if value is None and find_spec(name) is not None:
        value = importlib.import_module(name)
    return value if isinstance(value, types.ModuleType) and value.__name__ == name else None


def imports_of(code: types.CodeType, package: str) -> list[str]:
    """Return the modules that code imports when it runs, relative ones by their full name."""
    names = []
    for each in _codes(code):
        if _IMPORT_NAME in each.co_code[::2]:
            names += [_absolute(name, level, package) for name, level in _imports(each)]
    return names


def _imports(code: types.CodeType) -> Iterator[tuple[str, int]]:
    constants: list[Any] = []
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            level = constants[-2] if len(constants) > 1 else 0
            yield instruction.argval, level if isinstance(level, int) else 0
        constants.append(instruction.argval if instruction.opname == "LOAD_CONST" else None)


def _absolute(name: str, level: int, package: str) -> str:
    if not level:
        return name
    parents = package.split(".")
    parents = parents[: len(parents) - level + 1]
    return ".".join([*parents, name] if name else parents)
