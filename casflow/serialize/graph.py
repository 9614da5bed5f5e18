"""The object graph of a pickle: what a stream says, without how it says it.

Owns the nodes and atoms that the parser makes, the rules rewrite and the emitter writes.
Invariant: identity is kept where it is meaning (lists, dicts, sets, instances, functions, classes)
and does not exist where it is not: an atom is the bytes of its own opcode, so equal atoms are
equal bytes, and `Graph` makes equal tuples, frozensets and pure calls one node.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from casflow.digests import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Kinds of nodes.
GLOBAL = 1  # items: module, name
TUPLE = 2
LIST = 3
DICT = 4  # items: key, value, key, value ...
SET = 5
FROZENSET = 6
REDUCE = 7  # items: callable, arguments
NEWOBJ = 8  # items: class, arguments
NEWOBJ_EX = 9  # items: class, arguments, keyword arguments
BULK = 10  # items: header, payload of 64 KiB or more; bytes or text
BYTEARRAY = 11  # items: header, payload
LITERAL = 12  # items: opcode bytes that are never shared and may be replaced in the stream

# Kinds of events: what happens to a node after it was made.
APPENDS, SETITEMS, ADDITEMS, BUILD, EFFECT, MAKE, START = range(7)

BULK_SIZE = 64 * 1024  # bytes from which the C pickler hands a payload over by itself

# Calls whose result is immutable and depends on the arguments alone: equal calls become one node.
PURE = {
    ("_codecs", "encode"),
    ("_struct", "Struct"),
    ("_operator", "getitem"),
    ("_operator", "or_"),
    ("_collections_abc", "_CallableGenericAlias"),
    ("collections.abc", "_CallableGenericAlias"),
    ("builtins", "complex"),
    ("builtins", "getattr"),
    ("builtins", "range"),
    ("builtins", "slice"),
    ("cloudpickle.cloudpickle", "subimport"),
    ("datetime", "date"),
    ("datetime", "datetime"),
    ("datetime", "time"),
    ("datetime", "timedelta"),
    ("datetime", "timezone"),
    ("decimal", "Decimal"),
    ("fractions", "Fraction"),
    ("numpy", "dtype"),
    ("numpy._core.multiarray", "scalar"),
    ("pathlib", "PosixPath"),
    ("pathlib", "PurePosixPath"),
    ("pathlib", "PureWindowsPath"),
    ("pathlib", "WindowsPath"),
    ("pathlib._local", "PosixPath"),
    ("pathlib._local", "PurePosixPath"),
    ("pathlib._local", "PureWindowsPath"),
    ("re", "_compile"),
    ("types", "GenericAlias"),
    ("zoneinfo", "ZoneInfo"),
}


# Atoms of a fixed width: None, True, False, integers, floats.
WIDTHS = {ord("N"): 1, 0x88: 1, 0x89: 1, ord("J"): 5, ord("K"): 2, ord("M"): 3, ord("G"): 9}


class UnknownShapeError(Exception):
    """A stream holds an opcode or a record that is not known here; never guessed at."""


class Node:
    """One object of the graph.

    Attributes:
        kind: How it is made.
        items: What it is made of; the content, for lists, dicts and sets.
        events: What is done to it afterwards: (kind of event, items), in order.
    """

    __slots__ = ("events", "items", "kind")

    def __init__(self, kind: int, items: list[Any]) -> None:
        self.kind = kind
        self.items = items
        self.events: list[tuple[int, list[Any]]] | None = None


class Literal(Node):
    """An atom that stands by itself in the stream, to be found and replaced there.

    Attributes:
        role: What it stands for: `file`, `line`, `table` or `identity`.
        info: What the stream does not say: the source that a `file` stands for, the random
            identity that an `identity` stands for.
    """

    __slots__ = ("info", "role")

    def __init__(self, atom: bytes, role: str, info: Any = None) -> None:
        super().__init__(LITERAL, [atom])
        self.role = role
        self.info = info


Item = Any  # an atom (bytes) or a Node; nothing else is in a graph


class Graph:
    """Makes nodes, each immutable one once, and lists those that rules ask for."""

    def __init__(self) -> None:
        self.root: Item = b"N"
        self.globals: list[Node] = []
        self.calls: list[Node] = []
        self.unordered: list[Node] = []
        self.contents: list[Node] = []  # what the streams after the first hold
        self.owners: dict[Node, None] = {}  # functions, classes, cells, namespaces of the object
        self.classes: list[Node] = []  # classes among the owners
        self.states: list[tuple[Node, Item]] = []  # instances, and what they are built of
        self._made: dict[Any, Node] = {}
        self._pure: set[Node] = set()
        self._aliases: dict[Item, tuple[Item, Item]] = {}
        self._only: dict[bytes, Node | None] = {}

    def tuple(self, items: Iterable[Item]) -> Node:
        """Return the one tuple of these items."""
        items = list(items)
        key = (TUPLE, *items)
        node = self._made.get(key)
        if node is None:
            node = self._made[key] = Node(TUPLE, items)
        return node

    def frozenset(self, items: list[Item]) -> Node:
        """Return the one frozenset of these items."""
        key = (FROZENSET, frozenset(items))
        node = self._made.get(key)
        if node is None:
            node = self._made[key] = Node(FROZENSET, items)
            self.unordered.append(node)
        return node

    def reference(self, module: Item, name: Item) -> Node:
        """Return the one reference to an importable object."""
        key = (GLOBAL, module, name)
        node = self._made.get(key)
        if node is None:
            node = self._made[key] = Node(GLOBAL, [module, name])
            self.globals.append(node)
            if (module, name) in _ALIASES:
                self._aliases[node] = (module, name)
            if (module, name) in _PURE:
                self._pure.add(node)
        return node

    def call(self, function: Item, arguments: Item) -> Node:
        """Return a call; the one such call when the function is pure."""
        named = self._aliases.get(function) if self._aliases else None
        if named == _SAME:
            given: Node = arguments.items[0]
            return given
        if named == _BUILTIN_TYPE:
            name = arguments.items[0]
            name = text("FunctionType") if name == text("LambdaType") else name
            return self.reference(text("types"), name)
        if not self._is_pure_call(function, arguments):
            node = Node(REDUCE, [function, arguments])
            self.calls.append(node)
            return node
        arguments = self._with_lists_once(arguments)
        key = (REDUCE, function, arguments)
        known = self._made.get(key)
        if known is None:
            known = self._made[key] = Node(REDUCE, [function, arguments])
            self.calls.append(known)
        return known

    def _with_lists_once(self, item: Item) -> Item:
        """Make equal lists in what a pure call is given one: `Callable[[int], str]` has such."""
        if not isinstance(item, Node) or item.kind not in (TUPLE, LIST):
            return item
        if all(type(each) is bytes for each in item.items) and item.kind == TUPLE:
            return item
        items = [self._with_lists_once(each) for each in item.items]
        if item.kind == TUPLE:
            return self.tuple(items)
        return self._made.setdefault((LIST, *items), item)

    def bulk(self, header: bytes, payload: Any) -> Node:
        """Return the one node of a large immutable payload, whose length the header holds.

        The first of a length needs no digest, and seldom is there a second.
        """
        node = Node(BULK, [header, payload])
        if header not in self._only:
            self._only[header] = node
            return node
        if (first := self._only[header]) is not None:
            self._made[BULK, header, digest_of(first.items[1])] = first
            self._only[header] = None
        return self._made.setdefault((BULK, header, digest_of(payload)), node)

    def is_pure(self, node: Node) -> bool:
        """Tell whether a call was made one with its equals."""
        return node.kind == REDUCE and self._is_pure_call(*node.items)

    def _is_pure_call(self, function: Item, arguments: Item) -> bool:
        if function not in self._pure:
            return False
        name = name_of(function)
        if name == ("numpy", "dtype"):  # with more arguments, it gets its fields afterwards
            return len(arguments.items) == 1
        return True

    def may_change(self, node: Node) -> bool:
        """Tell whether something may happen to a call's result after it was made."""
        if node.kind != REDUCE or not self.is_pure(node):
            return True
        # The dict of a module, or of the members of an enum, is filled afterwards.
        named = name_of(node.items[0]) == ("builtins", "getattr")
        return named and node.items[1].items[1] in _FILLED


