"""The rules that take out of a graph what differs from process to process but means nothing.

Owns one small function per source of difference, each with its reason, in `RULES`. A new rule is
one function here and one case of the corpus in tests/serialize. Invariant: a rule changes only a
record that it recognises in full; a record of cloudpickle that looks otherwise than it knows
raises `UnknownShapeError`, and the stream is stored as it came.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from casflow.serialize.emit import NO_IDENTITY
from casflow.serialize.graph import (
    DICT,
    GLOBAL,
    LIST,
    SET,
    TUPLE,
    Item,
    Literal,
    Node,
    UnknownShapeError,
    children,
    drop_entry,
    entry,
    integer,
    is_text,
    name_of,
    raw,
    set_entry,
    text,
    text_of,
    value_of,
)
from casflow.serialize.records import NO_FILE, SCRIPT, Context, Source, arguments, replace, state

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_NO_LINE = integer(1)
_NONE = b"N"

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
_FUNCTION = (_CLOUDPICKLE, "_make_function")
_CLASS = (_CLOUDPICKLE, "_make_skeleton_class")
_ENUM = (_CLOUDPICKLE, "_make_skeleton_enum")
_TYPEVAR = (_CLOUDPICKLE, "_make_typevar")
_CODE = ("types", "CodeType")


@rule((_CLOUDPICKLE, "_builtin_type"))
def builtin_type_by_name(call: Node, context: Context) -> None:
    """Refer to `types.CodeType` as such: shorter, and one spelling that other rules look for."""
    (name,) = arguments(call, 1)
    call.kind = GLOBAL
    call.items = [text("types"), name]
    context.graph.globals.append(call)


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
        items[7] = context.graph.tuple(kept)
        replace(call, context, {7: items[7]})
    file, _, _ = items[10], items.pop(14), items.pop(13)
    source = file.info if isinstance(file, Literal) else None
    key = (*items[:10], source and (source.file, source.line), *items[11:])
    context.same[call] = context.codes.setdefault(key, call)


@rule(_FUNCTION)
def function_of_same_code(call: Node, context: Context) -> None:
    """Give functions of equal code of one line the same code object."""
    code = arguments(call, 5)[0]
    replace(call, context, {0: context.same.get(code, code)})


@rule(_FUNCTION)
def globals_without_place(call: Node, context: Context) -> None:
    """Drop where the module of a function was found; its name is that of the script or its own."""
    _, module_globals, *_ = arguments(call, 5)
    for key in ("__file__", "__path__", "__cached__"):
        drop_entry(module_globals, key)
    package, name = entry(module_globals, "__package__"), entry(module_globals, "__name__")
    if package in (_NONE, text("")) or text_of(name) in context.script:
        drop_entry(module_globals, "__package__")
    _alias(module_globals, "__name__", context)


@rule(_FUNCTION)
def function_of_script(call: Node, context: Context) -> None:
    """Make `__module__` of the script's functions the same for running and importing it."""
    _alias(state(call)[1], "__module__", context)


@rule(_CLASS)
def class_of_script(call: Node, context: Context) -> None:
    """Make `__module__` of the script's classes the same for running and importing it."""
    _alias(arguments(call, 6)[3], "__module__", context)
    _alias(state(call)[0], "__module__", context)


@rule(_ENUM)
def enum_of_script(call: Node, context: Context) -> None:
    """Make the module of the script's enums the same for running and importing it."""
    if text_of(arguments(call, 7)[4]) in context.script:
        replace(call, context, {4: text(SCRIPT)})
    _alias(state(call)[0], "__module__", context)


@rule(("typing", "NewType"), ("functools", "_lru_cache_wrapper"))
def attribute_of_script(call: Node, context: Context) -> None:
    """Make `__module__` the same for running and importing, where it is plain state."""
    for _, items in call.events or ():
        if isinstance(items[0], Node) and items[0].kind == DICT:
            _alias(items[0], "__module__", context)


@rule(("logging", "getLogger"))
def logger_of_script(call: Node, context: Context) -> None:
    """Make `getLogger(__name__)` of the script the same for running and importing it."""
    names = call.items[1].items
    if names and text_of(names[0]) in context.script:
        replace(call, context, {0: text(SCRIPT)})


def _alias(node: Item, key: str, context: Context) -> None:
    if text_of(entry(node, key)) in context.script:
        set_entry(node, key, text(SCRIPT))


@rule(_CLASS)
def class_identity(call: Node, context: Context) -> None:
    """Replace the random id that cloudpickle tracks a class by with one of the finished bytes."""
    _identify(call, context, 6, 4)


@rule(_ENUM)
def enum_identity(call: Node, context: Context) -> None:
    """Replace the random id that cloudpickle tracks an enum by with one of the finished bytes."""
    _identify(call, context, 7, 5)


@rule(_TYPEVAR)
def typevar_identity(call: Node, context: Context) -> None:
    """Replace the random id that cloudpickle tracks a TypeVar by, as for classes."""
    _identify(call, context, 6, 5)


def _identify(call: Node, context: Context, count: int, at: int) -> None:
    if not is_text(arguments(call, count)[at]):
        raise UnknownShapeError(f"{name_of(call.items[0])} has no identity")
    replace(call, context, {at: Literal(NO_IDENTITY, "identity")})


@rule(_CLASS, _ENUM)
def class_without_slot_cache(call: Node, _: Context) -> None:
    """Drop `__slotnames__`, which the first pickling of an instance leaves in the class."""
    drop_entry(state(call)[0], "__slotnames__")


@rule(_CLASS, _ENUM)
def class_without_line(call: Node, _: Context) -> None:
    """Drop the line that 3.13 keeps in a class: a comment above would change it."""
    drop_entry(state(call)[0], "__firstlineno__")


@rule(_CLASS, _ENUM)
def class_without_static_attributes(call: Node, _: Context) -> None:
    """Drop the names that 3.13 keeps in a class, at first in a set's order; nothing reads them."""
    drop_entry(state(call)[0], "__static_attributes__")


@rule(_CLASS, _ENUM)
def abstract_registry_unordered(call: Node, context: Context) -> None:
    """Treat the classes registered with an abstract class as the set that they are."""
    registry = entry(state(call)[0], "_abc_impl")
    if isinstance(registry, Node):
        _make_set(registry, context)


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


_ADDRESS = re.compile(r"^(.*[^0-9])(\d{6,})$", re.DOTALL)


@rule(_CLASS)
def schema_without_addresses(call: Node, context: Context) -> None:
    """Number the classes in pydantic's schema references, `module.Class:<address>`."""
    members = state(call)[0]
    if context.classes and entry(members, "__pydantic_core_schema__") is not None:
        _number_addresses(members, context, set())


def _number_addresses(root: Node, context: Context, seen: set[Node]) -> None:
    work: list[Any] = [root]
    while work:
        node = work.pop()
        if not isinstance(node, Node) or node in seen:
            continue
        seen.add(node)
        work.extend(children(node))
        for items in (node.items, *(items for _, items in node.events or ())):
            items[:] = [_without_address(item, context) for item in items]


def _without_address(item: Item, context: Context) -> Item:
    match = _ADDRESS.match(text_of(item) or "") if is_text(item) else None
    if match is None or int(match[2]) not in context.classes:
        return item
    prefix = match[1]
    for name in context.script:
        prefix = prefix.replace(f"{name}.", f"{SCRIPT}.", 1) if prefix.startswith(name) else prefix
    ordinals = context.ordinals.setdefault(prefix, {})
    return text(f"{prefix}{ordinals.setdefault(match[2], len(ordinals))}")
