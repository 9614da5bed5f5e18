"""Shapes that classes and functions take in the libraries that teams keep for themselves."""

from __future__ import annotations

import abc
import argparse
import asyncio
import collections
import contextlib
import copyreg
import csv
import dataclasses
import enum
import functools
import inspect
import io
import itertools
import json
import json as _json
import logging
import operator
import os
import re
import string
import sys
import threading
import types
import typing as t
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Callable,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    Protocol,
    TypeVar,
    TypeVarTuple,
    Unpack,
)

T = TypeVar("T")
S = TypeVar("S", str, bytes)
Ts = TypeVarTuple("Ts")
log = logging.LoggerAdapter(logging.getLogger(__name__), {"team": {"etl"}})
loop_lock = asyncio.Lock()
slots_left = asyncio.Semaphore(2)
ids = itertools.count(10)
turns = itertools.cycle("ab")
POOL = ThreadPoolExecutor(max_workers=2, thread_name_prefix="etl")
nothing = contextlib.nullcontext(3)
parser = argparse.ArgumentParser(prog="etl")
parser.add_argument("--level", choices=sorted({"a", "b"}), default="a", type=str.lower)
PATTERNS = {re.compile("a+"), re.compile("b+", re.I)}
buffer = io.StringIO("x\ny")
keys_view = {"b": 1, "a": 2}.keys()


class Coord(collections.namedtuple("Coord", "x y")):
    __slots__ = ()

    @property
    def norm(self):
        return abs(self.x) + abs(self.y)

    def __add__(self, o):
        return self._replace(x=self.x + o.x)


class Pairs(NamedTuple, Generic[T]):
    first: T
    second: T


class Dialect(csv.excel):
    delimiter = ";"
    quotechar = "'"


class Shouting(string.Formatter):
    def format_field(self, value, spec):
        return super().format_field(value, spec).upper()


class Borg:
    _shared: ClassVar[dict] = {"n": 1}

    def __init__(self):
        self.__dict__ = self._shared


class HasDefault:
    DEFAULT: "HasDefault"

    def __init__(self, n=0):
        self.n = n

    def is_default(self):
        return self is HasDefault.DEFAULT


HasDefault.DEFAULT = HasDefault(5)


class Left:
    other: type


class Right:
    other = Left

    def flip(self):
        return self.other()


Left.other = Right


class Registry:
    def __init__(self):
        self._by = {}

    def __call__(self, *kinds, **options):
        def deco(cls):
            for kind in kinds:
                self._by[kind] = (cls, options)
            return cls

        return deco

    def make(self, kind):
        cls, options = self._by[kind]
        return cls(**options)


sources = Registry()


@sources("csv", "tsv", sep=",")
class CsvSource:
    def __init__(self, sep):
        self.sep = sep

    def again(self):
        return sources.make("csv").sep


class Weekend(enum.Enum):
    def _generate_next_value_(name, start, count, last):
        return name.lower()

    SAT = enum.auto()
    SUN = enum.auto()


@dataclass(frozen=True)
class Spec:
    size: int
    unit: str = "m"


class Sizes(Spec, enum.Enum):
    S = 1
    L = 2, "km"


class Bits(enum.IntFlag, boundary=enum.KEEP):
    A = 1
    B = 4


class Callbacks(enum.Enum):
    @staticmethod
    def _make(n):
        return n * 2

    @enum.property
    def twice(self):
        return self._make(self.value)

    ONE = 1


class Interface(abc.ABC):
    @classmethod
    def __subclasshook__(cls, other):
        return True if any("fetch" in vars(b) for b in other.__mro__) else NotImplemented


class Fetcher:
    def fetch(self):
        return isinstance(self, Interface)


