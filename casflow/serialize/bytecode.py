"""What the byte code of a function says about modules.

Owns the reading of instructions. Invariant: the answers follow from the code and from what can be
imported, never from what happens to have been imported before.
"""

from __future__ import annotations

import dis
import opcode
import types
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_IMPORT_NAME = opcode.opmap["IMPORT_NAME"]
_EXTENDED_ARG = opcode.EXTENDED_ARG
_SHIFTED = {opcode.opmap["LOAD_GLOBAL"]}
_GLOBALS = _SHIFTED | {
    opcode.opmap[name]
    for name in (
        *("LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"),
        *("LOAD_FROM_DICT_OR_GLOBALS",),
    )
    if name in opcode.opmap
}
_LOADS = {
    *("LOAD_GLOBAL", "LOAD_DEREF", "LOAD_NAME", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS"),
    "LOAD_FROM_DICT_OR_DEREF",
}
_ATTRIBUTES = {"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR"}
_LAST = {"STORE_ATTR", "DELETE_ATTR"}


@lru_cache(maxsize=8192)
def globals_of(code: types.CodeType) -> tuple[str, ...]:
    """Return the names of the globals that code and the code within it reads or writes."""
    found: dict[str, None] = {}
    for each in _codes(code):
        raw, names, extended = each.co_code, each.co_names, 0
        for at in range(0, len(raw), 2):
            op = raw[at]
            if op == _EXTENDED_ARG:
                extended = (extended | raw[at + 1]) << 8
                continue
            if op in _GLOBALS:
                argument = extended | raw[at + 1]
                found[names[argument >> 1 if op in _SHIFTED else argument]] = None
            extended = 0
    return tuple(found)


def module_uses(
    function: types.FunctionType,
) -> list[tuple[types.ModuleType, tuple[tuple[str, ...], ...]]]:
    """Return the modules that a function sees, each with the attributes that it reads of it.

    A chain of attributes for each use: `a.b.c` gives `("b", "c")`, the module as a value `()`.
    """
    seen = [(name, value) for name, value in _visible(function) if _is_module(value)]
    if not seen:
        return []
    chains = _chains(function.__code__)
    return [(value, _with_names(value, chains.get(name, ((),)), function)) for name, value in seen]


def _with_names(
    module: types.ModuleType, chains: tuple[tuple[str, ...], ...], function: types.FunctionType
) -> tuple[tuple[str, ...], ...]:
    """Add what a function may reach of a package that it handles as a value: any name it says."""
    if () not in chains or not hasattr(module, "__path__"):
        return chains
    names = sorted({name for each in _codes(function.__code__) for name in each.co_names})
    return (*chains, *((name,) for name in names))


def _is_module(value: Any) -> bool:
    return isinstance(value, types.ModuleType)


def _visible(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    scope = function.__globals__
    names = globals_of(function.__code__)
    yield from ((name, scope[name]) for name in names if name in scope)
    cells = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:
            continue  # not filled yet


@lru_cache(maxsize=2048)
def _chains(code: types.CodeType) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Return for each name that is loaded the attributes that are read from it one by one."""
    found: dict[str, dict[tuple[str, ...], None]] = {}
    for each in _codes(code):
        name: str | None = None
        attributes: list[str] = []
        for instruction in dis.get_instructions(each):
            operation = instruction.opname
            if operation in _ATTRIBUTES and name is not None:
                attributes.append(instruction.argval)
                if operation not in _LAST:
                    continue
            elif operation in ("CACHE", "EXTENDED_ARG", "NOP"):
                continue
            if name is not None:
                found.setdefault(name, {})[tuple(attributes)] = None
            name = _loaded(instruction)
            attributes = []
    return {name: tuple(chains) for name, chains in found.items()}


def _loaded(instruction: dis.Instruction) -> str | None:
    return str(instruction.argval) if instruction.opname in _LOADS else None


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def imports_of(code: types.CodeType, package: str) -> list[tuple[str, tuple[str, ...], bool]]:
    """Return the modules that code imports when it runs, with the names that it takes from them.

    Relative ones have their full name, and True; without names, a module is used as a whole.
    """
    found = []
    for each in _codes(code):
        if _IMPORT_NAME in each.co_code[::2]:
            for name, level, wanted in _imports(each):
                found.append((_absolute(name, level, package), wanted, level > 0))
    return found


def _imports(code: types.CodeType) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    constants: list[Any] = []
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("CACHE", "EXTENDED_ARG"):
            continue
        if instruction.opname == "IMPORT_NAME":
            level, names = constants[-2:] if len(constants) > 1 else (0, None)
            wanted = names if isinstance(names, tuple) else ()
            yield instruction.argval, level if isinstance(level, int) else 0, wanted
        is_constant = instruction.opname in ("LOAD_CONST", "LOAD_SMALL_INT")
        constants.append(instruction.argval if is_constant else None)


def _absolute(name: str, level: int, package: str) -> str:
    if not level:
        return name
    parents = package.split(".")
    parents = parents[: len(parents) - level + 1]
    return ".".join([*parents, name] if name else parents)
