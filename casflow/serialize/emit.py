"""Writing a graph as a pickle stream: the one spelling of what it holds.

Owns the order and form of the opcodes. Invariant: equal graphs give equal bytes; only what is
used twice is memoised, containers are filled in one batch, there are no frames (protocol 5 does
not need them, and without them a stream can be spliced). Each identity that cloudpickle would
have drawn at random is derived from the finished bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from casflow.digests import Hasher, digest_of, hex_of
from casflow.serialize.graph import (
    ADDITEMS,
    APPENDS,
    BUILD,
    BULK,
    BYTEARRAY,
    DICT,
    EFFECT,
    FROZENSET,
    GLOBAL,
    LIST,
    LITERAL,
    MAKE,
    NEWOBJ,
    NEWOBJ_EX,
    REDUCE,
    SET,
    SETITEMS,
    START,
    TUPLE,
    Literal,
    Node,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from casflow.serialize.graph import Item
    from casflow.serialize.owners import Schedule

NO_IDENTITY = text("0" * 32)

_PROTOCOL = b"\x80\x05"
_MEMOIZE, _POP = b"\x94", b"0"
_MEMOISED = frozenset(b"\x8cXCB")  # atoms that are worth a place in the memo: text and bytes
_EMPTY = {LIST: b"]", DICT: b"}", SET: b"\x8f"}
_MADE = {GLOBAL: b"\x93", REDUCE: b"R", NEWOBJ: b"\x81", NEWOBJ_EX: b"\x92"}
_SHORT_TUPLES = (b")", b"\x85", b"\x86", b"\x87")


@dataclass(frozen=True, slots=True, eq=False)
class _Raw:
    """Bytes that go into the stream as they are."""

    code: bytes


@dataclass(frozen=True, slots=True, eq=False)
class _Finish:
    """The point at which a node's parts are on the stack and the node is made of them."""

    node: Node
    code: bytes
    marked: bool


_MARK = _Raw(b"(")
_POP_END = _Raw(_POP)
_EFFECT_ENDS = {2: _Raw(b"\x86R0"), 3: _Raw(b"\x87R0")}
_BUILD_END = _Raw(b"b")
_FILL = {START: _Raw(b"u"), APPENDS: _Raw(b"e"), SETITEMS: _Raw(b"u"), ADDITEMS: _Raw(b"\x90")}
_FILL_OF = {LIST: _FILL[APPENDS], DICT: _FILL[SETITEMS], SET: _FILL[ADDITEMS]}


@dataclass(frozen=True, slots=True)
class Emitted:
    """A finished stream.

    Attributes:
        data: Its bytes.
        literals: Each literal with its offset in `data`, in order.
        small: The same bytes without large payloads.
    """

    data: bytes
    small: bytes
    literals: list[tuple[int, Literal]]


def emit(root: Item, schedule: Schedule | None = None) -> Emitted:
    """Return the stream of a graph whose sets are in order.

    Args:
        root: The object.
        schedule: When owners get what they hold; at once, when there is none.
    """
    writer = _Writer(schedule if schedule is not None and schedule.is_needed else None)
    writer.write(root)
    return writer.finish()


