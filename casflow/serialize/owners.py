"""What functions, classes, cells and namespaces hold, and the order in which they get it.

Owns the step from the pickler's further streams to a graph in which each owner has its contents,
and the schedule by which the emitter writes them. Invariant: whatever code of the flow runs while
the blob is loaded (a hash of a member of a set, a constructor, `__setstate__`) finds its classes
complete and its globals filled, save for what can only be made by running it.

The order: all classes, empty, so that no metaclass or `__init_subclass__` of the flow runs; then
everything that is held and runs nothing of the flow; then the rest (instances of its classes, and
what is hashed by them), and before an instance is made, whatever its class can reach. A list, dict
or set that must wait is there before, empty, as it is while a module is imported.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from casflow.serialize.graph import (
    ADDITEMS,
    APPENDS,
    BUILD,
    DICT,
    EFFECT,
    FROZENSET,
    GLOBAL,
    LIST,
    MAKE,
    NEWOBJ,
    NEWOBJ_EX,
    REDUCE,
    SET,
    SETITEMS,
    START,
    TUPLE,
    Graph,
    Item,
    Node,
    children,
    name_of,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

Event = tuple[int, list[Item]]

_CLOUDPICKLE = "cloudpickle.cloudpickle"
CLASSES = ((_CLOUDPICKLE, "_make_skeleton_class"), (_CLOUDPICKLE, "_lookup_class_or_track"))
FUNCTION = ("types", "FunctionType")
CELL = ("types", "CellType")
_LIBRARY, _FLOW, _LEVELS = 1, 2, 3  # who makes what is held: nobody (0), a library, the flow
# What only wraps what it is given.
_PASSIVE = frozenset(
    [
        *(("builtins", name) for name in ("property", "staticmethod", "classmethod")),
        *(("types", name) for name in ("FunctionType", "CellType", "CodeType", "ModuleType")),
        *(("types", name) for name in ("MethodType", "MappingProxyType")),
        ("functools", "partial"),
        ("functools", "_lru_cache_wrapper"),
        ("functools", "cached_property"),
    ]
)
_BY_IDENTITY = (*CLASSES, FUNCTION, CELL)  # what an owner is made by whose hash runs nothing
_FILLS = {LIST: APPENDS, DICT: SETITEMS, SET: ADDITEMS}
_CALLS = (REDUCE, NEWOBJ, NEWOBJ_EX)


def attach(graph: Graph) -> None:
    """Give each owner what the streams after the first say that it holds."""
    namespaces: dict[Node, list[tuple[Item, Item]]] = {}
    starts: dict[Node, list[Event]] = {}
    for batch in graph.contents:
        for each in batch.items if batch.kind == LIST else ():
            owner, content = each.items
            graph.owners[owner] = None
            if content.kind == LIST:
                namespaces.setdefault(owner, [])
                starts.setdefault(owner, []).append((MAKE, list(content.items)))
            elif content.kind == FROZENSET:
                namespaces.setdefault(owner, [])
                start: list[Item] = [text("__builtins__"), *content.items]
                starts.setdefault(owner, []).insert(0, (START, start))
            elif content.kind == DICT:
                pairs = zip(content.items[::2], content.items[1::2], strict=True)
                namespaces.setdefault(owner, []).extend(pairs)
            elif name_of(owner.items[0]) in CLASSES:
                graph.classes.append(owner)
                owner.events = _class_events(graph, *content.items)
            else:
                owner.events = _state_events(graph, *content.items)
    for owner, found in namespaces.items():
        found.sort(key=lambda pair: pair[0])
        owner.events = starts.get(owner, [])
        if found:
            owner.events.append((SETITEMS, [item for pair in found for item in pair]))
        above = owner.items[1].items[0]
        if isinstance(above, Node) and above.kind == REDUCE and above not in graph.owners:
            above.events = [(MAKE, [owner])]  # a module, whose namespace is to be there with it


def _state_events(graph: Graph, attributes: Item, slots: Item) -> list[Event]:
    if slots == b"N":
        return [(BUILD, [attributes])]
    return [(BUILD, [graph.tuple((attributes, slots))])]


def _class_events(
    graph: Graph, members: Node, registry: Item, ordered: Item | None = None
) -> list[Event]:
    setter = graph.call(
        graph.reference(text("builtins"), text("getattr")),
        graph.tuple((graph.reference(text("builtins"), text("type")), text("__setattr__"))),
    )
    events: list[Event] = [(MAKE, list(ordered.items))] if isinstance(ordered, Node) else []
    pairs = zip(members.items[::2], members.items[1::2], strict=True)
    events += [(EFFECT, [setter, name, value]) for name, value in pairs]
    if isinstance(registry, Node):
        registry.kind = SET
        graph.unordered.append(registry)
        update = graph.reference(text(_CLOUDPICKLE), text("_class_setstate"))
        state = Node(DICT, [text("_abc_impl"), registry])
        events.append((EFFECT, [update, graph.tuple((state, Node(DICT, [])))]))
    return events


class Schedule:
    """The order in which owners get what they hold.

    Args:
        graph: A graph whose owners have their contents.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.is_needed = bool(graph.classes)
        self._owners: list[Node] = []
        self._levels: dict[Node, int] = {}
        self._taken: Collection[Node] = ()
        self._steps: tuple[dict[Node, list[Event]], ...] = ({}, {}, {})
        self._ready: set[Node] = set()
        if self.is_needed:
            nodes = _reachable(graph.root)
            self._owners = [node for node in nodes if node in graph.owners]
            self._levels = self._find_levels(nodes)
            self._owners = [each for node in self._owners for each in self._with_waiting(node)]
            for node in self._owners:
                self._sort(node)

    def at_once(self, node: Node) -> list[Event]:
        """Return what happens to a node as soon as it is made."""
        events = node.events or []
        if node not in self._graph.owners:
            return events
        return [event for event in events if event[0] == START]

    def classes(self) -> list[Node]:
        """Return the classes of the flow, in the order in which they are met."""
        known = set(self._graph.classes)
        return [node for node in self._owners if node in known]

    def members(self) -> Iterator[tuple[Node, list[Event]]]:
        """Yield what is only made: the members of each enum in their order, sub-modules."""
        for node in self._owners:
            made = [event for event in node.events or () if event[0] == MAKE]
            if made:
                yield node, made

    def fillings(self) -> Iterator[tuple[Node, list[Event]]]:
        """Yield what each owner gets: what runs nothing, what libraries make, what the flow does.

        The last is taken earlier by `before` when something needs it.
        """
        for step in self._steps:
            for node in self._owners:
                events = step.pop(node, None)
                if events is not None:
                    yield node, events

    def before(self, function: Item) -> Iterator[tuple[Node, list[Event]]]:
        """Yield what has to be filled before a call of something that the flow brings along."""
        last = self._steps[_FLOW]
        if not last or function not in self._graph.owners or function in self._ready:
            return
        self._ready.add(function)
        for node in _reachable(function):
            events = last.pop(node, None)
            for event in events or ():
                yield node, [event]

    def _with_waiting(self, owner: Node) -> Iterator[Node]:
        """Yield an owner, and the containers that it holds whose content must wait."""
        yield owner
        for _, items in owner.events or ():
            for item in items:
                waits = isinstance(item, Node) and item.kind in _FILLS
                if waits and self._level(item) == _FLOW and item not in self._taken:
                    self._graph.owners[item] = None
                    item.events, item.items = [(_FILLS[item.kind], item.items)], []
                    del self._levels[item]
                    yield item

    def _sort(self, node: Node) -> None:
        """Sort what an owner holds by the step in which it can be filled."""
        for kind, items in node.events or ():
            if kind in (MAKE, START):
                continue
            for level, part in enumerate(self._split(kind, items)):
                if part:
                    self._steps[level].setdefault(node, []).append((kind, part))

    def _split(self, kind: int, items: list[Item]) -> list[list[Item]]:
        if kind == SETITEMS:
            return self._split_pairs(items)
        if kind == BUILD and self._level(items[0]):
            return self._split_state(items[0])
        level = max(map(self._level_of_member if kind == ADDITEMS else self._level, items))
        return [items if at == level else [] for at in range(_LEVELS)]

    def _split_pairs(self, items: list[Item]) -> list[list[Item]]:
        parts: list[list[Item]] = [[] for _ in range(_LEVELS)]
        for key, value in zip(items[::2], items[1::2], strict=True):
            parts[max(self._level_of_member(key), self._level(value))] += (key, value)
        return parts

    def _split_state(self, state: Node) -> list[list[Item]]:
        """Split what a function, cell or enum member holds into several such states."""
        if state.kind == DICT:
            return [[Node(DICT, part)] if part else [] for part in self._split_pairs(state.items)]
        empty: list[list[Item]] = [[] for _ in range(_LEVELS)]
        halves = [empty if each == b"N" else self._split_pairs(each.items) for each in state.items]
        return [self._halves(*parts) for parts in zip(*halves, strict=True)]

    def _halves(self, attributes: list[Item], slots: list[Item]) -> list[Item]:
        """Return the state of some attributes and slots, none when there is nothing in it."""
        if not slots:
            return [Node(DICT, attributes)] if attributes else []
        return [
            self._graph.tuple((Node(DICT, attributes) if attributes else b"N", Node(DICT, slots)))
        ]

    def _level_of_member(self, item: Item) -> int:
        return _FLOW if self._is_hashed_by_flow(item) else self._level(item)

    def _level(self, item: Item) -> int:
        return self._levels.get(item, 0) if isinstance(item, Node) else 0

    def _find_levels(self, nodes: list[Node]) -> dict[Node, int]:
        """Return the nodes that hold something that code makes, of libraries or of the flow."""
        users: dict[Node, list[Node]] = defaultdict(list)
        found: list[list[Node]] = [[] for _ in range(_LEVELS)]
        owners = self._graph.owners
        for node in nodes:
            if node in owners:
                continue
            if node.kind in _CALLS:
                found[self._level_of_call(node)].append(node)
            elif any(map(self._is_hashed_by_flow, _hashed(node))):
                found[_FLOW].append(node)
            for item in children(node):
                if isinstance(item, Node):
                    users[item].append(node)
        self._taken = set(users)  # what calls are given, and what is in other things
        levels: dict[Node, int] = {}
        for level in (_FLOW, _LIBRARY):
            work = found[level]
            while work:
                node = work.pop()
                if node not in levels:
                    levels[node] = level
                    work += users[node]
        return levels

    def _is_hashed_by_flow(self, item: Item) -> bool:
        """Tell whether the hash of an item may be that of a member of an enum of the flow."""
        if not isinstance(item, Node):
            return False
        if item.kind in (TUPLE, FROZENSET):
            return any(map(self._is_hashed_by_flow, item.items))
        return item in self._graph.owners and name_of(item.items[0]) not in _BY_IDENTITY

    def _level_of_call(self, call: Node) -> int:
        function = call.items[0]
        if self._is_hashed_by_flow(call.items[1]):  # `Literal[Color.RED]` hashes what it is given
            return _FLOW
        if not isinstance(function, Node) or self._graph.is_pure(call):
            return 0
        if function in self._graph.owners:
            return _FLOW
        if function.kind == GLOBAL:
            return 0 if name_of(function) in _PASSIVE else _LIBRARY
        return 0 if self._graph.is_pure(function) else _FLOW


def _hashed(node: Node) -> list[Item]:
    """Return what is hashed when a node is made."""
    if node.kind == DICT:
        return node.items[::2]
    return node.items if node.kind in (SET, FROZENSET) else []


def _reachable(root: Item) -> list[Node]:
    """Return the nodes that are reached from one, nearest to it first on each branch."""
    if not isinstance(root, Node):
        return []
    seen: dict[Node, None] = {}
    work = [root]
    while work:
        node = work.pop()
        if node in seen:
            continue
        seen[node] = None
        below = [item for item in children(node) if isinstance(item, Node) and item not in seen]
        work += reversed(below)
    return list(seen)
