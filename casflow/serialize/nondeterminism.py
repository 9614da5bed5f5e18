"""Values that differ by themselves from run to run, found in one blob.

Owns the list of what is unstable, in `CHECKS`. Invariant: an unstable value is a warning, never an
error: such a value may be meant.
"""

from __future__ import annotations

import re
import struct
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from casflow.serialize.graph import (
    BUILD,
    NEWOBJ,
    REDUCE,
    Item,
    Node,
    UnknownShapeError,
    entry,
    is_text,
    name_of,
    text_of,
    value_of,
)
from casflow.serialize.parse import parse
from casflow.serialize.paths import label, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from casflow.serialize.graph import Graph

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{6,}")
_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[14][0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}")
_RECENT = timedelta(hours=12)
_GENERATORS = {
    ("random", "Random"),
    ("numpy.random._pickle", "__generator_ctor"),
    ("numpy.random._pickle", "__randomstate_ctor"),
}
# Text that is in a stream that holds one of the unstable values below, save moments as floats.
_SIGNS = re.compile(
    rb" at 0x|__file__|datetime|uuid|Random|numpy\.random\._pickle"
    rb"|[0-9a-f]{8}-?[0-9a-f]{4}-?[14][0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}"
)


@dataclass(frozen=True, slots=True)
class UnstableValue:
    """One value that is likely to differ in the next run.

    Attributes:
        path: Where it is, such as `flow.tasks[2].fn.__globals__['RUN']`.
        reason: Why it may differ.
        value: What it is.
    """

    path: str
    reason: str
    value: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason} ({self.value}); the digest may differ in the next run"


def find_unstable(data: bytes) -> list[UnstableValue]:
    """Return the values of a blob that look as if they were made anew in each run."""
    try:
        return unstable_values(parse(data))
    except UnknownShapeError:
        return []


def may_be_unstable(stream: bytes) -> bool:
    """Tell by a quick look at a stream whether a walk over its graph may find something."""
    now = struct.pack(">d", datetime.now(UTC).timestamp())[:3]  # the same for some three days
    temporary = tempfile.gettempdir().encode()
    return b"G" + now in stream or temporary in stream or _SIGNS.search(stream) is not None


def unstable_values(graph: Graph) -> list[UnstableValue]:
    """Return the unstable values of a graph; only atoms and calls can be such."""
    found: list[UnstableValue] = []
    for path, item in walk(graph.root):
        reason = next(filter(None, (check(path, item) for check in CHECKS)), None)
        if reason is not None:
            found.append(UnstableValue(path, reason, label(item)))
    return found


def _text(path: str, item: Item) -> str | None:
    if not is_text(item) or ".co_" in path or path.endswith("__doc__"):
        return None
    value = text_of(item) or ""
    if _ADDRESS.search(value):
        return "the repr of an object, with its address"
    if _UUID.fullmatch(value):
        return "a uuid"
    if value.startswith(tempfile.gettempdir()):
        return "a path in the folder for temporary files"
    return None


def _file(path: str, _: Item) -> str | None:
    return "where the file lies on this machine" if path.endswith("['__file__']") else None


def _moment(_: str, item: Item) -> str | None:
    if _calls(item) != ("datetime", "datetime"):
        return None
    raw = item.items[1].items[0]
    value = value_of(raw) if type(raw) is bytes else None
    if not isinstance(value, bytes) or not value[7:]:
        return None
    year, micros = int.from_bytes(value[:2], "big"), int.from_bytes(value[7:], "big")
    month, day, hour, minute, second = value[2] & 0x7F, *value[3:7]
    moment = datetime(year, month, day, hour, minute, second, micros)  # noqa: DTZ001
    now = datetime.now(UTC).replace(tzinfo=None)
    return "a moment of this run" if micros and abs(now - moment) < 3 * _RECENT else None


def _time(_: str, item: Item) -> str | None:
    if type(item) is not bytes or item[:1] != b"G":
        return None
    recent = abs(value_of(item) - datetime.now(UTC).timestamp()) < _RECENT.total_seconds()
    return "the time of this run" if recent else None


def _uuid(_: str, item: Item) -> str | None:
    if _calls(item) != ("uuid", "UUID"):
        return None
    for kind, items in item.events or ():
        number = entry(items[0], "int") if kind == BUILD else None
        if type(number) is bytes and UUID(int=value_of(number)).version in (1, 4):
            return "a uuid"
    return None


def _generator(_: str, item: Item) -> str | None:
    return "the state of a random generator" if _calls(item) in _GENERATORS else None


def _calls(item: Item) -> tuple[str | None, str | None] | None:
    if not isinstance(item, Node) or item.kind not in (REDUCE, NEWOBJ):
        return None
    return name_of(item.items[0])


CHECKS: tuple[Callable[[str, Item], str | None], ...] = (
    _text,
    _file,
    _moment,
    _time,
    _uuid,
    _generator,
)