class _Writer:
    """One stream in the making: its pieces, and where each shared thing was made."""

    def __init__(self, schedule: Schedule | None) -> None:
        self._schedule = schedule
        self._out: list[Any] = [_PROTOCOL]
        self._made: dict[Any, int] = {}
        self._gets: list[tuple[int, Item]] = []
        self._literals: list[tuple[int, Literal]] = []
        self._bulk: list[int] = []
        self._work: list[Iterator[Any]] = []

    def write(self, root: Item) -> None:
        """Write an object and everything that it refers to, without recursion."""
        out, made, gets, work = self._out, self._made, self._gets, self._work
        work.append(iter((root,)) if self._schedule is None else self._in_order(root))
        while work:
            for item in work[-1]:
                if type(item) is bytes:
                    if item[0] not in _MEMOISED:
                        out.append(item)
                    elif item in made:
                        gets.append((len(out), item))
                        out.append(b"")
                    else:
                        made[item] = len(out)
                        out.append(item)
                elif item in made:
                    gets.append((len(out), item))
                    out.append(b"")
                elif self._begin(item):
                    break
            else:
                work.pop()

    def _begin(self, item: Any) -> bool:
        """Write what can be written of an item; tell whether there is more of it to do first."""
        kind = type(item)
        if kind is _Raw:
            self._out.append(item.code)
            return False
        if kind is _Finish:
            return self._finish(item)
        if item.kind in _EMPTY:
            return self._container(item)
        if item.kind in (BULK, BYTEARRAY, LITERAL):
            return self._payload(item)
        return self._parts(item)

    def _in_order(self, root: Item) -> Iterator[Any]:
        """Yield what is written: classes, what owners hold, and the object, which stays."""
        schedule = self._schedule
        assert schedule is not None  # noqa: S101
        for node in schedule.classes():
            yield from (node, _POP_END)
        yield from _statements(schedule.members())
        yield from _statements(schedule.fillings())
        yield root

    def _container(self, node: Node) -> bool:
        self._made[node] = len(self._out)
        self._out.append(_EMPTY[node.kind])
        if not node.items:
            return False
        self._out.append(b"(")
        if self._atoms(node.items):
            self._out.append(_FILL_OF[node.kind].code)
            return False
        self._work.append(chain(node.items, (_FILL_OF[node.kind],)))
        return True

    def _atoms(self, items: list[Item]) -> bool:
        """Write items that are all atoms, the common case; tell whether they were."""
        for item in items:
            if type(item) is not bytes:
                return False
        out, made, gets = self._out, self._made, self._gets
        for item in items:
            if item[0] not in _MEMOISED:
                out.append(item)
            elif item in made:
                gets.append((len(out), item))
                out.append(b"")
            else:
                made[item] = len(out)
                out.append(item)
        return True

    def _payload(self, node: Node) -> bool:
        if isinstance(node, Literal):
            self._literals.append((len(self._out), node))
            self._out.append(node.items[0])
            return False
        header, payload = node.items
        self._out += (header, payload, b"")
        self._bulk.append(len(self._out) - 2)
        self._made[node] = len(self._out) - 1
        return False

    def _parts(self, node: Node) -> bool:
        items = node.items
        marked = node.kind == FROZENSET or (node.kind == TUPLE and len(items) > 3)  # noqa: PLR2004
        if marked:
            self._out.append(b"(")
            code = b"\x91" if node.kind == FROZENSET else b"t"
        else:
            code = _SHORT_TUPLES[len(items)] if node.kind == TUPLE else _MADE[node.kind]
        finish = _Finish(node, code, marked)
        if self._atoms(items):
            return self._finish(finish)
        parts = chain(items, (finish,))
        if self._schedule is not None and node.kind in _MADE and node.kind != GLOBAL:
            parts = chain(_statements(self._schedule.before(items[0])), parts)
        self._work.append(parts)
        return True

    def _finish(self, finish: _Finish) -> bool:
        """Make a node of its parts, unless it was made meanwhile, further down in a cycle."""
        node = finish.node
        if node in self._made:
            self._out.append(b"1" if finish.marked else _POP * len(node.items))
            self._gets.append((len(self._out), node))
            self._out.append(b"")
            return False
        self._made[node] = len(self._out)
        self._out.append(finish.code)
        events = node.events
        if events and self._schedule is not None:
            events = self._schedule.at_once(node)
        if not events:
            return False
        self._work.append(_happenings(node, events))
        return True

    def finish(self) -> Emitted:
        """Fill in the memo, the identities and the end."""
        self._out.append(b".")
        self._memoise()
        self._identify()
        offsets = []
        at = last = 0
        for index, literal in self._literals:
            at += sum(map(len, self._out[last:index]))
            last = index
            offsets.append((at, literal))
        data = b"".join(self._out)
        return Emitted(data, self._small() if self._bulk else data, offsets)

    def _small(self) -> bytes:
        bulk = set(self._bulk)
        return b"".join(piece for at, piece in enumerate(self._out) if at not in bulk)

    def _memoise(self) -> None:
        out = self._out
        shared = {item: self._made[item] for _, item in self._gets}
        order = sorted(shared, key=shared.__getitem__)
        for item in order:
            out[shared[item]] += _MEMOIZE
        gets = {item: _get(index) for index, item in enumerate(order)}
        for position, item in self._gets:
            out[position] = gets[item]

    def _identify(self) -> None:
        """Derive the identities from the stream in which they all are noughts."""
        identities = [index for index, each in self._literals if each.role == "identity"]
        if not identities:
            return
        hasher = Hasher()
        hasher.update(self._small())
        for index in self._bulk:
            hasher.update(digest_of(self._out[index]).encode())
        seed = hasher.digest()
        for ordinal, index in enumerate(identities):
            self._out[index] = text(hex_of(digest_of(f"{seed} {ordinal}".encode()))[:32])


def _happenings(node: Node, events: list[tuple[int, list[Item]]]) -> Iterator[Any]:
    return chain.from_iterable(_happening(node, kind, items) for kind, items in events)


def _statements(steps: Iterable[tuple[Node, list[tuple[int, list[Item]]]]]) -> Iterator[Any]:
    """Yield what fills owners one after the other and leaves nothing behind."""
    for node, events in steps:
        yield node
        for kind, items in events:
            yield from _happening(node, kind, items)
        yield _POP_END


def _happening(node: Node, kind: int, items: list[Item]) -> Iterable[Any]:
    if kind == BUILD:
        return (items[0], _BUILD_END)
    if kind == EFFECT:
        return (items[0], node, *items[1:], _EFFECT_ENDS[len(items)])
    if kind == MAKE:
        return tuple(each for item in items for each in (item, _POP_END))
    return (_MARK, *items, _FILL[kind])


def _get(index: int) -> bytes:
    if index < 256:  # noqa: PLR2004 - one byte of index
        return b"h" + bytes([index])
    return b"j" + index.to_bytes(4, "little")
