"""What the rules work on: the records that cloudpickle writes for code, functions and classes.

Owns the reading and changing of such records. Invariant: one that does not look as cloudpickle
writes it raises `UnknownShapeError`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from casflow.serialize.graph import (
    Graph,
    Item,
    Node,
    UnknownShapeError,
    children,
    name_of,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

NO_FILE = text("<flow>")
CODE_PARTS = (
    *("co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_nlocals", "co_stacksize"),
    *("co_flags", "co_code", "co_consts", "co_names", "co_varnames", "co_filename", "co_name"),
    *("co_qualname", "co_firstlineno", "co_linetable", "co_exceptiontable", "co_freevars"),
    "co_cellvars",
)


@dataclass(slots=True)
class Context:
    """What the rules know of one run.

    Attributes:
        graph: The graph.
        renamed: Names of modules in this process that their files say otherwise.
        relative: What to call a file, within its project.
        ordinals: Numbers that stand for addresses in texts.
        codes: Code objects by all but their line tables.
        same: For each code object the one that stands for it.
    """

    graph: Graph
    renamed: Mapping[str, str] = field(default_factory=dict)
    relative: Callable[[str], str] = str
    ordinals: dict[str, int] = field(default_factory=dict)
    codes: dict[Any, Node] = field(default_factory=dict)
    same: dict[Item, Item] = field(default_factory=dict)

    def ordinal(self, address: str) -> str:
        """Return the number that stands for an address."""
        return str(self.ordinals.setdefault(address, len(self.ordinals)))


@dataclass(frozen=True, slots=True)
class Source:
    """Where a code object comes from: what the rules take out of it.

    Attributes:
        file: Its file name.
        line: Its first line.
        table: Its line table.
    """

    file: str
    line: int
    table: bytes


def arguments(call: Node, count: int) -> list[Item]:
    """Return the arguments of a call.

    Raises:
        UnknownShapeError: There are not `count` of them.
    """
    items: list[Item] = call.items[1].items
    if len(items) != count:
        raise UnknownShapeError(f"{name_of(call.items[0])} has {len(items)} arguments")
    return items


def replace(call: Node, context: Context, changes: dict[int, Item]) -> None:
    """Give a call other arguments; its tuple may be shared, so it gets a new one."""
    items = list(call.items[1].items)
    for at, item in changes.items():
        items[at] = item
    call.items[1] = context.graph.tuple(items)


def rewrite(roots: Iterable[Item], context: Context, change: Callable[[Item], Item]) -> None:
    """Change the atoms of some nodes and of what they hold, up to functions and classes."""
    work, seen = [*roots], set(context.graph.owners)
    while work:
        node = work.pop()
        if not isinstance(node, Node) or node in seen:
            continue
        seen.add(node)
        work += children(node)
        for items in (node.items, *(items for _, items in node.events or ())):
            items[:] = [change(item) if type(item) is bytes else item for item in items]
