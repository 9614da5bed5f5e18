"""Reading a pickle stream of protocol 4 or 5 into a graph.

Owns the opcodes. Invariant: nothing is executed or imported, and what is not understood raises
`UnknownShapeError`; the graph is complete or there is none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from casflow.serialize.graph import (
    ADDITEMS,
    APPENDS,
    BUILD,
    BULK_SIZE,
    BYTEARRAY,
    DICT,
    EFFECT,
    LIST,
    MAKE,
    NEWOBJ,
    NEWOBJ_EX,
    REDUCE,
    SET,
    SETITEMS,
    TUPLE,
    WIDTHS,
    Graph,
    Item,
    Node,
    UnknownShapeError,
    entries,
    name_of,
    text,
)

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    _ActionType = Callable[["Parser", int], int]

_MEMOIZE, _BINGET, _LONG_BINGET, _SHORT_TEXT, _STOP = 0x94, 0x68, 0x6A, 0x8C, 0x2E
_BYTEARRAY8 = 0x96
_SET_STATE = ("casflow.serialize.reducers", "set_state")
_PLAIN = {LIST: APPENDS, DICT: SETITEMS, SET: ADDITEMS}

_WIDTHS = [WIDTHS.get(opcode, 0) for opcode in range(256)]

# Many such atoms in a list, taken as one: they are never shared, and their order stays.
_RUN = re.compile(rb"(?:N|\x88|\x89|J.{4}|K.|M..|G.{8}){32,}", re.DOTALL)

# Atoms that say their length, and how many bytes the length has.
_LENGTHS = {0x58: 4, 0x8D: 8, 0x43: 1, 0x42: 4, 0x8E: 8, 0x96: 8, 0x8A: 1, 0x8B: 4}


_ACTIONS: dict[int, Any] = {}


def _on(*opcodes: int) -> Callable[[_ActionType], _ActionType]:
    """Register what is done on some opcodes; it returns where the next one is."""

    def register(action: _ActionType) -> _ActionType:
        _ACTIONS.update(dict.fromkeys(opcodes, action))
        return action

    return register


def parse(data: bytes) -> Graph:
    """Return the graph of a pickle.

    Raises:
        UnknownShapeError: It is no pickle of protocol 4 or 5, or holds an opcode that is not
            known here.
    """
    return Parser(data, None).parse()


class Parser:
    """One reading of one stream.

    Args:
        data: The stream, without the payloads that `payloads` holds.
        payloads: Large payloads in order; None when the stream holds them itself.
        follows: Whether further streams of the same pickler may follow the first.
    """

    def __init__(self, data: bytes, payloads: deque[Any] | None, *, follows: bool = False) -> None:
        self._data = data
        self._payloads = payloads
        self._follows = follows
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: list[Item] = []
        self._graph = Graph()
        self._last_made = -1  # where the last call ended, for effects and repeated calls
        self._repeats: dict[int, Any] = {}

    def parse(self) -> Graph:
        """Read the whole stream.

        Raises:
            UnknownShapeError: It holds something that is not known here.
        """
        try:
            self._run()
        except (IndexError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise UnknownShapeError(f"not a stream that can be read here ({error!r})") from error
        return self._graph

    def _run(self) -> None:
        data, stack, memo, widths, actions = (
            self._data, self._stack, self._memo, _WIDTHS, _ACTIONS,
        )  # fmt: skip
        push, remember = stack.append, memo.append
        results: list[Item] = []
        at = 0
        while True:
            opcode = data[at]
            if opcode == _MEMOIZE:
                remember(stack[-1])
                at += 1
            elif width := widths[opcode]:
                push(data[at : at + width])
                at += width
            elif opcode == _BINGET:
                push(memo[data[at + 1]])
                at += 2
            elif opcode == _SHORT_TEXT:
                end = at + 2 + data[at + 1]
                push(data[at:end])
                at = end
            elif opcode == _STOP:
                (result,) = stack
                results.append(result)
                stack.clear()
                at += 1
                if at == len(data) or not self._follows:
                    break
            else:
                at = actions[opcode](self, at)
        self._graph.root, *self._graph.contents = results

    @_on(0x80)
    def _protocol(self, at: int) -> int:
        return at + 2

    @_on(0x95)
    def _frame(self, at: int) -> int:
        return at + 9

    @_on(_LONG_BINGET)
    def _long_get(self, at: int) -> int:
        self._stack.append(self._memo[int.from_bytes(self._data[at + 1 : at + 5], "little")])
        return at + 5

    @_on(*_LENGTHS)
    def _sized(self, at: int) -> int:
        opcode = self._data[at]
        start = at + 1 + _LENGTHS[opcode]
        size = int.from_bytes(self._data[at + 1 : start], "little")
        if opcode != _BYTEARRAY8 and size < BULK_SIZE:
            self._stack.append(self._data[at : start + size])
            return start + size
        header = self._data[at:start]
        if self._payloads is not None and size >= BULK_SIZE:
            payload, end = memoryview(self._payloads.popleft()).cast("B"), start
        else:
            payload, end = memoryview(self._data)[start : start + size], start + size
        if len(payload) != size:
            raise UnknownShapeError("a payload is cut short")
        self._stack.append(self._payload(opcode, header, payload))
        return end

    def _payload(self, opcode: int, header: bytes, payload: memoryview) -> Node:
        if opcode == _BYTEARRAY8:
            return Node(BYTEARRAY, [header, payload])
        return self._graph.bulk(header, payload)

    @_on(ord("("))
    def _mark(self, at: int) -> int:
        self._marks.append(len(self._stack))
        if self._stack and type(self._stack[-1]) is Node and self._stack[-1].kind == LIST:
            run = _RUN.match(self._data, at + 1)
            if run is not None:
                self._stack.append(run[0])
                return run.end()
        return at + 1

    def _since_mark(self) -> list[Item]:
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    @_on(ord(")"))
    def _empty_tuple(self, at: int) -> int:
        self._stack.append(self._graph.tuple(()))
        return at + 1

    @_on(0x85, 0x86, 0x87)
    def _short_tuple(self, at: int) -> int:
        size = self._data[at] - 0x84
        items = self._stack[-size:]
        del self._stack[-size:]
        self._stack.append(self._graph.tuple(items))
        return at + 1

    @_on(ord("t"))
    def _tuple(self, at: int) -> int:
        self._stack.append(self._graph.tuple(self._since_mark()))
        return at + 1

    @_on(0x91)
    def _frozenset(self, at: int) -> int:
        self._stack.append(self._graph.frozenset(self._since_mark()))
        return at + 1

    @_on(ord("]"))
    def _list(self, at: int) -> int:
        self._stack.append(Node(LIST, []))
        return at + 1

    @_on(ord("}"))
    def _dict(self, at: int) -> int:
        self._stack.append(Node(DICT, []))
        return at + 1

    @_on(0x8F)
    def _set(self, at: int) -> int:
        node = Node(SET, [])
        self._graph.unordered.append(node)
        self._stack.append(node)
        return at + 1

    @_on(0x93)
    def _reference(self, at: int) -> int:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(self._graph.reference(module, name))
        return at + 1

    @_on(ord("R"))
    def _call(self, at: int) -> int:
        arguments, function = self._stack.pop(), self._stack.pop()
        self._stack.append(self._graph.call(function, arguments))
        self._last_made = at
        return at + 1

    @_on(0x81)
    def _new(self, at: int) -> int:
        arguments, cls = self._stack.pop(), self._stack.pop()
        self._stack.append(Node(NEWOBJ, [cls, arguments]))
        self._last_made = at
        return at + 1

    @_on(0x92)
    def _new_with_keywords(self, at: int) -> int:
        keywords, arguments, cls = self._stack.pop(), self._stack.pop(), self._stack.pop()
        self._stack.append(Node(NEWOBJ_EX, [cls, arguments, keywords]))
        self._last_made = at
        return at + 1

    def _event(self, kind: int, items: list[Item]) -> None:
        """Note what happens to the node on top of the stack."""
        node = self._stack[-1]
        if node.kind == REDUCE and kind == MAKE and node.events and (kind, items) in node.events:
            return
        if self._repeats.get(len(self._stack)) is node:
            return  # said before, when the object was reached the first time
        if _PLAIN.get(node.kind) == kind:
            node.items.extend(items)
        elif node.kind not in (REDUCE, NEWOBJ, NEWOBJ_EX) or not self._graph.may_change(node):
            raise UnknownShapeError("an immutable object is changed")
        elif node.events is None:
            node.events = [(kind, items)]
        elif kind not in (BUILD, EFFECT) and node.events[-1][0] == kind:
            node.events[-1][1].extend(items)
        else:
            node.events.append((kind, items))

    @_on(ord("a"))
    def _append(self, at: int) -> int:
        self._event(APPENDS, [self._stack.pop()])
        return at + 1

    @_on(ord("e"))
    def _appends(self, at: int) -> int:
        self._event(APPENDS, self._since_mark())
        return at + 1

    @_on(ord("s"))
    def _set_item(self, at: int) -> int:
        items = self._stack[-2:]
        del self._stack[-2:]
        self._event(SETITEMS, items)
        return at + 1

    @_on(ord("u"))
    def _set_items(self, at: int) -> int:
        self._event(SETITEMS, self._since_mark())
        return at + 1

    @_on(0x90)
    def _add_items(self, at: int) -> int:
        self._event(ADDITEMS, self._since_mark())
        return at + 1

    @_on(ord("b"))
    def _build(self, at: int) -> int:
        state = self._stack.pop()
        self._graph.states.append((self._stack[-1], state))
        self._event(BUILD, [state])
        return at + 1

    @_on(ord("0"))
    def _pop(self, at: int) -> int:
        """Take an object off: an effect, a call that was made twice, or items of such a tuple."""
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
            return at + 1
        top = self._stack.pop()
        if self._is_namespace(top):
            self._event(MAKE, [top])
            return at + 1
        if self._last_made != at - 1:
            return at + 1
        again, end = self._get_after(at + 1)
        if again is not None and again.kind == top.kind and again.items[0] is top.items[0]:
            self._forget(top)
            self._stack.append(again)
            self._repeats[len(self._stack)] = again
            return end
        if not self._graph.is_pure(top):
            self._effect(top)
        return at + 1

    def _is_namespace(self, top: Item) -> bool:
        """Tell whether what was made is the dict of the module below it."""
        if type(top) is not Node or top.kind != REDUCE or not self._stack:
            return False
        arguments = top.items[1]
        below = self._stack[-1]
        return (
            type(below) is Node
            and below.kind == REDUCE
            and name_of(top.items[0]) == ("builtins", "getattr")
            and arguments.items[0] is below
        )

    def _forget(self, call: Node) -> None:
        """Take a call that was made twice out of the list of calls."""
        calls = self._graph.calls
        for at in range(len(calls) - 1, -1, -1):
            if calls[at] is call:
                del calls[at]
                return

    def _get_after(self, at: int) -> tuple[Node | None, int]:
        if self._data[at] == _BINGET:
            node, end = self._memo[self._data[at + 1]], at + 2
        elif self._data[at] == _LONG_BINGET:
            index = int.from_bytes(self._data[at + 1 : at + 5], "little")
            node, end = self._memo[index], at + 5
        else:
            return None, at
        return (node if isinstance(node, Node) else None), end

    def _effect(self, call: Node) -> None:
        arguments = call.items[1]
        fits = call.kind == REDUCE and arguments.kind == TUPLE and len(arguments.items) > 1
        if not fits or arguments.items[0] is not self._stack[-1]:
            raise UnknownShapeError("a call is made for its effect on something else")
        self._graph.calls.pop()  # the effect itself, the latest call
        if name_of(call.items[0]) == _SET_STATE:
            self._set_state(*arguments.items[1].items)
        else:
            self._event(EFFECT, [call.items[0], *arguments.items[1:]])

    def _set_state(self, attributes: Item, slots: Item) -> None:
        """Note attributes that are set by `object` itself."""
        graph = self._graph
        builtin = (graph.reference(text("builtins"), text(each)) for each in ("getattr", "object"))
        getter, plain = builtin
        setter = graph.call(getter, graph.tuple((plain, text("__setattr__"))))
        if isinstance(attributes, Node):
            graph.states.append((self._stack[-1], attributes))
            self._event(EFFECT, [setter, text("__dict__"), attributes])
        pairs = entries(slots) if isinstance(slots, Node) else ()
        for name, value in pairs:
            self._event(EFFECT, [setter, name, value])

    @_on(ord("1"))
    def _pop_mark(self, at: int) -> int:
        self._since_mark()
        return at + 1