def text(value: str) -> bytes:
    """Return the atom of a string, as the C pickler writes it."""
    raw = value.encode("utf-8", "surrogatepass")
    if len(raw) < 256:  # noqa: PLR2004 - one byte of length
        return b"\x8c" + bytes([len(raw)]) + raw
    return b"X" + len(raw).to_bytes(4, "little") + raw


def raw(value: bytes) -> bytes:
    """Return the atom of a bytes object, as the C pickler writes it."""
    if len(value) < 256:  # noqa: PLR2004 - one byte of length
        return b"C" + bytes([len(value)]) + value
    return b"B" + len(value).to_bytes(4, "little") + value


def integer(value: int) -> bytes:
    """Return the atom of an integer, as the C pickler writes it."""
    if 0 <= value < 1 << 16:
        return b"K%c" % value if value < 1 << 8 else b"M" + value.to_bytes(2, "little")
    return pickle.dumps(value, 2)[2:-1]


_FILLED = (text("__dict__"), text("_member_map_"))
_PURE = {(text(module), text(name)) for module, name in PURE}
# Calls that stand for something else: what is given, and a type of the module `types`.
_SAME = (text("casflow.serialize.reducers"), text("same"))
_BUILTIN_TYPE = (text("cloudpickle.cloudpickle"), text("_builtin_type"))
_ALIASES = (_SAME, _BUILTIN_TYPE)


