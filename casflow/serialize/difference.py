"""Where two blobs differ, in the words of their users.

Owns the comparison of two graphs. Invariant: equal blobs have no difference, different ones at
least one; what has no order is compared without one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casflow.serialize.graph import (
    BUILD,
    BULK,
    BYTEARRAY,
    DICT,
    FROZENSET,
    GLOBAL,
    NEWOBJ,
    NEWOBJ_EX,
    REDUCE,
    SET,
    TUPLE,
    Item,
    Node,
    UnknownShapeError,
    entries,
    entry,
    name_of,
    text_of,
    value_of,
)
from casflow.serialize.owners import CLASSES
from casflow.serialize.parse import parse
from casflow.serialize.paths import ROOT, label, parts
from casflow.serialize.sourcemap import with_lines

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
        subject: The task, function or class that it belongs to, such as `task transform`.
        start: The path of the subject.
        file: The file of the function that it belongs to, if that is known.
        line: Where the function begins there.
    """

    path: str
    a: str
    b: str
    subject: str = ""
    start: str = ROOT
    file: str = ""
    line: int = 0

    def describe(self) -> str:
        """Return the same as people say it: `task transform: constant 2 -> 3`."""
        what = _what(self.path.removeprefix(self.start))
        change = "changed" if "instructions" in what else f"{self.a} -> {self.b}"
        if self.b == ABSENT:
            change = f"{self.a} removed"
        elif self.a == ABSENT:
            change = f"{self.b} added"
        subject = f"{self.subject}: " if self.subject else ""
        return f"{subject}{what} {change}" if what else f"{subject}{change}"

    def __str__(self) -> str:
        return f"{self.path}: {self.a} vs {self.b}"


def explain(
    a: bytes, b: bytes, source_maps: tuple[bytes | None, bytes | None] = (None, None)
) -> list[Difference]:
    """Return where two blobs differ, 100 places at most; empty when they are equal.

    Args:
        a: One blob.
        b: The other.
        source_maps: Their source maps, from which files and lines are named.
    """
    if a == b:
        return []
    try:
        first, second = (
            parse(data if source_map is None else with_lines(data, source_map)).root
            for data, source_map in zip((a, b), source_maps, strict=True)
        )
    except UnknownShapeError as error:
        return [Difference(ROOT, f"{len(a)} bytes", f"{len(b)} bytes ({error})")]
    found = list(_Comparison().run(first, second))[:_MOST]
    return found or [Difference(ROOT, "the same values", "the same values, shared otherwise")]


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a part belongs to, as its author calls it."""

    name: str = ""
    start: str = ROOT
    task: str = ""
    file: str = ""
    line: int = 0

    def within(self, path: str, a: Item, b: Item) -> _Subject:
        """Return what the parts of a node belong to: the node itself, when it has a name."""
        if not (isinstance(a, Node) and isinstance(b, Node)) or a.kind == GLOBAL:
            return self
        target = name_of(a.items[0]) if a.items else None
        if target is not None and target[0] == _TASKS and (task := _name_in_state(a)) is not None:
            return _Subject(f"task {task}", path, task)
        if target == ("types", "FunctionType") and a.kind == REDUCE:
            name = text_of(a.items[1].items[2]) or ""
            own = name == self.task
            said = f"task {name}" if own else f"{_file_of(b)}function {name}{_line_of(b)}"
            return _Subject(said, path, self.task, *_place_of(b))
        if target in CLASSES and a.kind == REDUCE:
            return _Subject(label(a), path)
        return self


_TASKS = "casflow.flow.tasks"


def _name_in_state(node: Node) -> str | None:
    for kind, items in node.events or ():
        if kind == BUILD and isinstance(items[0], Node) and items[0].kind == DICT:
            name = entry(items[0], "name")
            return text_of(name) if name is not None else None
    return None


def _line_of(function: Node) -> str:
    code = function.items[1].items[0]
    line = value_of(code.items[1].items[13])
    return f" (line {line})" if _known_file(code) else ""


def _place_of(function: Node) -> tuple[str, int]:
    """Return the file and the first line of a function."""
    code = function.items[1].items[0]
    line = value_of(code.items[1].items[13])
    return _known_file(code), line if isinstance(line, int) else 0


def _file_of(function: Node) -> str:
    file = _known_file(function.items[1].items[0])
    return f"{file}: " if file else ""


def _known_file(code: Node) -> str:
    file = text_of(code.items[1].items[10]) or ""
    return "" if file.startswith("<") else file


_WORDS: tuple[tuple[str, str], ...] = (
    (r"\.__code__(\.co_consts(\[\d+\])+)+$", "constant"),
    (r"\.__code__.*\.co_(names|varnames|freevars|cellvars)\[\d+\]$", "name"),
    (r"\.__code__.*\.co_argcount$", "number of arguments"),
    (r"\.__code__.*\.co_(code|exceptiontable|flags|stacksize|nlocals).*$", "instructions"),
    (r"\.__code__.*\.co_consts$", "constants"),
    (r"\.__defaults__(\[\d+\])+$", "default"),
    (r"\.__defaults__$", "defaults"),
    (r"\.__kwdefaults__\['(\w+)'\]$", r"default of \1"),
    (r"\.__globals__\['(\w+)'\]", r"global \1"),
    (r"\.__closure__\['(\w+)'\]", r"variable \1"),
    (r"\.__annotations__", "annotation"),
    (r"\.__doc__$", "docstring"),
    (r"\.__bases__", "bases"),
)


def _what(path: str) -> str:
    """Return what a part of a function, class or task is called."""
    for pattern, words in _WORDS:
        match = re.match(pattern, path)
        if match is not None:
            return f"{match.expand(words)}{path[match.end() :]}"
    path = re.sub(r"^\._calls\[[^\]]*\](#\d+)?", "", path)
    path = re.sub(r"^\.args\[(\d+)\]", r"argument \1", path)
    return path.removeprefix(".")


class _Comparison:
    """One walk over two graphs side by side."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()
        # Tuples with a difference of their own are told of all that share them, such as functions
        # with equal constants; each time adds to the count, so that there is an end.
        self._told: set[tuple[int, int]] = set()
        self._count = 0
        self._subject = _Subject()

    def run(self, a: Item, b: Item) -> Iterator[Difference]:
        work: list[tuple[str, Item, Item, _Subject]] = [(ROOT, a, b, _Subject())]
        while work and self._count < _MOST:
            path, one, two, self._subject = work.pop()
            self._subject = self._subject.within(path, one, two)
            if not (isinstance(one, Node) and isinstance(two, Node)):
                if one != two:
                    yield self._found(path, one, two)
                continue
            pair = (id(one), id(two))
            if one is two or (pair in self._seen and pair not in self._told):
                continue
            self._seen.add(pair)
            if differs(one, two):
                yield self._found(path, one, two)
            else:
                below, differences = self._below(path, one, two)
                yield from differences
                if one.kind == TUPLE and any(_are_unequal_atoms(*each[1:]) for each in below):
                    self._told.add(pair)
                work += reversed([(*each, self._subject) for each in below])

    def _found(self, path: str, a: Item | None, b: Item | None) -> Difference:
        self._count += 1
        one, two = (ABSENT if each is None else label(each) for each in (a, b))
        subject = self._subject
        return Difference(path, one, two, subject.name, subject.start, subject.file, subject.line)

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


def _are_unequal_atoms(a: Item, b: Item) -> bool:
    return a != b and not (isinstance(a, Node) and isinstance(b, Node))


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
