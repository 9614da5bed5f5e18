"""Plain values, library objects and modules beside the script."""

# ruff: noqa: ICN001, FURB167, UP006, UP045, UP007, RUF007

import array
import collections
import datetime
import decimal
import fractions
import ipaddress
import pathlib
import random
import re
import string
import types
import typing
import uuid
import zoneinfo
from typing import Annotated, Any, Literal, Optional, Union

import beside
import crew
from beside import Cleaner, Odd, cached, clean
from case import Cases
from crew import go_left

cases = Cases()
add = cases.add

add("none", None, "x")
add("text", "a" * 300, "len(x)")
add("bytes", b"b" * 300, "len(x)")
add("large_text", "é" * 100_000, "len(x)")
add("large_bytes", [b"b" * 100_000, b"b" * 100_000, b"c" * 100_000], "[len(b) for b in x]")
add("bytearray", bytearray(b"abc"), "bytes(x)")
add("numbers", [0, 255, 256, 65536, -1, 2**70, -(2**70), 1.5, -0.0, 1e300, 1j, True], "x")
add("tuples", ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ("a",) * 3), "x")
add("set_of_text", {"a", "b", "c", "dd", "eee"}, "sorted(x)")
add("set_of_mixed", {None, 1, "a", (1, "b"), frozenset({"x", "y"}), 2.5, b"z"}, "len(x)")
add("set_of_sets", {frozenset({"a", "b"}), frozenset({"c", frozenset({"d", "e"})})}, "len(x)")
add("dict_order", {"b": 1, "a": 2, "c": {"z": 1, "y": 2}}, "list(x), list(x['c'])")
add(
    "dict_of_sets",
    {name: set(string.ascii_lowercase[:n]) for n, name in enumerate("abcdef")},
    "sorted(x['f'])",
)
_list = [1]
_list.append(_list)
add("list_cycle", _list, "x[1] is x")
_dict = {}
_dict["self"] = (_dict, [_dict])
add("dict_cycle", _dict, "x['self'][0] is x")
_same = ["s"]
add("aliases", [_same, _same, ["s"]], "x[0] is x[1], x[0] is x[2]")
_hub = {"members": set()}


class Member:
    def __init__(self, name, hub):
        self.name, self.hub, self.peers = name, hub, set()


_members = [Member(name, _hub) for name in ("m1", "m2", "m3", "m4")]
_hub["members"].update(_members)
for _a in _members:
    _a.peers.update(b for b in _members if b is not _a)
add("set_cycle", _hub, "sorted(m.name for m in x['members'])")
_ring = [Member("same", None) for _ in range(4)]
for _i, _a in enumerate(_ring):
    _a.peers.add(_ring[(_i + 1) % 4])
add("ring_of_twins", set(_ring), "len(x)")
_twins = [Member("same", None) for _ in range(3)]
add("twins_told_apart", [set(_twins), _twins[1], {"last": _twins[2]}], "x[1] in x[0]")

