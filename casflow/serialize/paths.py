"""A graph as its user sees it: attributes, entries, closures, instead of calls and states.

Owns the names of the parts of an object: `.fn`, `[2]`, `['key']`, `.__closure__['created']`.
Invariant: every node that a stream loads is reachable by such names; what cloudpickle needs for
itself has none.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from casflow.serialize.graph import (
    ADDITEMS,
    APPENDS,
    BUILD,
    BULK,
    BYTEARRAY,
    DICT,
    EFFECT,
    FROZENSET,
    LIST,
    MAKE,
    NEWOBJ,
    REDUCE,
    SET,
    SETITEMS,
    TUPLE,
    Item,
    Node,
    UnknownShapeError,
    entries,
    members,
    name_of,
    text_of,
    value_of,
)
from casflow.serialize.records import CODE_PARTS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = "flow"
_CLOUDPICKLE = "cloudpickle.cloudpickle"
_FUNCTION, _CODE = ("types", "FunctionType"), ("types", "CodeType")
_CLASSES = (
    (_CLOUDPICKLE, "_make_skeleton_class"),
    (_CLOUDPICKLE, "_lookup_class_or_track"),
)
_SHOWN = 80  # characters of a value

Part = tuple[str, Item]


def walk(root: Item) -> Iterator[tuple[str, Item]]:
    """Yield every part of a graph once, with its path, nearest to the root first on each branch."""
    seen: set[Node] = set()
    work: list[Part] = [(ROOT, root)]
    while work:
        path, item = work.pop()
        yield path, item
        if isinstance(item, Node) and item not in seen:
            seen.add(item)
            work += [(path + label, each) for label, each in reversed(list(parts(item)))]


def find_path(data: bytes, wanted: bytes) -> str | None:
    """Return the path of a text or bytes of a blob that hold some bytes; None without one."""
    from casflow.serialize.parse import parse

    try:
        root = parse(data).root
    except UnknownShapeError:
        return None
    found = (path for path, item in walk(root) if type(item) is bytes and wanted in item)
    return next(found, None)


def parts(node: Node) -> Iterator[Part]:
    """Yield the parts of a node with their names."""
    if node.kind in (TUPLE, LIST):
        yield from ((f"[{at}]", item) for at, item in enumerate(members(node)))
    elif node.kind in (SET, FROZENSET):
        yield from (("{…}", item) for item in node.items)
    elif node.kind == DICT:
        yield from _entries(node, "[{!r}]")
    elif node.kind not in (BULK, BYTEARRAY):
        yield from _parts_of_object(node)


def _parts_of_object(node: Node) -> Iterator[Part]:
    target = name_of(node.items[0])
    special = _SPECIAL.get(target[1] or "") if target and target[0] in _RECORDS else None
    if special is not None and node.kind == REDUCE:
        yield from special(node)
        return
    if node.kind == REDUCE or (node.kind == NEWOBJ and node.items[1] is not None):
        yield from _parts_of_call(node)
    for kind, items in node.events or ():
        yield from _parts_of_event(kind, items)


def _parts_of_call(node: Node) -> Iterator[Part]:
    if isinstance(node.items[0], Node):
        yield ".__class__", node.items[0]
    arguments = node.items[1]
    if isinstance(arguments, Node) and arguments.kind == TUPLE:
        yield from ((f"({at})", item) for at, item in enumerate(arguments.items))


def _parts_of_event(kind: int, items: list[Item]) -> Iterator[Part]:
    if kind == APPENDS:
        yield from ((f"[{at}]", item) for at, item in enumerate(items))
    elif kind == ADDITEMS:
        yield from (("{…}", item) for item in items)
    elif kind == SETITEMS:
        pairs = zip(items[::2], items[1::2], strict=True)
        yield from ((f"[{label(key)}]", value) for key, value in pairs)
    elif kind == BUILD:
        yield from _parts_of_state(items[0])
    elif kind == EFFECT:
        yield from _parts_of_state(items[-1])


def _parts_of_state(state: Item) -> Iterator[Part]:
    if not isinstance(state, Node):
        return
    if state.kind == DICT:
        yield from _entries(state, ".{}")
    elif state.kind == TUPLE and all(_is_dict_or_none(item) for item in state.items):
        for item in state.items:
            yield from _parts_of_state(item)
    else:
        yield ".__state__", state


def _is_dict_or_none(item: Item) -> bool:
    return item == b"N" or (isinstance(item, Node) and item.kind == DICT)


def _entries(node: Node, form: str) -> Iterator[Part]:
    for key, value in entries(node):
        name = text_of(key)
        yield form.format(name) if name is not None else f"[{label(key)}]", value
        if isinstance(key, Node):
            yield f".keys()[{label(key)}]", key


def _parts_of_function(node: Node) -> Iterator[Part]:
    code, namespace, _, _, closure = node.items[1].items
    yield ".__code__", code
    for kind, items in node.events or ():
        yield from _parts_of_event(kind, items)
    used = set(_names(code))
    for name, value in _names_of(namespace):
        if name in used:
            yield f".__globals__[{name!r}]", value
    if isinstance(closure, Node):
        for free, cell in zip(code.items[1].items[16].items, closure.items, strict=False):
            for _, items in cell.events or ():
                for _, value in _parts_of_state(items[0]):
                    yield f".__closure__[{text_of(free)!r}]", value


def _names(code: Node) -> Iterator[str]:
    """Yield the names that code and the code within it use."""
    items = code.items[1].items
    yield from (text_of(name) or "" for name in items[8].items)
    for constant in items[7].items if isinstance(items[7], Node) else ():
        if isinstance(constant, Node) and is_code(constant):
            yield from _names(constant)


def is_code(item: Item) -> bool:
    """Tell whether an item is a code object."""
    return (
        isinstance(item, Node)
        and item.kind == REDUCE
        and name_of(item.items[0]) == ("types", "CodeType")
    )


def _names_of(namespace: Node) -> Iterator[tuple[str, Item]]:
    for kind, items in namespace.events or ():
        if kind == SETITEMS:
            pairs = zip(items[::2], items[1::2], strict=True)
            yield from ((text_of(name) or "", value) for name, value in pairs)


def _parts_of_code(node: Node) -> Iterator[Part]:
    for name, item in zip(CODE_PARTS, node.items[1].items, strict=False):
        yield f".{name}", item


def _parts_of_class(node: Node) -> Iterator[Part]:
    _, name, bases, start = made_of(node)
    yield ".__name__", name
    yield ".__bases__", bases
    yield from _entries(start, ".{}")
    for kind, items in node.events or ():
        if kind == EFFECT and len(items) == 3:  # noqa: PLR2004 - the setter, a name, a value
            yield f".{text_of(items[1])}", items[2]
        elif kind == EFFECT:
            yield from _parts_of_event(kind, items)


def made_of(node: Node) -> list[Item]:
    """Return what a class is made of: metaclass, name, bases, and what it starts with."""
    arguments: list[Item] = node.items[1].items
    if len(arguments) > 2:  # noqa: PLR2004 - all in one call
        return arguments[:4]
    made: list[Item] = arguments[1].items[1].items
    return made


def _parts_of_module(node: Node) -> Iterator[Part]:
    for kind, items in node.events or ():
        if kind == MAKE:
            yield from ((f".{name}", value) for name, value in _names_of(items[0]))
        else:
            yield from _parts_of_event(kind, items)


_RECORDS = (_CLOUDPICKLE, "types")
_SPECIAL = {
    "FunctionType": _parts_of_function,
    "CodeType": _parts_of_code,
    "_make_skeleton_class": _parts_of_class,
    "_lookup_class_or_track": _parts_of_class,
    "ModuleType": _parts_of_module,
}


def label(item: Any) -> str:
    """Return a short text for an item: its value, or what kind of object it is."""
    if type(item) is bytes:
        shown = repr(value_of(item))
        return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"
    kinds = {TUPLE: "tuple", LIST: "list", DICT: "dict", SET: "set", FROZENSET: "frozenset"}
    if item.kind in kinds:
        size = len(item.items) // 2 if item.kind == DICT else sum(1 for _ in members(item))
        return f"{kinds[item.kind]} of {size}"
    if item.kind in (BULK, BYTEARRAY):
        return f"{len(item.items[1])} bytes"
    return _label_of_object(item)


def _label_of_object(item: Node) -> str:
    target = name_of(item) or name_of(item.items[0])
    if target is None:
        return f"{_name_of_class(item.items[0])} instance" if item.items else "object"
    if item.kind == REDUCE and target in (_FUNCTION, _CODE):
        code = item if target == _CODE else item.items[1].items[0]
        return f"function {text_of(code.items[1].items[12])}"
    if target[1] in ("_make_skeleton_class", "_lookup_class_or_track") and item.kind == REDUCE:
        return f"class {text_of(made_of(item)[1])}"
    if target == ("types", "ModuleType") and item.kind == REDUCE:
        return f"module {text_of(item.items[1].items[0])}"
    if target[0] == "datetime" and item.kind == REDUCE:
        return _label_of_moment(item, target[1] or "")
    called = "" if item.items and name_of(item) else f"({_arguments(item)})"
    return f"{target[0]}.{target[1]}{called}"


def _label_of_moment(item: Node, name: str) -> str:
    arguments = [value_of(each) for each in item.items[1].items if type(each) is bytes]
    try:
        return str(getattr(dt, name)(*arguments))
    except (TypeError, ValueError):
        return f"datetime.{name}"


def _arguments(item: Node) -> str:
    arguments = item.items[1]
    if not isinstance(arguments, Node) or arguments.kind != TUPLE:
        return ""
    return ", ".join(
        repr(value_of(each)) if type(each) is bytes else "…" for each in arguments.items
    )


def _name_of_class(item: Any) -> str:
    """Return the name of a class by value."""
    if not isinstance(item, Node) or item.kind != REDUCE:
        return "object"
    arguments = item.items[1]
    if name_of(item.items[0]) in _CLASSES:
        return text_of(made_of(item)[1]) or "object"
    texts = [text_of(each) for each in getattr(arguments, "items", ())]
    return next((each for each in texts if each), "object")
