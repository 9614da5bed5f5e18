"""The rules that take out of a graph what differs from process to process but means nothing.

Owns one small function per source of difference, each with its reason, in `RULES`. A new rule is
one function here and one case in tests/serialize/test_normalize.py. Invariant: a rule changes only
a record that it recognises in full; a record of cloudpickle that looks otherwise than it knows
raises `UnknownShapeError`, and the stream is stored as it came.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from casflow.serialize.emit import NO_IDENTITY
from casflow.serialize.graph import (
    BUILD,
    DICT,
    EFFECT,
    GLOBAL,
    LIST,
    SET,
    TUPLE,
    Item,
    Literal,
    Node,
    UnknownShapeError,
    integer,
    is_text,
    name_of,
    raw,
    text,
    text_of,
    value_of,
)
from casflow.serialize.records import NO_FILE, Context, Source, arguments, replace, rewrite

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_NO_LINE = integer(1)

Rule = tuple["tuple[str, str]", "Callable[[Node, Context], None]"]
RULES: list[Rule] = []


def apply(context: Context, rules: Collection[Rule] | None = None) -> None:
    """Rewrite a graph in place, call by call, in the order in which they were read.

    Raises:
        UnknownShapeError: A record does not look as cloudpickle writes it.
    """
    wanted: dict[tuple[bytes, ...], list[Callable[[Node, Context], None]]] = {}
    for (module, name), function in RULES if rules is None else rules:
        wanted.setdefault(_atoms(module, name), []).append(function)
    for call in list(context.graph.calls):
        target = call.items[0]
        if isinstance(target, Node) and target.kind == GLOBAL:
            for function in wanted.get(tuple(target.items), ()):
                function(call, context)
    schemas_without_addresses(context)
    if context.renamed:
        states_by_file(context)


@cache
def _atoms(module: str, name: str) -> tuple[bytes, bytes]:
    return text(module), text(name)


def rule(
    *targets: tuple[str, str],
) -> Callable[[Callable[[Node, Context], None]], Callable[[Node, Context], None]]:
    """Register a rule for calls of importable objects, given as module and name."""

    def register(function: Callable[[Node, Context], None]) -> Callable[[Node, Context], None]:
        RULES.extend((target, function) for target in targets)
        return function

    return register


_CLOUDPICKLE = "cloudpickle.cloudpickle"
_FUNCTION = ("types", "FunctionType")
_TYPEVAR = (_CLOUDPICKLE, "_make_typevar")
_CODE = ("types", "CodeType")


@rule(_CODE)
def code_without_lines(call: Node, context: Context) -> None:
    """Take file name, first line and line table out of code: a comment would change them.

    They go to the source map. The table that stays says "line 1, no column" for every instruction.
    """
    items = arguments(call, 18)
    file, line, table = (value_of(items[at]) for at in (10, 13, 14))
    size = len(value_of(items[6])) // 2 if type(items[6]) is bytes else 0
    changes: dict[int, Item] = {
        10: Literal(NO_FILE, "file", Source(file, line, table)),
        13: Literal(_NO_LINE, "line"),
        14: Literal(raw(_flat_table(size)), "table"),
    }
    replace(call, context, changes)


@rule(_CODE)
def hash_without_salt(call: Node, context: Context) -> None:
    """Take the salted hash out of the `__hash__` that attrs generates."""
    items = arguments(call, 18)
    file = items[10].info.file if isinstance(items[10], Literal) else ""
    if file.startswith("<attrs generated") and items[11] == text("__hash__"):
        kept = [_NO_SALT if _is_salt(each) else each for each in items[7].items]
        replace(call, context, {7: context.graph.tuple(kept)})


_NO_SALT = integer(0x5A17)


def _is_salt(item: Item) -> bool:
    value = value_of(item) if type(item) is bytes and not is_text(item) else None
    return isinstance(value, int) and abs(value) >= 1 << 31


def _flat_table(units: int) -> bytes:
    """Return a line table of the given number of code units, all of them on the first line."""
    whole, rest = divmod(units, 8)
    return b"\xef\x00" * whole + (bytes([0xE8 | rest - 1, 0]) if rest else b"")


@rule(_CODE)
def class_body_without_line(call: Node, context: Context) -> None:
    """Since 3.13 the body of a class stores its own line; make it 1 when nothing else uses it."""
    _change_stored(call, context, "__firstlineno__", lambda _: _NO_LINE)


@rule(_CODE)
def class_body_in_order(call: Node, context: Context) -> None:
    """Since 3.13 the body of a class stores names of attributes, at first in a set's order."""

    def in_order(names: Item) -> Item:
        same = not isinstance(names, Node) or not all(map(is_text, names.items))
        return names if same else context.graph.tuple(sorted(names.items))

    _change_stored(call, context, "__static_attributes__", in_order)