class Anything(type):
    def __instancecheck__(cls, obj):
        return True

    def __getattr__(cls, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class Any_(metaclass=Anything):
    pass


class Fields(type):
    def __new__(mcs, name, bases, ns, *, strict=False, **kw):
        fields = {k: v for b in bases for k, v in getattr(b, "fields", {}).items()}
        fields.update({k: ns.pop(k) for k in list(ns) if isinstance(ns[k], Field)})
        cls = super().__new__(mcs, name, bases, ns, **kw)
        cls.fields = fields
        cls.strict = strict
        return cls

    def __init__(cls, name, bases, ns, **kw):
        super().__init__(name, bases, ns)
        for k, f in cls.fields.items():
            f.bind(cls, k)


class Field:
    creation = 0

    def __init__(self, kind=str, *, default=None):
        Field.creation += 1
        self.order, self.kind, self.default, self.owners = Field.creation, kind, default, []

    def bind(self, cls, name):
        self.name = name
        self.owners.append(cls)


class Form(metaclass=Fields):
    def __init__(self, **data):
        self.data = {
            k: f.kind(data.get(k, f.default))
            for k, f in sorted(self.fields.items(), key=lambda kv: kv[1].order)
        }


class Login(Form, strict=True):
    user = Field()
    age = Field(int, default=1)


class Admin(Login):
    role = Field(default="root")


class Ref:
    def __init__(self, x, y):
        self.x, self.y = x, y


copyreg.pickle(Ref, lambda r: (Ref, (r.x, r.y)))
REF = Ref(1, [2])


class NoState:
    def __init__(self):
        self.cache = object()

    def __getstate__(self):
        return None


class OwnState:
    __slots__ = ("a", "_b")

    def __init__(self):
        self.a, self._b = 1, {3, 2}

    def __getstate__(self):
        return self.a, sorted(self._b)

    def __setstate__(self, s):
        self.a, b = s
        self._b = set(b)


class NewArgs:
    def __new__(cls, a, *, b):
        self = super().__new__(cls)
        self.a, self.b = a, b
        return self

    def __getnewargs_ex__(self):
        return (self.a,), {"b": self.b}


NEWARGS, NOSTATE, OWNSTATE = NewArgs(1, b=2), NoState(), OwnState()


class Matrix(list):
    def __init__(self, rows, cols):
        super().__init__([0] * cols for _ in range(rows))
        self.cols = cols


class Bag(collections.Counter):
    def top(self):
        return self.most_common(1)[0][0]


class Recent(collections.deque):
    def __init__(self, it=(), size=2):
        super().__init__(it, maxlen=size)


class AutoDict(collections.defaultdict):
    def __missing__(self, k):
        self[k] = AutoDict()
        return self[k]


class Celsius(float):
    unit = "C"

    def __new__(cls, v, unit="C"):
        self = float.__new__(cls, v)
        self.unit = unit
        return self


class Tag(str):
    __slots__ = ()

    def __call__(self, x):
        return f"<{self}>{x}</{self}>"


class Ids(frozenset):
    def only(self):
        (x,) = self
        return x


MATRIX, BAG, RECENT, AUTO, TEMP, TAG, IDS = (
    Matrix(1, 2),
    Bag("aab"),
    Recent("abc"),
    AutoDict(),
    Celsius(3, "F"),
    Tag("b"),
    Ids({4}),
)
AUTO["x"]["y"]


class Bound:
    def __init__(self):
        self.run = types.MethodType(lambda self: self.n, self)
        self.n = 4


BOUND = Bound()


class upper_property(property):
    def __get__(self, obj, owner=None):
        got = super().__get__(obj, owner)
        return got.upper() if isinstance(got, str) else got


class logged_classmethod(classmethod):
    def __get__(self, obj, owner=None):
        return functools.partial(super().__get__(obj, owner), via="log")


class Descs:
    __slots__ = {"a": "the a", "_p": "private", "__dict__": ""}
    json = _json
    path = os.path

    def __init__(self):
        self.a, self._p, self.__secret = 1, "p", 9

    @upper_property
    def p(self):
        return self._p

    @p.setter
    def p(self, v):
        self._p = v

    @p.deleter
    def p(self):
        del self._p

    @logged_classmethod
    def make(cls, *, via=None):
        return cls.__name__, via

    @functools.singledispatchmethod
    @classmethod
    def of(cls, x):
        return "any"

    @of.register
    @classmethod
    def _(cls, x: int):
        return "int"

    def secret(self):
        return self.__secret

    def dump(self):
        return self.json.dumps([self.path.basename("/a/b")])


class Plugin:
    __match_args__ = ("name", "size")
    __hash__ = object.__hash__
    size = 2
    table = {n: n * 2 for n in range(3)}
    squares = [x * y for x in (1, 2) for y in (3, 4) if x < y]
    double = staticmethod(lambda x: x * 2)
    four = double(2)

    def __init__(self, name):
        self.name = name

    def __eq__(self, o):
        return type(o) is type(self) and o.name == self.name


def matching(p):
    match p:
        case Plugin("a", size=n):
            return n
        case Plugin(name=("b" | "c") as which):
            return which
        case {"x": [first, *_], **more} if more:
            return first, more


class Reader(Protocol[T]):
    def read(self, n: int = ...) -> T: ...


@t.runtime_checkable
class Closing(Protocol):
    closed: bool

    def close(self) -> None: ...


class Shared(Generic[T, Unpack[Ts]]):
    def __init__(self, *args: Unpack[Ts]) -> None:
        self.args = args


class Alias(t.TypedDict, Generic[T]):
    item: T


Meter = t.NewType("Meter", Spec)
Bounded = Annotated[int, Spec(3), {"doc": {"x", "y"}}]
Both = Literal[Weekend.SAT, "x", 1]
HINTS = t.get_type_hints(Spec)
FIELDS = dataclasses.fields(Spec)
SIG = inspect.signature(matching)


def with_signature(*a, **k):
    return a, k


with_signature.__signature__ = inspect.Signature(
    [inspect.Parameter("x", inspect.Parameter.POSITIONAL_ONLY, default=Spec(1))]
)


@dataclass
class Meta:
    name: str = field(metadata={"tags": frozenset({"x", "y"})})
    items: list[Spec] = field(default_factory=list)
    spec: Spec = Spec(7)
    on_done: Callable[[Any], Any] = print
    when: datetime = datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    __hash__ = None


@dataclass(eq=False)
class Linked:
    name: str
    next: Linked | None = field(default=None, repr=False)
    all: ClassVar[list[Linked]] = []

    def __post_init__(self):
        self.all.append(self)


HEAD = Linked("a", Linked("b"))
HEAD.next.next = HEAD


class Failing(RuntimeError):
    def __init__(self, code, *args):
        super().__init__(code, *args)
        self.code = code


ERR = Failing(3, "x")
ERR.__cause__ = ValueError("inner")
ERR.add_note("a note")


def fact():
    def inner(n):
        return 1 if n < 2 else n * inner(n - 1)

    return inner


factorial = fact()


def ping_pong():
    def ping(n):
        return n and pong(n - 1)

    def pong(n):
        return n and ping(n - 1)

    return ping


ping = ping_pong()


def self_ref(n=0):
    self_ref.last = n
    return self_ref.me is self_ref


self_ref.me = self_ref
TABLE = {}


def in_table(k):
    return TABLE[k] is in_table


TABLE["me"] = in_table


def throttle(per):
    state = {"last": None, "calls": collections.deque(maxlen=per)}
    lock = threading.RLock()

    def deco(fn):
        @functools.wraps(fn)
        def inner(*a, **k):
            with lock:
                state["calls"].append(fn.__name__)
                return fn(*a, **k), len(state["calls"]) > 0

        inner.state = state
        return inner

    return deco


@throttle(3)
def throttled(x: Spec | None = None, *, to=sys.stderr):
    return x


class CountCalls:
    def __init__(self, fn):
        functools.update_wrapper(self, fn)
        self.calls = 0
        self._fn = fn

    def __call__(self, *a):
        self.calls += 1
        return self._fn(*a)

    def __set_name__(self, owner, name):
        self.owner = owner

    def __get__(self, obj, owner):
        return types.MethodType(self, obj)


class UsesCounter:
    @CountCalls
    def go(self, x):
        "Go."
        return x


@CountCalls
def counted(a, b=(1, 2)):
    """Count me."""
    return a, b


def parametrised(**defaults):
    def deco(cls):
        new = type(
            cls.__name__,
            (cls,),
            {**defaults, "__module__": cls.__module__, "__qualname__": cls.__qualname__},
        )
        return new

    return deco


@parametrised(limit=4)
class Wrapped:
    limit = 1

    def get(self):
        return self.limit


class Task:
    name: str = "task"

    def __init_subclass__(cls, /, retries: int = 1, **kw):
        super().__init_subclass__(**kw)
        cls.retries = retries
        cls.hooks = tuple(v for v in vars(cls).values() if getattr(v, "is_hook", False))

    def __call__(self, *a):
        return self.run(*a)


def hook(fn):
    fn.is_hook = True
    return fn


class Extract(Task, retries=3):
    @hook
    def before(self):
        return "before"

    def run(self, n=1):
        return [h(self) for h in self.hooks], n, super().name


EXTRACT = Extract()


async def agen(n):
    for i in range(n):
        yield i
        await asyncio.sleep(0)


async def use_agen():
    async with loop_lock, slots_left:
        return [x async for x in agen(3)] + [y for y in [1] if await asyncio.sleep(0, True)]


def run_agen():
    return asyncio.run(use_agen())


def delegating():
    def sub():
        got = yield 1
        return got

    result = yield from sub()
    yield result


def uses_pool():
    return list(POOL.map(len, ["a", "bb"]))


def next_id():
    return next(ids) >= 10, next(turns) in "ab"


def logs():
    log.info("x %s", 1)
    return sorted(log.extra["team"])


def parses(argv=("--level", "B")):
    return parser.parse_args(list(argv)).level


def finds(text="xxab"):
    return sorted(p.pattern for p in PATTERNS if p.search(text))


def reads():
    return buffer.getvalue(), list(keys_view), nothing.enter_result


def this_module():
    return globals()["fact"]()(3), __doc__ is not None


def uses_global_write():
    global WRITTEN
    WRITTEN = 5
    return WRITTEN


def writes_csv(rows=((1, "a;b"),)):
    out = io.StringIO()
    csv.writer(out, dialect=Dialect).writerows(rows)
    return out.getvalue()


def complex_flow(xs):
    out = []
    for i, x in enumerate(xs):
        try:
            if x is None:
                continue
            with contextlib.suppress(ZeroDivisionError):
                out.append((y := 10 // x, i))
                if y > 4:
                    break
        except (TypeError, ValueError) as e:
            out.append(type(e).__name__)
        else:
            out.append("else")
        finally:
            out.append("finally")
    else:
        out.append("no break")
    return out


def chained(a, b, /, *c, d: int = 3, **e):
    return 1 < a < b != d, [*c, *e], {**e, "z": a}, not a or b and d, a if b else d, f"{a:{b}}"


def typed_generic(
    x: list[T], y: dict[str, Callable[[int], S]] | None = None, *z: Unpack[Ts]
) -> tuple[T, ...]:
    return tuple(x)


class Tracked:
    instances = weakref.WeakSet()

    def __init__(self):
        Tracked.instances.add(self)


TRACKED = Tracked()


class Cleaner:
    def __init__(self):
        self._children = weakref.WeakValueDictionary()
        self._hooks = []

    def on(self, fn):
        self._hooks.append(fn)
        return fn


CLEANER = Cleaner()


@CLEANER.on
def cleaned():
    return len(CLEANER._hooks)


class Lazy:
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *a: (name, a)

    def __dir__(self):
        return ["x"]


LAZY = Lazy()


class Always:
    def __eq__(self, o):
        return True

    def __bool__(self):
        raise ValueError("ambiguous")

    __hash__ = None

    def __len__(self):
        return 3


ALWAYS = Always()


class Money(Decimal):
    def __new__(cls, v, cur="EUR"):
        self = super().__new__(cls, v)
        self.cur = cur
        return self

    def __reduce__(self):
        return Money, (str(self), self.cur)


MONEY = Money("1.5", "USD")


class MyPath(type(Path())):
    kind = "mine"


class TopLevel:
    class Inner(enum.Enum):
        A = 1

    class Child(Task, retries=9):
        pass

    def make(self):
        class Here(self.Child):
            def run(s):
                return __class__.__name__, self.n

        return Here()()

    n = 8


cmp = functools.cmp_to_key
sorter = operator.methodcaller("sort", key=str)
multi = {("a", 1): {Weekend.SUN}, Sizes.L: frozenset({Spec(1), Spec(2)}), None: ...}
stderr_of = {"out": sys.stdout, "err": sys.stderr, "in": sys.stdin}
environ_of = os.environ
nested = [[[{"k": ({1, 2}, frozenset({"a"}))}]]]
methods = [str.upper, "x".join, [].append.__name__, dict.fromkeys, HEAD.__class__.__post_init__]
objs = [Plugin("a"), Plugin("a"), LAZY, EXTRACT.run, Extract.before]
CASES = {
    "Coord": "x(1, -2).norm, x(1, 2) + x(3, 4), x._fields",
    "Pairs": "x(1, 2).second, x[int]",
    "Dialect": "x.delimiter",
    "Shouting": "x().format('{}', 'a')",
    "Borg": "x().n",
    "HasDefault": "x.DEFAULT.is_default(), x().is_default()",
    "Left": "x.other.other is x, type(x.other().flip()) is x",
    "CsvSource": "x(',').again()",
    "sources": "x.make('tsv').sep",
    "Weekend": "[m.value for m in x]",
    "Sizes": "x.L.unit, x.S.size, list(x)",
    "Bits": "x(7), x.A | x.B, x(2)",
    "Callbacks": "x.ONE.twice",
    "Interface": "issubclass(int, x)",
    "Fetcher": "x().fetch()",
    "Any_": "isinstance(1, x), x.foo",
    "Admin": "x().data, x.strict, [f.name for f in x.fields.values()], len(x.fields['user'].owners)",
    "Login": "x(user=3).data, x.strict",
    "REF": "x.x, x.y",
    "NOSTATE": "vars(x)",
    "OWNSTATE": "x.a, sorted(x._b)",
    "NEWARGS": "x.a, x.b",
    "MATRIX": "x, x.cols",
    "BAG": "x.top(), x['q']",
    "RECENT": "list(x), x.maxlen",
    "AUTO": "x['x'], type(x).__name__",
    "TEMP": "x + 1, x.unit",
    "TAG": "x('q')",
    "IDS": "x.only()",
    "BOUND": "x.run(), x.run.__self__ is x",
    "Descs": "x().p, x.make(), x.of(1), x.of('a'), x().secret(), x().dump(), x.a.__doc__",
    "Plugin": "x.table, x.squares, x.four, x('a') == x('a'), x.__match_args__",
    "matching": "x({'x': [1], 'y': 2}), x(3)",
    "Reader": "x._is_protocol, x[int]",
    "Closing": "isinstance(__import__('io').StringIO(), x)",
    "Shared": "x(1, 2).args, x.__parameters__",
    "Alias": "x(item=1), x.__parameters__",
    "Meter": "x.__supertype__.__name__, x(1)",
    "Bounded": "x.__metadata__[0].size",
    "Both": "[getattr(a, 'name', a) for a in x.__args__]",
    "HINTS": "x['size']",
    "FIELDS": "[f.name for f in x]",
    "SIG": "str(x)",
    "with_signature": "str(__import__('inspect').signature(x)).startswith('(x=')",
    "Meta": "x('a').spec.size, x('a').when, x.__dataclass_fields__['name'].metadata['tags'] == {'x', 'y'}",
    "HEAD": "x.next.next is x, len(x.all)",
    "Linked": "len(x.all), x.all[1].next is x.all[0]",
    "ERR": "x.code, x.args, x.__notes__",
    "factorial": "x(5)",
    "ping": "x(3)",
    "self_ref": "x(1)",
    "in_table": "x('me')",
    "throttled": "x(), list(x.state['calls'])[-1:]",
    "UsesCounter": "x().go(3), x.__dict__['go'].owner is x, x.__dict__['go'].__doc__",
    "counted": "x(1), x.__name__, x.__doc__",
    "Wrapped": "x().get(), x.__mro__[1].limit",
    "Extract": "x()(), x.retries",
    "EXTRACT": "x(2)",
    "run_agen": "x()",
    "delegating": "list(x())",
    "uses_pool": "x()",
    "next_id": "x()",
    "logs": "x()",
    "parses": "x()",
    "finds": "x()",
    "reads": "x()",
    "this_module": "x()",
    "uses_global_write": "x()",
    "writes_csv": "x()",
    "complex_flow": "x([None, 0, 1, 'a', 2])",
    "chained": "x(1, 2, 3, q=4)",
    "typed_generic": "x([1])",
    "Tracked": "x.__name__",
    "cleaned": "x()",
    "LAZY": "x.foo(1)",
    "ALWAYS": "len(x)",
    "MONEY": "x + 1, x.cur",
    "MyPath": "x('/a').kind",
    "TopLevel": "x().make(), x.Inner.A.name, x.Child.retries",
    "sorter": "x([2, 1])",
    "multi": "sorted(map(str, x)), x[('a', 1)]",
    "stderr_of": "x['out'] is __import__('sys').stdout",
    "environ_of": "x is __import__('os').environ",
    "nested": "x",
    "methods": "x[0]('a'), x[1](['a', 'b'])",
    "objs": "x[0] == x[1], x[0] is x[1], x[3]()[1], x[4](1)",
}

if __name__ == "__main__":
    from reporting import report

    report(globals())
