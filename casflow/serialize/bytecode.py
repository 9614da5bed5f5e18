"""What the byte code of a function says about modules.

Owns the reading of instructions. Invariant: the answers follow from the code and from what can be
imported, never from what happens to have been imported before.
"""

from __future__ import annotations

import dis
import opcode
import types
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_IMPORT_NAME = opcode.opmap["IMPORT_NAME"]
_LOAD_NAME = opcode.opmap["LOAD_NAME"]
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
_NOTHING = {"CACHE", "EXTENDED_ARG", "NOP"}
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
                name = names[argument >> 1 if op in _SHIFTED else argument]
                if op != _LOAD_NAME or name != "__annotations__":  # that of the class itself
                    found[name] = None
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
        for name, chain in _reads(each, _loaded):
            found.setdefault(name, {})[chain] = None
    return {name: tuple(chains) for name, chains in found.items()}


def _chains_of(code: types.CodeType, variable: str) -> tuple[tuple[str, ...], ...] | None:
    """Return the attributes that are read of a local variable, None when it is handed on."""
    chains = {chain for name, chain in _reads(code, _loaded_fast) if name == variable}
    return None if () in chains else tuple(sorted(chains))


def _reads(
    code: types.CodeType, loaded: Callable[[dis.Instruction], tuple[str, ...]]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each name that is loaded, with the attributes that are read from it at once."""
    name: str | None = None
    attributes: list[str] = []
    for instruction in dis.get_instructions(code):
        operation = instruction.opname
        if operation in _ATTRIBUTES and name is not None:
            attributes.append(instruction.argval)
            if operation not in _LAST:
                continue
        elif operation in _NOTHING:
            continue
        if name is not None:
            yield name, tuple(attributes)
        *others, name = loaded(instruction) or (None,)
        yield from ((each, ()) for each in others if each is not None)
        attributes = []


def _loaded(instruction: dis.Instruction) -> tuple[str, ...]:
    return (str(instruction.argval),) if instruction.opname in _LOADS else ()


def _loaded_fast(instruction: dis.Instruction) -> tuple[str, ...]:
    """Return the local variables that are loaded; since 3.13 one instruction may take two."""
    if not instruction.opname.startswith(("LOAD_FAST", "STORE_FAST_LOAD")):
        return ()
    names = instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
    return names[1:] if instruction.opname.startswith("STORE") else names


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


@dataclass(frozen=True, slots=True)
class Import:
    """A module that code imports when it runs.

    Attributes:
        name: Its full name.
        wanted: The names that are taken from it.
        relative: Whether it is named relative to the package of the code.
        chains: For `import a.b`: the attributes that are read of what is bound, one by one; None
            when it is used otherwise, too.
    """

    name: str
    wanted: tuple[str, ...] = ()
    relative: bool = False
    chains: tuple[tuple[str, ...], ...] | None = None


def imports_of(code: types.CodeType, package: str) -> list[Import]:
    """Return the modules that code imports when it runs."""
    found = []
    for each in _codes(code):
        if _IMPORT_NAME in each.co_code[::2]:
            for name, level, wanted, bound in _imports(each):
                chains = None if bound is None else _chains_of(each, bound)
                found.append(Import(_absolute(name, level, package), wanted, level > 0, chains))
    return found


def _imports(
    code: types.CodeType,
) -> Iterator[tuple[str, int, tuple[str, ...], str | None]]:
    """Yield name, level, names that are taken, and the local variable that a module is bound to."""
    constants: list[Any] = []
    instructions = [each for each in dis.get_instructions(code) if each.opname not in _NOTHING]
    for instruction, following in zip_longest(instructions, instructions[1:]):
        if instruction.opname == "IMPORT_NAME":
            level, names = constants[-2:] if len(constants) > 1 else (0, None)
            wanted = names if isinstance(names, tuple) else ()
            bound = _bound(following)
            yield instruction.argval, level if isinstance(level, int) else 0, wanted, bound
        is_constant = instruction.opname in ("LOAD_CONST", "LOAD_SMALL_INT")
        constants.append(instruction.argval if is_constant else None)


def _bound(store: dis.Instruction | None) -> str | None:
    """Return the local variable that takes what was made just before, None when it is none."""
    if store is None or not store.opname.startswith("STORE_FAST"):
        return None
    return store.argval[0] if isinstance(store.argval, tuple) else str(store.argval)


def _absolute(name: str, level: int, package: str) -> str:
    if not level:
        return name
    parents = package.split(".")
    parents = parents[: len(parents) - level + 1]
    return ".".join([*parents, name] if name else parents)