def _change_stored(call: Node, context: Context, name: str, change: Callable[[Item], Item]) -> None:
    """Change the constant that the body of a class stores under a name."""
    items = arguments(call, 18)
    names, constants, code = items[8], items[7], items[6]
    if text(name) not in names.items or type(code) is not bytes:
        return
    at = _stored_constant(value_of(code), names.items.index(text(name)))
    if at is not None:
        changed = list(constants.items)
        changed[at] = change(changed[at])
        replace(call, context, {7: context.graph.tuple(changed)})


def _stored_constant(code: bytes, name: int) -> int | None:
    """Return the constant that is loaded for the store to a name, and for nothing else."""
    import opcode

    load, store = opcode.opmap["LOAD_CONST"], opcode.opmap["STORE_NAME"]
    pairs = list(zip(code[::2], code[1::2], strict=True))
    loads = [arg for op, arg in pairs if op == load]
    for (first, at), (second, target) in pairwise(pairs):
        if first == load and second == store and target == name and loads.count(at) == 1:
            return at
    return None


@rule(_CODE)
def same_code_once(call: Node, context: Context) -> None:
    """Make equal code of one line one object: `-X no_debug_ranges` lets the compiler do so."""
    items = list(arguments(call, 18))
    constants = items[7]
    if isinstance(constants, Node) and constants.kind == TUPLE:
        kept = [context.same.get(item, item) for item in constants.items]
        if len(set(kept)) < len(kept) and type(items[6]) is bytes:
            kept, items[6] = _constants_once(kept, value_of(items[6]))
        items[7] = context.graph.tuple(kept)
        replace(call, context, {6: items[6], 7: items[7]})
    file, _, _ = items[10], items.pop(14), items.pop(13)
    source = file.info if isinstance(file, Literal) else None
    key = (*items[:10], source and (source.file, source.line), *items[11:])
    context.same[call] = context.codes.setdefault(key, call)


def _constants_once(constants: list[Item], code: bytes) -> tuple[list[Item], bytes]:
    """Return constants without those that came before, and the code that loads what is left."""
    import opcode

    kept = list(dict.fromkeys(constants))
    changed, argument = bytearray(code), 0
    for at in range(0, len(code), 2):
        argument = argument << 8 | code[at + 1]
        if code[at] == opcode.EXTENDED_ARG:
            continue
        if code[at] in opcode.hasconst:
            index, last = kept.index(constants[argument]), at
            changed[last + 1] = index & 0xFF
            while last and code[last - 2] == opcode.EXTENDED_ARG:
                index, last = index >> 8, last - 2
                changed[last + 1] = index & 0xFF
        argument = 0
    return kept, raw(bytes(changed))


@rule(_FUNCTION)
def function_of_same_code(call: Node, context: Context) -> None:
    """Give functions of equal code of one line the same code object."""
    code = arguments(call, 5)[0]
    replace(call, context, {0: context.same.get(code, code)})