add("counter", collections.Counter("abracadabra"), "x['a']")
add("ordered_dict", collections.OrderedDict([("b", 1), ("a", 2)]), "list(x)")
add("default_dict", collections.defaultdict(set, {"a": {"x", "y"}}), "sorted(x['a'])")
add("deque", collections.deque([1, {"a", "b"}], maxlen=3), "x.maxlen")
add("chain_map", collections.ChainMap({"a": 1}, {"b": {"c", "d"}}), "x['a']")
add("dict_views", [{"a": 1}.keys(), {"b": 2}.values(), {"c": 3}.items()], "[list(v) for v in x]")
add("namespace", types.SimpleNamespace(b={"x", "y"}, a=1), "x.a")
add("mapping_proxy", types.MappingProxyType({"a": {"x", "y"}}), "sorted(x['a'])")
add("array", array.array("d", [1.0, 2.0]), "list(x)")
add("range_slice", [range(1, 10, 2), slice(1, None, 2), Ellipsis, NotImplemented], "list(x[0])")
add(
    "dates",
    [
        datetime.date(2020, 1, 2),
        datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.UTC),
        datetime.time(1),
        datetime.timedelta(1),
    ],
    "x[1].isoformat()",
)
add("zone", datetime.datetime(2020, 1, 2, tzinfo=zoneinfo.ZoneInfo("UTC")), "x.isoformat()")
add(
    "decimals",
    [decimal.Decimal("1.10"), fractions.Fraction(1, 3), decimal.Context(prec=5)],
    "str(x[0])",
)
add("paths", [pathlib.Path("a/b"), pathlib.PurePosixPath("/c")], "str(x[0])")
add("patterns", [re.compile("a+"), re.compile(b"b", re.I), re.compile("a+")], "x[0].pattern")
add("uuid", uuid.UUID("12345678-1234-5678-1234-567812345678"), "x.hex")
add("address", ipaddress.ip_network("10.0.0.0/8"), "str(x)")
add("random_seeded", random.Random(7), "x.random()")
add("string_template", string.Template("$a b"), "x.substitute(a=1)")
add(
    "exceptions",
    [ValueError("a", 1), KeyError("b"), OSError(2, "no", "f")],
    "[type(e).__name__ for e in x]",
)
add(
    "typing",
    [
        list[int],
        dict[str, list[int]],
        typing.List[int],
        Optional[int],
        Union[int, str],
        int | None,
        Any,
        Literal["a", 1],
        Annotated[int, "m"],
        typing.Callable[[int], str],
    ],
    "len(x)",
)
add(
    "types",
    [int, list, type, types.FunctionType, type(...), types.ModuleType],
    "[t.__name__ for t in x]",
)
add("module_of_library", string, "x.digits")


def uses_module():
    return beside.clean(2), beside.words(), beside.Cleaner(1).run(1), beside.cached(1)


def uses_names():
    return clean(2), Cleaner(1).run(2), cached(2), Odd.__name__


def uses_package():
    return go_left(5), crew.left.go_left(4), crew.right.go_right(3)


add("module_beside", beside, "x.clean(3)")
add("uses_module_beside", uses_module)
add("uses_names_beside", uses_names)
add("uses_package_beside", uses_package)
add("function_beside", beside.clean, "x(4)")
add("class_beside", beside.Cleaner, "x(1).run(1)")
add("instance_beside", Cleaner(5), "x.run(2)")
add("lru_cache_beside", cached, "x(3)")


class Task:
    def __init__(self, function, name=None, tags=(), **options):
        self.function, self.name = function, name or function.__name__
        self.tags, self.options = set(tags), options

    def run(self, *args):
        return self.function(*args)


class Flow:
    def __init__(self, name):
        self.name, self.tasks, self.edges = name, [], set()

    def add(self, task, *upstream):
        self.tasks.append(task)
        self.edges.update((up, task) for up in upstream)
        return task

    def run(self):
        return [task.name for task in self.tasks], len(self.edges)


def extract(n=3):
    return list(range(n))


def transform(rows):
    return [clean(row) for row in rows if row not in {0, "skip", None}]


def load(rows):
    return sum(rows), beside.FACTOR


flow = Flow("small")
_e = flow.add(Task(extract, tags={"io", "fast", "daily"}))
_t = flow.add(Task(transform, retries=3, on={"fail", "retry"}), _e)
flow.add(Task(load), _t, _e)
add("flow", flow, "x.run()")
twin_flow = Flow("twins")
_first = twin_flow.add(Task(extract))
for _ in range(4):
    twin_flow.add(Task(transform), _first)
add("flow_of_twins", twin_flow, "x.run()")
wide_flow = Flow("wide")
_tasks = [wide_flow.add(Task(extract, name=f"t{n}", tags={f"g{n % 3}", "all"})) for n in range(25)]
for _a, _b in zip(_tasks, _tasks[1:], strict=False):
    wide_flow.edges.add((_a, _b))
add("flow_wide", wide_flow, "x.run()")

if __name__ == "__main__":
    cases.report()
