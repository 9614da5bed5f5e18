"""What cannot be stored, what cannot be loaded, and what may differ next time: in plain words."""

from __future__ import annotations

import datetime as dt
import functools
import io
import pickle
import random
import threading
import time
import uuid

import pytest

from casflow.errors import ConfigError, IntegrityError, LoadError
from casflow.serialize import (
    deserialize,
    digest,
    dumps,
    explain,
    find_unstable,
    loads,
    parse,
    serialize,
)
from casflow.serialize.graph import UnknownShapeError

HELD = threading.Lock()
HELD.acquire()


class Box:
    """A flow-like object."""

    def __init__(self, **parts):
        self.name = "box"
        self.__dict__.update(parts)


OPEN = (each for each in "ab")


def reads():
    """Use something of the module that cannot travel."""
    return OPEN


def closes_over(value):
    """Return a function that closes over a value."""

    def inner():
        return value

    return inner


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        (Box(tasks=[1, Box(fn=reads)]), "flow.tasks[1].fn.__globals__['OPEN']"),
        (Box(fn=closes_over(OPEN)), "flow.fn.__closure__['value']"),
        ({"a": (1, OPEN)}, "flow['a'][1]"),
        (functools.partial(print, OPEN), "flow.args[0]"),
        (Box(lock=HELD), "flow.lock"),
        (Box(file=io.StringIO), None),
        ([(each for each in "ab")], "flow[0]"),
    ],
)
def test_what_cannot_be_pickled_is_named_by_its_path(obj, path):
    """The message says where the object is and what it is."""
    if path is None:
        assert loads(dumps(obj)).file is io.StringIO
        return
    with pytest.raises(ConfigError) as caught:
        serialize(obj)
    assert str(caught.value).startswith(f"{path}: cannot pickle")


def test_missing_module_is_named_with_its_distribution():
    """Who lacks a module is told what to install, in the version of the registration."""
    missing = b"\x80\x05\x8c\x0cnowhere.deep\x8c\x01f\x93."
    environment = {"python": "3.11.1", "modules": {"nowhere": "nowhere-dist==1.2"}}
    with pytest.raises(LoadError, match=r"module nowhere of nowhere-dist==1\.2.*install") as caught:
        deserialize(missing, environment=environment)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_failing_load_tells_both_versions():
    """A load that fails says what built the blob and what tries to run it."""
    broken = b"\x80\x05\x8c\x08builtins\x8c\x03int\x93\x8c\x01x\x85R."
    with pytest.raises(
        LoadError, match=r"ValueError.*built with python 2\.7.*running with python 3"
    ):
        deserialize(broken, environment={"python": "2.7", "cloudpickle": "0.1"})


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x80\x05.", b"\x80\x05]"])
def test_bytes_that_are_no_pickle_are_a_load_error(data):
    """Nothing but LoadError leaves `loads`."""
    with pytest.raises(LoadError):
        loads(data)


def test_source_map_of_other_bytes_is_refused():
    """A map is put only where it fits; nothing in it is executed."""
    one, two = serialize(closes_over(1)), serialize(Box())
    source_map = one.attachments["source_map"]
    for other in (two.data + b" ", one.data[3:], b"N."):
        with pytest.raises((IntegrityError, LoadError)):
            deserialize(other, attachments={"source_map": source_map})
    for damaged in (source_map[:-1], source_map + b"x", b"", source_map[:7], b"X" + source_map[1:]):
        if damaged:
            with pytest.raises(IntegrityError):
                deserialize(one.data, attachments={"source_map": damaged})


def test_unknown_shape_falls_back_to_the_plain_stream(monkeypatch):
    """A record of cloudpickle that looks otherwise is stored as it came, with a warning."""
    from casflow.serialize import normalize

    def refuse(call, context):
        raise UnknownShapeError("a record of another version")

    monkeypatch.setattr(normalize, "RULES", [*normalize.RULES, (("types", "CodeType"), refuse)])
    result = serialize(closes_over(3))
    assert pickle.loads(result.data)() == 3
    assert "record of another version" in result.warnings[0]
    assert result.attachments == {}