@rule((_CLOUDPICKLE, "_make_skeleton_class"))
def class_identity(call: Node, context: Context) -> None:
    """Replace the random id that cloudpickle tracks a class by with one of the finished bytes."""
    _identify(call, context, 6, 4)


@rule((_CLOUDPICKLE, "_lookup_class_or_track"))
def enum_identity(call: Node, context: Context) -> None:
    """Replace the random id of an enum or another class that `type` alone makes, as for classes."""
    _identify(call, context, 2, 0)


@rule(_TYPEVAR)
def typevar_identity(call: Node, context: Context) -> None:
    """Replace the random id that cloudpickle tracks a TypeVar by, as for classes."""
    _identify(call, context, 6, 5)


def _identify(call: Node, context: Context, count: int, at: int) -> None:
    drawn = text_of(arguments(call, count)[at])
    if drawn is None:
        raise UnknownShapeError(f"{name_of(call.items[0])} has no identity")
    replace(call, context, {at: Literal(NO_IDENTITY, "identity", drawn)})


@rule(("_weakrefset", "WeakSet"))
def weak_set_unordered(call: Node, context: Context) -> None:
    """Treat the list that a WeakSet is pickled as as the set that it is."""
    (members,) = arguments(call, 1)
    _make_set(members, context)


def _make_set(node: Node, context: Context) -> None:
    if node.kind != LIST:
        raise UnknownShapeError("a list of the members of a set is none")
    node.kind = SET
    context.graph.unordered.append(node)


_ADDRESS = re.compile(r"(?<=[:_@])\d{9,}|\d{6,}$")


def schemas_without_addresses(context: Context) -> None:
    """Number the classes in pydantic's schema references, `module.Class:<address>`.

    Classes of installed modules are in them as well, and in the middle of a text. A schema is what
    a class says that it has, and what a validator is made of.
    """
    graph = context.graph
    made_of = (call.items[1] for call in graph.calls if _is_of(_PYDANTIC, call.items[0]))
    events = [node.events or () for node in graph.classes]
    models = (each for each in events if any(items[1:2] == [_SCHEMA] for _, items in each))
    held = (item for each in models for _, items in each for item in items)
    rewrite((*held, *made_of), context, lambda item: _without_address(item, context))


_SCHEMA = text("__pydantic_core_schema__")
_PYDANTIC = text("pydantic_core._pydantic_core")


def _is_of(module: bytes, function: Item) -> bool:
    return isinstance(function, Node) and function.items[0] == module


def _without_address(item: Item, context: Context) -> Item:
    value = text_of(item)
    if value is None or _ADDRESS.search(value) is None:
        return item
    for name, canonical in context.renamed.items():
        value = re.sub(rf"(?<![\w.]){re.escape(name)}\.", f"{canonical}.", value)
    return text(_ADDRESS.sub(lambda match: context.ordinal(match[0]), value))


def states_by_file(context: Context) -> None:
    """Give `__module__` and its like in any state the name that follows from the module's file."""
    names = {text(name): text(canonical) for name, canonical in context.renamed.items()}
    states = [state for _, state in context.graph.states]
    for kind, items in (event for node in context.graph.owners for event in node.events or ()):
        if kind == BUILD:
            states += items
        elif kind == EFFECT and len(items) == 3:  # noqa: PLR2004 - an attribute of a class
            pair = items[1:]
            _rename(pair, names)
            items[1:] = pair
    for state in states:
        if isinstance(state, Node):
            for node in (state, *state.items) if state.kind == TUPLE else (state,):
                if isinstance(node, Node) and node.kind == DICT:
                    _rename(node.items, names)


def _rename(items: list[Item], names: dict[bytes, bytes]) -> None:
    for at in range(1, len(items), 2):
        value = items[at]
        if type(value) is bytes and value in names and "module" in (text_of(items[at - 1]) or ""):
            items[at] = names[value]
