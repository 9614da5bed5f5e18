"""The order of what has none: sets, frozensets, and lists that stand for sets.

Owns the choice of one order for the members of every set of a graph. Invariant: the order follows
from what the members are and where they are used, never from addresses, hashes or insertion.

Members that are atoms are ordered by their bytes. Others get a colour, a digest of what they hold,
children first (Tarjan's components); in a cycle, colours are refined until they say no more.
Members that hold the same are told apart by who refers to them; those that are still alike are
alike indeed, save for graphs that colour refinement cannot tell apart, and one is picked first.
Members that only the set refers to, with all that hangs on them, may change places as they are.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from casflow.serialize.graph import (
    BULK,
    BYTEARRAY,
    FROZENSET,
    SET,
    Graph,
    Item,
    Literal,
    Node,
    children,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    _Island = Callable[["Node"], tuple[Any, list["Node"]]]

_PENDING = b"pending"
_NO_RANK = (0, 0)


def order(graph: Graph) -> None:
    """Put the members of every set of a graph in order, in place."""
    hard = [node for node in graph.unordered if not _order_atoms(node)]
    if hard:
        colours = _Colours(hard)
        if colours.tied():
            colours.settle(_Islands(graph.root))
        if colours.tied():
            colours = _Refinement(graph.root, hard, colours)
        for node in hard:
            node.items.sort(key=colours.key)


def _order_atoms(node: Node) -> bool:
    if all(type(item) is bytes for item in node.items):
        node.items.sort()
        return True
    return len(node.items) < 2  # noqa: PLR2004 - one member is in order


def _hash(parts: Iterable[bytes]) -> bytes:
    state = blake2b(digest_size=16)
    for part in parts:
        state.update(len(part).to_bytes(4, "little"))
        state.update(part)
    return state.digest()


def _own(node: Node) -> list[bytes]:
    """Return what a node says by itself, without what it refers to."""
    parts = [
        bytes([node.kind]),
        *(bytes([kind, len(items) % 251]) for kind, items in _events(node)),
    ]
    if node.kind in (BULK, BYTEARRAY):
        parts += [node.items[0], blake2b(node.items[1]).digest()]
    elif isinstance(node, Literal):
        parts.append(node.items[0])
    return parts


def _events(node: Node) -> list[tuple[int, list[Item]]]:
    return node.events or []


class _Colours:
    """Digests of all that the members of some sets hold, by content alone."""

    def __init__(self, hard: list[Node]) -> None:
        self.of: dict[Node, bytes] = {}
        self.rank: dict[Node, tuple[int, int]] = {}
        self._hard = hard
        for component in _components(hard):
            self._colour(component)

    def key(self, item: Item) -> tuple[int, bytes, tuple[int, int]]:
        """Return what members are sorted by: atoms first."""
        if type(item) is bytes:
            return 0, item, _NO_RANK
        return 1, self.of[item], self.rank.get(item, _NO_RANK)

    def tied(self) -> bool:
        """Tell whether some set has members of one colour."""
        return any(max(Counter(map(self.key, node.items)).values()) > 1 for node in self._hard)

    def settle(self, uses: _Islands) -> None:
        """Rank members that may change places: islands of one shape that the set alone uses."""
        for node in self._hard:
            counts = Counter(map(self.key, node.items))
            alike = [item for item in node.items if counts[self.key(item)] > 1]
            if alike:
                self.rank.update(self._ranks(alike, uses.of(node)))

    def _ranks(self, alike: list[Node], island: _Island) -> dict[Node, tuple[int, int]]:
        shapes: dict[bytes, Any] = {}
        ranks: dict[Node, tuple[int, int]] = {}
        for number, item in enumerate(alike):
            if item in ranks:
                continue
            shape, members = island(item)
            if shape is None or shapes.setdefault(self.of[item], shape) != shape:
                return {}
            ranks.update({member: (number, at) for at, member in enumerate(members)})
        return ranks

    def _colour(self, component: list[Node]) -> None:
        if len(component) == 1 and component[0] not in list(children(component[0])):
            self.of[component[0]] = self._signature(component[0])
            return
        for node in component:
            self.of[node] = _PENDING
        classes = 0
        while True:
            fresh = {node: self._signature(node) for node in component}
            self.of.update(fresh)
            found = len(set(fresh.values()))
            if found == classes:
                return
            classes = found

    def _signature(self, node: Node) -> bytes:
        parts = [item if type(item) is bytes else self.of[item] for item in children(node)]
        if node.kind in (SET, FROZENSET):
            parts.sort()
        return _hash([*_own(node), *parts])


class _Refinement(_Colours):
    """Colours of the whole graph that also say who refers to a node and from where."""

    def __init__(self, root: Item, hard: list[Node], colours: _Colours) -> None:
        self._hard = hard
        self.rank, of = colours.rank, colours.of
        self._nodes = [node for component in _components([root]) for node in component]
        self.of = {node: of.get(node, _PENDING) for node in self._nodes}
        self.of[root] = b"root"
        self._uses = _uses(self._nodes)
        self._refine()
        while (twin := self._pick()) is not None:
            self.of[twin] = _hash([self.of[twin], b"first"])
            self._refine()

    def _refine(self) -> None:
        classes = len(set(self.of.values()))
        while True:
            self.of = {node: self._around(node) for node in self._nodes}
            found = len(set(self.of.values()))
            if found <= classes:
                return
            classes = found

    def _around(self, node: Node) -> bytes:
        uses = sorted(_hash([place, self.of[user]]) for user, place in self._uses[node])
        return _hash([self.of[node], self._signature(node), *uses])

    def _pick(self) -> Node | None:
        """Return one of the members that are alike in some set, of the least colour."""
        alike: list[tuple[bytes, int]] = []
        for at, node in enumerate(self._hard):
            counts = Counter(map(self.key, node.items))
            alike += [(key[1], at) for key, count in counts.items() if count > 1]
        if not alike:
            return None
        colour, at = min(alike, key=lambda each: each[0])
        members = (item for item in self._hard[at].items if isinstance(item, Node))
        return next(item for item in members if self.of[item] == colour)


class _Islands:
    """What hangs on the members of a set and on nothing else."""

    def __init__(self, root: Item) -> None:
        nodes = [node for component in _components([root]) for node in component]
        self._counts: Counter[Node] = Counter(
            item for node in nodes for item in children(node) if isinstance(item, Node)
        )

    def of(self, owner: Node) -> _Island:
        """Return a function that gives the island of a member: its shape, and members in it.

        The shape says what is in it and to what else it refers; it is None when something else
        refers to the member, or when a set in it has an order that is still open.
        """
        members = {item for item in owner.items if isinstance(item, Node)}

        def island(start: Node) -> tuple[Any, list[Node]]:
            inside = self._inside(start, members)
            if inside is None:
                return None, []
            index = {node: at for at, node in enumerate(inside)}
            shape: list[Any] = []
            for node in inside:
                if node.kind in (SET, FROZENSET) and len(node.items) > 1:
                    return None, []
                shape += (len(node.items), *_own(node))
                shape += (index.get(item, item) for item in children(node))
            return shape, [node for node in inside if node in members]

        return island

    def _inside(self, start: Node, members: set[Node]) -> list[Node] | None:
        met: Counter[Node] = Counter()
        inside = {start: None}
        work = deque([start])
        while work:
            for item in children(work.popleft()):
                if isinstance(item, Node):
                    met[item] += 1
                    left = self._counts[item] - met[item] - (item in members)
                    if not left and item not in inside:
                        inside[item] = None
                        work.append(item)
        only = self._counts[start] - met[start] - 1 == 0
        return list(inside) if only else None


def _uses(nodes: list[Node]) -> dict[Node, list[tuple[Node, bytes]]]:
    """Return for each node who refers to it, and at which place; members have no place."""
    uses: dict[Node, list[tuple[Node, bytes]]] = defaultdict(list)
    for node in nodes:
        unordered = node.kind in (SET, FROZENSET)
        for at, item in enumerate(children(node)):
            if isinstance(item, Node):
                uses[item].append((node, b"" if unordered else at.to_bytes(4, "little")))
    return uses


def _components(roots: Iterable[Any]) -> Iterator[list[Node]]:
    """Yield the strongly connected components reachable from `roots`, children first."""
    index: dict[Node, int] = {}
    low: dict[Node, int] = {}
    path: list[Node] = []
    on_path: set[Node] = set()
    for root in roots:
        if not isinstance(root, Node) or root in index:
            continue
        work = [(root, _nodes_under(root, index, low, path, on_path))]
        while work:
            node, under = work[-1]
            child = next(under, None)
            if child is None:
                work.pop()
                if work:
                    above = work[-1][0]
                    low[above] = min(low[above], low[node])
                if low[node] == index[node]:
                    yield _close(node, path, on_path)
            elif child not in index:
                work.append((child, _nodes_under(child, index, low, path, on_path)))
            elif child in on_path:
                low[node] = min(low[node], index[child])


def _nodes_under(
    node: Node, index: dict[Node, int], low: dict[Node, int], path: list[Node], on_path: set[Node]
) -> Iterator[Node]:
    index[node] = low[node] = len(index)
    path.append(node)
    on_path.add(node)
    return (item for item in children(node) if isinstance(item, Node))


def _close(node: Node, path: list[Node], on_path: set[Node]) -> list[Node]:
    at = path.index(node) if path[-1] is not node else len(path) - 1
    component = path[at:]
    del path[at:]
    on_path.difference_update(component)
    return component
