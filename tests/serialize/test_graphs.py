"""Random object graphs: round trip, idempotence, aliases, and equal bytes whatever the order."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from casflow.serialize import dumps, explain, loads
from tests.examples import examples

EXAMPLES = examples(1500)
ROOT = Path(__file__).parents[2]


class Thing:
    """An object with identity."""

    def __init__(self, name):
        self.name, self.links = name, []


# A graph is written as instructions, so that other processes can make the same one.
INSTRUCTIONS = st.lists(
    st.tuples(
        st.sampled_from("lsdtfox"), st.integers(0, 30), st.lists(st.integers(0, 30), max_size=5)
    ),
    min_size=1,
    max_size=14,
)


ATOMS = (str, bytes, int, float, type(None))
MAKERS = {"l": list, "s": set, "d": dict}


def build(instructions, flip=False):
    """Make the objects of some instructions; containers are filled last, so cycles appear."""
    made = [None, 1, 1.5, "text", b"raw", "text" + "s", ("a", 1), frozenset({"p", "q"})]
    fill = []
    for kind, name, links in instructions:
        picks = [made[link % len(made)] for link in links]
        if kind == "t":
            made.append(tuple(picks))
        elif kind == "f":
            made.append(frozenset(each for each in picks if hashable(each)))
        elif kind == "x":
            made.append("".join(["n", str(name % 3)]))  # never interned
        else:
            made.append(MAKERS[kind]() if kind in MAKERS else Thing(name % 3))
            fill.append((made[-1], links))
    for obj, links in fill:
        order = links[::-1] if flip and isinstance(obj, set) else links
        put(obj, [made[link % len(made)] for link in order])
    return made


def put(obj, picks):
    """Fill one container."""
    if isinstance(obj, list):
        obj.extend(picks)
    elif isinstance(obj, set):
        obj.update(each for each in picks if hashable(each))
    elif isinstance(obj, dict):
        obj.update({f"k{at}": each for at, each in enumerate(picks)})
    else:
        obj.links.extend(picks)


def hashable(obj):
    """Tell whether an object can be in a set."""
    try:
        hash(obj)
    except TypeError:
        return False
    return True


def same(a, b):
    """Tell whether two ordered graphs have the same shape, aliases of mutable objects included."""
    there, back, work = {}, {}, [(a, b)]
    while work:
        one, two = work.pop()
        if type(one).__name__ != type(two).__name__:
            return False
        if isinstance(one, (list, dict, set, Thing)):
            if id(one) in there and there[id(one)] == id(two):
                continue
            if there.setdefault(id(one), id(two)) != id(two):
                return False
            if back.setdefault(id(two), id(one)) != id(one):
                return False
        ones, twos = below(one), below(two)
        if len(ones) != len(twos) or (isinstance(one, ATOMS) and one != two):
            return False
        work += zip(ones, twos, strict=True)
    return True


def below(obj):
    """Return the parts of an object that have an order; of a set, its atoms and its size."""
    if isinstance(obj, (list, tuple)):
        return list(obj)
    if isinstance(obj, dict):
        return [*obj, *obj.values()]
    if isinstance(obj, (set, frozenset)):
        return [
            len(obj),
            *sorted(repr(each) for each in obj if isinstance(each, (str, int, bytes))),
        ]
    if type(obj).__name__ == "Thing":
        return [obj.name, obj.links]
    return []


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(INSTRUCTIONS)
def test_round_trip_keeps_graph_and_bytes(instructions):
    """A loaded graph has the same shape and aliases, and gives the same bytes again."""
    graph = build(instructions)
    data = dumps(graph)
    loaded = pickle.loads(data)
    assert same(graph, loaded)
    again = dumps(loaded)
    assert again == data, explain(data, again)


@settings(max_examples=EXAMPLES // 3, deadline=None, suppress_health_check=list(HealthCheck))
@given(INSTRUCTIONS)
def test_order_of_filling_sets_does_not_matter(instructions):
    """Sets filled the other way round, of objects at other addresses, give the same bytes."""
    assert dumps(build(instructions)) == dumps(build(instructions, flip=True))


CHILD = """
import importlib.util, json, sys
sys.path.insert(0, sys.argv[1])
spec = importlib.util.spec_from_file_location("test_graphs", sys.argv[2])
module = sys.modules["test_graphs"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from casflow.serialize import digest
print(json.dumps([digest(module.build(each)) for each in json.loads(sys.stdin.read())]))
"""


def test_equal_in_processes_of_other_hash_seeds():
    """Graphs made by the same instructions have one digest under four hash seeds."""
    samples: list[object] = []

    @settings(
        max_examples=examples(300),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(INSTRUCTIONS)
    def collect(instructions):
        samples.append(instructions)

    collect()
    found = {seed: _digests(seed, samples) for seed in ("0", "1", "2", "random")}
    assert len(found["0"]) == len(samples)
    assert found["0"] == found["1"] == found["2"] == found["random"]


def _digests(seed, samples):
    command = [sys.executable, "-c", CHILD, str(ROOT), __file__]
    environment = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": seed}
    done = subprocess.run(
        command,
        input=json.dumps(samples),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("order", ["ab", "aab", "abab", "baab", "abba"])
def test_equal_large_payloads_are_stored_once(order):
    """Payloads of one length are told apart by what they hold, whichever comes first."""
    size = 100_000
    made = [bytes(bytearray(name.encode() * size)) for name in order]
    data = dumps(made)
    assert pickle.loads(data) == made
    assert len(data) // size == len(set(order))


class Linked:
    """An instance like others, with a partner or none."""

    other = None


def _alike(count):
    return {Linked() for _ in range(count)}


def _pairs(count):
    found = set()
    for _ in range(count):
        one, two = Linked(), Linked()
        one.other, two.other = two, one
        found |= {one, two}
    return found


@pytest.mark.parametrize("make", [_alike, _pairs])
def test_members_that_are_alike_need_no_search(make, monkeypatch):
    """Thousands of twins in a set are in order without telling them apart one by one."""
    from casflow.serialize import ordering

    def refuse(*_):
        raise AssertionError("the whole graph is refined")

    monkeypatch.setattr(ordering._Refinement, "__init__", refuse)
    assert dumps(make(300)) == dumps(make(300))
    assert len(loads(dumps(make(50)))) in (50, 100)