def is_text(item: Any) -> bool:
    """Tell whether an item is the atom of a string."""
    return type(item) is bytes and item[0] in b"\x8cX"


def text_of(item: Any) -> str | None:
    """Return the string that an item is the atom of, else None."""
    if type(item) is not bytes:
        return None
    if item[0] == 0x8C:  # noqa: PLR2004 - SHORT_BINUNICODE
        return item[2:].decode("utf-8", "surrogatepass")
    return item[5:].decode("utf-8", "surrogatepass") if item[0] == 0x58 else None  # noqa: PLR2004


def value_of(atom: bytes) -> Any:
    """Return what an atom stands for: text, bytes, a number, a truth value or None."""
    return pickle.loads(b"\x80\x05" + atom + b".")


def name_of(item: Any) -> tuple[str | None, str | None] | None:
    """Return module and name of a reference, else None."""
    if isinstance(item, Node) and item.kind == GLOBAL:
        return text_of(item.items[0]), text_of(item.items[1])
    return None


def children(node: Node) -> Iterator[Item]:
    """Yield what a node is made of and what its events bring, in order."""
    if node.kind in (BULK, BYTEARRAY, LITERAL):
        return
    yield from node.items
    for _, items in node.events or ():
        yield from items


def members(node: Node) -> Iterator[Item]:
    """Yield the items of a list one by one: the parser takes a run of numbers as one."""
    for item in node.items:
        if type(item) is bytes and item[0] in WIDTHS and len(item) > WIDTHS[item[0]]:
            at = 0
            while at < len(item):
                width = WIDTHS[item[at]]
                yield item[at : at + width]
                at += width
        else:
            yield item


def entries(node: Node) -> Iterator[tuple[Item, Item]]:
    """Yield key and value of each entry of a dict."""
    return zip(node.items[::2], node.items[1::2], strict=True)


def entry(node: Node, key: str) -> Item | None:
    """Return the value of an entry of a dict, None when there is none."""
    wanted = text(key)
    return next((value for name, value in entries(node) if name == wanted), None)


def set_entry(node: Node, key: str, value: Item) -> None:
    """Replace the value of an entry that is there."""
    node.items[2 * node.items[::2].index(text(key)) + 1] = value