@pytest.mark.parametrize(
    "stream",
    [
        b"\x80\x02]q\x00.",  # memo by number, protocol 2
        b"\x80\x05\x97.",  # a buffer that is not in the stream
        b"\x80\x05\x8c\x01xQ.",  # a persistent id
        b"\x80\x05\x82\x01.",  # an extension code
        b"\x80\x05]]0.",  # fine for pickle, never written by it
        b"\x80\x05K",
    ],
)
def test_parser_refuses_what_it_does_not_know(stream):
    """An opcode outside of what the C pickler writes is never guessed at."""
    if stream.endswith(b"]]0."):
        assert parse.parse(stream).root.items == []
        return
    with pytest.raises(UnknownShapeError):
        parse.parse(stream)


def test_suspects_are_named_with_their_paths():
    """Values that differ by themselves are found in one blob, and warned of."""
    flow = Box(
        id=uuid.uuid4(),
        hex=uuid.uuid4().hex,
        made=dt.datetime.now(),
        started=time.time(),
        rng=random.Random(),
        shown=repr(HELD),
        fn=closes_over(dt.datetime.now(dt.UTC)),
        fine=[dt.datetime(2020, 1, 1), 1.5, "text", uuid.UUID(int=5)],
    )
    result = serialize(flow)
    paths = {each.path for each in find_unstable(result.data)}
    wanted = {"id", "hex", "made", "started", "rng", "shown", "fn.__closure__['value']"}
    assert paths == {f"flow.{name}" for name in wanted}
    assert len(result.warnings) == len(wanted)
    assert serialize(Box(fine=flow.fine)).warnings == ()


def test_explain_names_the_place():
    """Two blobs are compared by what a user sees."""
    one = dumps(Box(tasks=[Box(fn=closes_over(1))], tags={"a", "b"}, same=[1]))
    two = dumps(Box(tasks=[Box(fn=closes_over(2))], tags={"a", "c"}, same=[1]))
    found = {(each.path, each.a, each.b) for each in explain(one, two)}
    assert ("flow.tasks[0].fn.__closure__['value']", "1", "2") in found
    assert ("flow.tags{…}", "'b'", "absent") in found
    assert not any("same" in path for path, *_ in found)
    assert explain(one, one) == []


FOREIGN = {
    "function": closes_over,
    "lambda": lambda: 1,
    "class": Box,
    "instance": Box(x=1),
    "partial": functools.partial(closes_over, 2),
    "method": Box().__init__,
    "builtin": len,
    "type": int,
    "cached": functools.lru_cache(closes_over),
    "exception": ValueError("x"),
    "thread local class": type("Flow", (), {"name": "f", "run": lambda self: 1}),
    "namespace": __import__("types").SimpleNamespace(name="n", tasks=[closes_over(1)]),
    "coroutine function": __import__("asyncio").sleep,
    "dict": {"name": "flow", "steps": {closes_over}},
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_objects_are_stored_like_flows(name):
    """Any object that can be pickled has canonical bytes, and the same digest each time."""
    result = serialize(FOREIGN[name])
    assert result.data == serialize(FOREIGN[name]).data == dumps(FOREIGN[name])
    pickle.loads(result.data)
    assert digest(FOREIGN[name]).startswith("blake3:")


def test_plain_pickles_of_others_load():
    """`loads` reads any pickle of any protocol."""
    for protocol in range(6):
        assert loads(pickle.dumps([1, {"a"}], protocol)) == [1, {"a"}]


def test_the_second_dump_in_one_process_is_the_same():
    """Nothing that serialising leaves behind is in the bytes."""
    box = Box(inner=Box(), error=ValueError("x"))
    assert dumps(box) == dumps(box) == dumps(box)


class Untouchable:
    """Raises whatever one asks it for."""

    def __getattr__(self, name):
        raise RuntimeError(name)

    def __iter__(self):
        raise RuntimeError("iterated")


def test_the_search_for_what_cannot_be_pickled_runs_no_code_of_the_user():
    """The real error is told, although other parts raise when they are looked at."""
    with pytest.raises(ConfigError, match=r"flow\.parts\[1\]\['open'\]: cannot pickle"):
        serialize(Box(parts=[Untouchable(), {"open": OPEN}]))
