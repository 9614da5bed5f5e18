"""What libraries write into the objects that they make, and that differs by chance.

Owns a rule for each such habit, after those of `normalize`. Invariant: a rule changes only what it
knows to be of its library, by the class of the object or by the form of a name that nobody writes
by hand; and two objects of one blob that it told apart stay apart, in their order.
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import chain
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from casflow.digests import digest_of, hex_of
from casflow.serialize.graph import (
    BUILD,
    DICT,
    GLOBAL,
    NEWOBJ,
    TUPLE,
    Item,
    Node,
    entries,
    entry,
    integer,
    is_text,
    name_of,
    set_entry,
    text,
    text_of,
    value_of,
)
from casflow.serialize.owners import CLASSES, FUNCTION
from casflow.serialize.records import Context, arguments, replace, rewrite

if TYPE_CHECKING:
    from collections.abc import Iterator

# Numbers that count all objects of a kind that a process made, by the library that counts.
_COUNTERS = {
    "django": "creation_counter",
    "luigi": "_counter",
    "marshmallow": "_creation_index",
    "sqlalchemy": "_creation_order",
    "wtforms": "creation_counter",
}
_PATHS = {"airflow": "fileloc", "metaflow": "source_file"}
_PARAMETER = re.compile(r"(?:(?<=%\()|^)\d{9,}(?= \S)")
_BEARTYPE = re.compile(r"(?<=__beartype_)(\w+_)(\d{9,})")


def apply(context: Context) -> None:
    """Take the habits of libraries out of a graph."""
    counters_by_rank(context)
    paths_by_project(context)
    task_keys_by_code(context)
    entry_points_by_name(context)
    names_without_addresses(context)
    parameters_without_addresses(context)


def counters_by_rank(context: Context) -> None:
    """Number what a library counts from nought: one object made before would change all."""
    counted: dict[str, list[tuple[Node, int]]] = defaultdict(list)
    for library, name, state in _states(context, _COUNTERS):
        value = entry(state, name)
        if type(value) is bytes and isinstance(number := value_of(value), int):
            counted[library].append((state, number))
    for library, found in counted.items():
        ranks = {number: at for at, number in enumerate(sorted({number for _, number in found}))}
        for state, number in found:
            set_entry(state, _COUNTERS[library], integer(ranks[number]))


def paths_by_project(context: Context) -> None:
    """Name a script relative to its project where a library notes where it lies."""
    for _, name, state in _states(context, _PATHS):
        file = text_of(entry(state, name))
        if file is not None:
            set_entry(state, name, text(context.relative(file)))


def task_keys_by_code(context: Context) -> None:
    """Make the key that Prefect gives a task of its code alone: lines would be in it."""
    for _, name, state in _states(context, {"prefect": "task_key"}):
        key, function = text_of(entry(state, name)), entry(state, "fn")
        is_function = isinstance(function, Node) and name_of(function.items[0]) == FUNCTION
        if key is not None and isinstance(function, Node) and is_function:
            code = function.items[1].items[0]
            said = b"".join(_code_of(code))
            set_entry(state, name, text(f"{key.rpartition('-')[0]}-{hex_of(digest_of(said))[:8]}"))


def entry_points_by_name(context: Context) -> None:
    """Name a Prefect flow's script by its stem: it is its path when run, its name when imported."""
    for _, name, state in _states(context, {"prefect": "_entrypoint"}):
        place, colon, target = (text_of(entry(state, name)) or "").rpartition(":")
        stem = PurePath(place).stem if place.endswith(".py") else place.rpartition(".")[2]
        if colon:
            set_entry(state, name, text(f"{stem}:{target}"))


def _code_of(code: Node) -> Iterator[bytes]:
    """Yield what code says, without its file and lines."""
    for at, item in enumerate(code.items[1].items):
        parts = item.items if isinstance(item, Node) and item.kind == TUPLE else [item]
        for part in parts if at not in (10, 13, 14) else ():
            if type(part) is bytes:
                yield part
            elif name_of(part.items[0]) == ("types", "CodeType"):
                yield from _code_of(part)


def names_without_addresses(context: Context) -> None:
    """Number the classes in the names of variables that beartype makes of their addresses."""

    def rename(item: Item) -> Item:
        name = text_of(item) if is_text(item) else None
        if name is None or "__beartype_" not in name:
            return item
        return text(_BEARTYPE.sub(lambda found: found[1] + context.ordinal(found[2]), name))

    graph = context.graph
    code, wrapped = graph.reference(text("types"), text("CodeType")), text("__beartype_func")
    found = [
        call
        for call in graph.calls
        if call.items[0] is code and wrapped in arguments(call, 18)[9].items
    ]
    for call in found:
        parts = arguments(call, 18)
        changes = {at: graph.tuple(map(rename, parts[at].items)) for at in (8, 9)}
        replace(call, context, changes)
    for owner in graph.owners if found else ():
        for slots in _slots(owner) if name_of(owner.items[0]) == FUNCTION else ():
            defaults = entry(slots, "__kwdefaults__")
            if isinstance(defaults, Node):
                renamed = ((rename(key), value) for key, value in entries(defaults))
                defaults.items[:] = chain.from_iterable(renamed)


def parameters_without_addresses(context: Context) -> None:
    """Number what SQLAlchemy calls by its address: parameters without a name, what is compared."""
    graph = context.graph
    if not any(b"sqlalchemy." in node.items[0] for node in graph.globals):
        return
    for _, name, state in _states(context, {"sqlalchemy": "_orig"}):
        pair = entry(state, name)
        hashes = pair.items if isinstance(pair, Node) and pair.kind == TUPLE else ()
        if all(type(each) is bytes for each in hashes):
            ordinals = (context.ordinal(str(value_of(each))) for each in hashes)
            set_entry(state, name, graph.tuple(integer(int(each)) for each in ordinals))
    states = [state for owner, state in graph.states if _is_of(owner, "sqlalchemy")]

    def rename(item: Item) -> Item:
        value = text_of(item)
        if value is None or _PARAMETER.search(value) is None:
            return item
        return text(_PARAMETER.sub(lambda found: context.ordinal(found[0]), value))

    rewrite(states, context, rename)


def _slots(function: Node) -> Iterator[Node]:
    for kind, items in function.events or ():
        state = items[0]
        if kind == BUILD and isinstance(state, Node) and state.kind == TUPLE:
            yield from (each for each in state.items if isinstance(each, Node))


def _states(context: Context, names: dict[str, str]) -> Iterator[tuple[str, str, Node]]:
    """Yield library, name and state of the instances of libraries that have such an attribute."""
    for owner, state in context.graph.states:
        if isinstance(state, Node) and state.kind == DICT:
            library = next((each for each in names if entry(state, names[each]) is not None), None)
            if library is not None and _is_of(owner, library):
                yield library, names[library], state


def _is_of(instance: Node, library: str) -> bool:
    """Tell whether the class of an instance is one of a library, or has such a base."""
    work: list[Any] = [instance.items[0]] if instance.kind == NEWOBJ else list(instance.items)
    seen: set[Node] = set()
    while work:
        node = work.pop()
        if not isinstance(node, Node) or node in seen:
            continue
        seen.add(node)
        if node.kind == GLOBAL:
            if (name_of(node) or ("",))[0].partition(".")[0] == library:  # type: ignore[union-attr]
                return True
        elif name_of(node.items[0]) in CLASSES or node.kind == TUPLE:
            work += node.items
    return False
