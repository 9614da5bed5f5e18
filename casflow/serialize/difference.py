"""Where two blobs differ, in the words of their users.

Owns the comparison of two graphs. Invariant: equal blobs have no difference, different ones at
least one; what has no order is compared without one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from casflow.serialize.graph import (
    BULK,
    BYTEARRAY,
    DICT,
    FROZENSET,
    GLOBAL,
    NEWOBJ,
    NEWOBJ_EX,
    REDUCE,
    SET,
    Item,
    Node,
    UnknownShapeError,
    entries,
    name_of,
)
from casflow.serialize.parse import parse
from casflow.serialize.paths import ROOT, label, parts

if TYPE_CHECKING:
    from collections.abc import Iterator

ABSENT = "absent"
_MOST = 100  # differences; more say nothing
_CHANCE = (".co_filename", ".co_firstlineno", ".co_linetable")
# Parts of code that follow from others: told only when nothing else is.
_DERIVED = (".co_code", ".co_stacksize", ".co_exceptiontable", ".co_nlocals", ".co_flags")


@dataclass(frozen=True, slots=True)
class Difference:
    """One place in which two objects differ.

    Attributes:
        path: The place, such as `flow.tasks[2].fn.__closure__['created']`.
        a: What is there in the first.
        b: What is there in the second.
    """

    path: str
    a: str
    b: str

    def __str__(self) -> str:
        return f"{self.path}: {self.a} vs {self.b}"


def explain(a: bytes, b: bytes) -> list[Difference]:
    """Return where two blobs differ, 100 places at most; empty when they are equal."""
    if a == b:
        return []
    try:
        first, second = parse(a).root, parse(b).root
    except UnknownShapeError as error:
        return [Difference(ROOT, f"{len(a)} bytes", f"{len(b)} bytes ({error})")]
    found = list(_Comparison().run(first, second))[:_MOST]
    return found or [Difference(ROOT, "the same values", "the same values, shared otherwise")]


class _Comparison:
    """One walk over two graphs side by side."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()
        self._count = 0

    def run(self, a: Item, b: Item) -> Iterator[Difference]:
        work = [(ROOT, a, b)]
        while work and self._count < _MOST:
            path, one, two = work.pop()
            pair = (id(one), id(two))
            if one is two or pair in self._seen:
                continue
            self._seen.add(pair)
            if not (isinstance(one, Node) and isinstance(two, Node)):
                if one != two:
                    yield self._found(path, one, two)
            elif differs(one, two):
                yield self._found(path, one, two)
            else:
                below, differences = self._below(path, one, two)
                yield from differences
                work += reversed(below)

    def _found(self, path: str, a: Item | None, b: Item | None) -> Difference:
        self._count += 1
        return Difference(path, *(ABSENT if each is None else label(each) for each in (a, b)))

    def _below(
        self, path: str, a: Node, b: Node
    ) -> tuple[list[tuple[str, Item, Item]], list[Difference]]:
        if a.kind in (SET, FROZENSET):
            return self._members(path, a, b)
        ones, twos = _named(a), _named(b)
        missing = [name for name in {**ones, **twos} if name not in ones or name not in twos]
        differences = [self._found(path + name, ones.get(name), twos.get(name)) for name in missing]
        if not missing and _order(a) != _order(b):
            differences.append(Difference(f"{path} (order)", _order(a), _order(b)))
        pairs = [(path + name, ones[name], twos[name]) for name in ones if name in twos]
        return _told(path, pairs), differences

    def _members(
        self, path: str, a: Node, b: Node
    ) -> tuple[list[tuple[str, Item, Item]], list[Difference]]:
        ones = [item for item in a.items if item not in b.items]
        twos = [item for item in b.items if item not in a.items]
        atoms = [item for item in (*ones, *twos) if type(item) is bytes]
        if not atoms and len(ones) == len(twos):
            pairs = zip(ones, twos, strict=True)
            return [(f"{path}{{{at}}}", one, two) for at, (one, two) in enumerate(pairs)], []
        differences = [self._found(f"{path}{{…}}", item, None) for item in ones]
        return [], differences + [self._found(f"{path}{{…}}", None, item) for item in twos]


def differs(a: Node, b: Node) -> bool:
    """Tell whether two nodes differ by themselves, whatever their parts are."""
    if a.kind != b.kind:
        return True
    if a.kind in (BULK, BYTEARRAY):
        return bytes(a.items[0]) != bytes(b.items[0]) or bytes(a.items[1]) != bytes(b.items[1])
    if a.kind == GLOBAL:
        return name_of(a) != name_of(b)
    if a.kind not in (REDUCE, NEWOBJ, NEWOBJ_EX):
        return False
    return name_of(a.items[0]) != name_of(b.items[0])


def _named(node: Node) -> dict[str, Item]:
    found: dict[str, Item] = {}
    alike: dict[str, int] = {}  # instances as keys of a dict can have one label
    for name, item in parts(node):
        if name in _CHANCE:
            continue
        alike[name] = alike.get(name, 0) + 1
        found[name if alike[name] == 1 else f"{name}#{alike[name]}"] = item
    return found


def _order(node: Node) -> str:
    return ", ".join(label(key) for key, _ in entries(node)) if node.kind == DICT else ""


def _told(path: str, pairs: list[tuple[str, Item, Item]]) -> list[tuple[str, Item, Item]]:
    """Leave out what follows from other changes of the same code."""
    derived = [pair for pair in pairs if pair[0].removeprefix(path) in _DERIVED]
    others = [pair for pair in pairs if pair not in derived]
    changed = any(type(a) is bytes and type(b) is bytes and a != b for _, a, b in others)
    return others if changed else pairs
