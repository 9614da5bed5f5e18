"""What scripts of data teams keep beside their functions, with the standard library alone."""

import abc
import array
import ast
import asyncio
import base64
import bisect
import calendar
import collections
import collections.abc
import configparser
import contextlib
import contextvars
import copy
import copyreg
import ctypes
import dataclasses
import datetime as dt
import decimal
import difflib
import enum
import fnmatch
import functools
import gc
import getpass
import glob
import graphlib
import hashlib
import heapq
import html
import http.client
import importlib
import inspect
import io
import ipaddress
import itertools
import json
import logging
import logging.config
import math
import numbers
import operator
import os
import os.path
import pathlib
import pickle
import pprint
import queue
import random
import re
import secrets
import shelve
import shlex
import shutil
import signal
import socket
import sqlite3
import statistics
import string
import struct
import subprocess
import sys
import tempfile
import threading
import time
import tokenize
import traceback
import types
import typing
import unicodedata
import urllib.parse
import urllib.request
import uuid
import warnings
import weakref
import xml.etree.ElementTree as ET
import zlib
from collections import (
    ChainMap,
    Counter,
    OrderedDict,
    UserDict,
    UserList,
    UserString,
    defaultdict,
    deque,
)
from contextlib import (
    ExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import InitVar, KW_ONLY, dataclass, field, make_dataclass, replace
from datetime import date, datetime, time as dtime, timedelta, timezone
from decimal import Context, Decimal, getcontext, localcontext
from enum import Enum, Flag, IntEnum, StrEnum, auto, nonmember, member, unique
from fractions import Fraction
from functools import (
    cache,
    cached_property,
    lru_cache,
    partial,
    partialmethod,
    reduce,
    singledispatch,
    singledispatchmethod,
    total_ordering,
    update_wrapper,
    wraps,
)
from itertools import (
    accumulate,
    chain,
    count,
    cycle,
    groupby,
    islice,
    product,
    repeat,
    starmap,
    tee,
)
from operator import attrgetter, itemgetter, methodcaller
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    AnyStr,
    Awaitable,
    Callable,
    ClassVar,
    Concatenate,
    Final,
    Generic,
    Iterable,
    Iterator,
    Literal,
    Mapping,
    NamedTuple,
    NewType,
    Optional,
    ParamSpec,
    Protocol,
    Self,
    Sequence,
    TypedDict,
    TypeVar,
    Union,
    cast,
    get_type_hints,
    no_type_check,
    overload,
    runtime_checkable,
)
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from concurrent.futures import Future

P = ParamSpec("P")
R = TypeVar("R")
T_co = TypeVar("T_co", covariant=True)
K = TypeVar("K", bound=collections.abc.Hashable)
V = TypeVar("V")
E = TypeVar("E", bound="Entity")
UserId = NewType("UserId", int)
JSON = Union[dict[str, "JSON"], list["JSON"], str, int, float, bool, None]
Mode = Literal["append", "overwrite", "error"]
Handler = Callable[Concatenate[str, P], Awaitable[R]]
Positive = Annotated[int, "gt=0"]

logger = logging.getLogger(__name__)
logger.addHandler(logging.NullHandler())
logger.setLevel(logging.INFO)
request_id = contextvars.ContextVar("request_id", default="-")
_lock = threading.Lock()
_local = threading.local()
_now = datetime.now
_sleep = time.sleep
_env = os.environ.get
_cpus = os.cpu_count
_join = os.path.join
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
NY = ZoneInfo("America/New_York")
CUTOFF = dtime(17, 30, tzinfo=NY)
DAY = timedelta(days=1)
MONEY = Context(prec=12, rounding=decimal.ROUND_HALF_EVEN)
EMAIL = re.compile(r"^[\w.+-]+@[\w-]+\.[\w.]+$")
BYTES_RE = re.compile(rb"\x00+", re.DOTALL)
NET = ipaddress.ip_network("10.0.0.0/8")
ROOT = PurePosixPath("/data") / "raw"
WIN = PureWindowsPath(r"C:\data")
HEADER = struct.Struct("!HI")
TABLE = str.maketrans({"ä": "ae", "ö": "oe", "ß": "ss"})
NS = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
ORDER = {name: at for at, name in enumerate("abc")}
VIEW = types.MappingProxyType({"a": {1, 2, 3}})
ALLOWED = frozenset(("GET", "POST", "PUT"))
NESTED_SET = {frozenset({"a", "b"}), frozenset({"c"})}
DEFAULTS = ChainMap({"x": 1}, {"x": 2, "y": 3})
RING = deque([1, 2, 3], maxlen=3)
HITS = Counter("abracadabra")
TREE = defaultdict(lambda: defaultdict(list))
TREE["a"]["b"].append(1)
ARR = array.array("d", [1.0, 2.5])
VIEWED = memoryview(b"abc").tobytes()
by_name = itemgetter("name", "id")
by_attr = attrgetter("total.cents")
strip = methodcaller("strip", " ")
dead_letters = queue.Queue()
_handlers: dict[str, Callable[..., Any]] = {}
NAN = float("nan")
INF = -float("inf")
BIG = 2**200
CPLX = 1 + 2j
ELL = ...
NOT = NotImplemented


# --- decorators -------------------------------------------------------------------------------
def typed(fn: Callable[P, R]) -> Callable[P, R]:
    hints = get_type_hints(fn)

    @wraps(fn)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in kwargs.items():
            if name in hints and isinstance(hints[name], type):
                assert isinstance(value, hints[name]), name
        return fn(*args, **kwargs)

    return inner


class memoize:
    def __init__(self, fn):
        update_wrapper(self, fn)
        self.fn = fn
        self.seen = {}

    def __call__(self, *args):
        if args not in self.seen:
            self.seen[args] = self.fn(*args)
        return self.seen[args]

    def __get__(self, obj, owner=None):
        return self if obj is None else partial(self, obj)


class step:
    registry = OrderedDict()
    _order = count()

    def __init__(self, name, *, after=()):
        self.name, self.after = name, tuple(after)

    def __call__(self, fn):
        fn.step = self
        type(self).registry[self.name] = fn
        return fn


def synchronized(lock):
    def deco(fn):
        @wraps(fn)
        def inner(*a, **k):
            with lock:
                return fn(*a, **k)

        return inner

    return deco


def deprecated(reason):
    def deco(obj):
        if isinstance(obj, type):
            init = obj.__init__

            @wraps(init)
            def __init__(self, *a, **k):
                warnings.warn(reason, DeprecationWarning, stacklevel=2)
                init(self, *a, **k)

            obj.__init__ = __init__
            return obj

        @wraps(obj)
        def inner(*a, **k):
            warnings.warn(reason, DeprecationWarning, stacklevel=2)
            return obj(*a, **k)

        return inner

    return deco


def on(event):
    return lambda fn: _handlers.setdefault(event, fn)


def add_repr(cls):
    def __repr__(self):
        return f"{cls.__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"

    cls.__repr__ = __repr__
    return cls


def coroutine(fn):
    @wraps(fn)
    def start(*a, **k):
        g = fn(*a, **k)
        next(g)
        return g

    return start


@typed
def add(a: int, b: int = 2, *, scale: "float" = 1.0) -> float:
    return (a + b) * scale


@memoize
def slow_square(n):
    return n * n


@step("extract")
def extract_step():
    return [1]


@step("load", after=["extract"])
def load_step():
    return step.registry["load"].step.after


@synchronized(_lock)
def guarded(n):
    return n


@deprecated("use Modern")
class Legacy:
    def __init__(self, n=1):
        self.n = n


@on("created")
def on_created(event):
    return sorted(_handlers), event


@add_repr
class Shown:
    def __init__(self, a):
        self.a = a


@coroutine
def averager():
    total = n = 0
    mean = None
    while True:
        value = yield mean
        total += value
        n += 1
        mean = total / n


@overload
def to_list(x: str) -> list[str]: ...
@overload
def to_list(x: int) -> list[int]: ...
def to_list(x):
    return [x]


@no_type_check
def untyped(a: "whatever"):
    return a


# --- enums ------------------------------------------------------------------------------------
class Status(StrEnum):
    NEW = auto()
    DONE = auto()

    @classmethod
    def _missing_(cls, value):
        return next((m for m in cls if m.value == str(value).lower()), None)

    @property
    def finished(self) -> bool:
        return self is type(self).DONE


class Shape(Enum):
    SQUARE = member(partial(lambda side: side * side))
    CIRCLE = member(partial(lambda r: 3 * r * r))
    HELP = nonmember("not one")

    def __call__(self, n):
        return self.value(n)


@unique
class HttpCode(IntEnum):
    OK = 200, "fine"
    GONE = 410, "gone"

    def __new__(cls, value, phrase):
        obj = int.__new__(cls, value)
        obj._value_ = value
        obj.phrase = phrase
        return obj


class Perm(Flag):
    R = auto()
    W = auto()
    X = auto()
    ALL = R | W | X


Weekday = Enum("Weekday", "MON TUE WED", start=0)
Kind = Enum("Kind", {"A": "a", "B": "b"}, type=str)


class Ordered(Enum):
    LOW = 1
    HIGH = 2

    def __lt__(self, other):
        return self.value < other.value


class Op(Enum):
    ADD = "+", operator.add
    MUL = "*", operator.mul

    def __init__(self, sign, fn):
        self.sign = sign
        self.fn = fn

    def apply(self, a, b):
        return self.fn(a, b)


class Planet(Enum):
    _ignore_ = ["at"]
    for at in range(2):
        vars()[f"P{at}"] = at
    del at


# --- dataclasses ------------------------------------------------------------------------------
@dataclass(order=True, slots=True)
class Version:
    major: int
    minor: int = 0
    tags: set[str] = field(default_factory=set, compare=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(*map(int, text.split(".")[:2]))


@dataclass(kw_only=True)
class Base:
    created: date = date(2024, 1, 1)
    labels: dict[str, str] = field(default_factory=lambda: {"env": "dev"})


@dataclass(kw_only=True)
class Derived(Base):
    name: str
    _: KW_ONLY
    size: int = 0
    raw: InitVar[str | None] = None

    def __post_init__(self, raw):
        self.size = len(raw) if raw else self.size


@dataclass(frozen=True, eq=True, unsafe_hash=True)
class Key:
    parts: tuple[str, ...]
    INSTANCES: ClassVar[dict["Key", int]] = {}

    def __post_init__(self):
        self.INSTANCES[self] = len(self.INSTANCES)


KEY_A, KEY_B = Key(("a",)), Key(("b", "c"))
Dynamic = make_dataclass(
    "Dynamic",
    [("x", int), ("y", int, field(default=3))],
    namespace={"total": lambda self: self.x + self.y},
)


@dataclass(frozen=True)
class Tree:
    value: int
    left: "Tree | None" = None
    right: Optional["Tree"] = None

    def __iter__(self):
        if self.left:
            yield from self.left
        yield self.value
        if self.right:
            yield from self.right


TREE_INSTANCE = Tree(2, Tree(1), Tree(3))


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Cached:
    n: int


@dataclass
class WithDescriptor:
    class Positive:
        def __set_name__(self, owner, name):
            self._name = "_" + name

        def __get__(self, obj, owner):
            return 1 if obj is None else getattr(obj, self._name)

        def __set__(self, obj, value):
            if value < 0:
                raise ValueError(value)
            setattr(obj, self._name, value)

    n: int = Positive()


class Row(NamedTuple):
    id: int
    name: str = "x"
    tags: frozenset = frozenset({"b", "a"})

    @property
    def label(self):
        return f"{self.id}:{self.name}"

    @classmethod
    def of(cls, d):
        return cls(**{k: v for k, v in d.items() if k in cls._fields})


Rec = collections.namedtuple(
    "Rec", ["a", "class", "b"], rename=True, defaults=[None], module="recs"
)


class Opts(TypedDict, total=False):
    a: typing.Required[int]
    b: typing.NotRequired[list["Opts"]]


Loose = TypedDict("Loose", {"in": int, "x-y": str})


# --- abc, protocols, metaclasses, descriptors -------------------------------------------------
class Entity(abc.ABC):
    table: ClassVar[str]

    def __init_subclass__(cls, table: str = "", **kw):
        super().__init_subclass__(**kw)
        cls.table = table or cls.__name__.lower()

    @property
    @abc.abstractmethod
    def key(self) -> str: ...

    @classmethod
    @abc.abstractmethod
    def load(cls: type[E], key) -> E: ...

    @staticmethod
    def norm(x):
        return x.strip()


class Customer(Entity, table="customers"):
    def __init__(self, name):
        self.name = name

    @property
    def key(self):
        return self.norm(self.name)

    @classmethod
    def load(cls, key):
        return cls(key)


@runtime_checkable
class SupportsClose(Protocol[T_co]):
    def close(self) -> None: ...


class Closer:
    def close(self):
        return None


class Sized_(collections.abc.Sized, collections.abc.Iterable):
    def __len__(self):
        return 3

    def __iter__(self):
        return iter("abc")


class Config(collections.abc.MutableMapping):
    def __init__(self, *a, **k):
        self._d = dict(*a, **k)

    def __getitem__(self, k):
        return self._d[k]

    def __setitem__(self, k, v):
        self._d[k] = v

    def __delitem__(self, k):
        del self._d[k]

    def __iter__(self):
        return iter(self._d)

    def __len__(self):
        return len(self._d)


CONFIG = Config(a=1, b={"x", "y", "z"})


class Interned(type):
    _pool: "weakref.WeakValueDictionary[tuple, Any]" = weakref.WeakValueDictionary()

    def __call__(cls, *a):
        key = (cls, *a)
        found = Interned._pool.get(key)
        if found is None:
            found = Interned._pool[key] = super().__call__(*a)
        return found


class Symbol(metaclass=Interned):
    def __init__(self, name):
        self.name = name


SYM = Symbol("a")


class Ordered_(type):
    @classmethod
    def __prepare__(mcs, name, bases):
        return OrderedDict()

    def __new__(mcs, name, bases, ns):
        cls = super().__new__(mcs, name, bases, dict(ns))
        cls.order = [k for k in ns if not k.startswith("_")]
        return cls

    def __contains__(cls, name):
        return name in cls.order

    def __iter__(cls):
        return iter(cls.order)

    def __len__(cls):
        return len(cls.order)


class Columns(metaclass=Ordered_):
    z = 1
    a = 2


class Typed:
    def __init__(self, kind, default=None):
        self.kind, self.default = kind, default

    def __set_name__(self, owner, name):
        self.name = name
        owner.__dict__.get("_fields", []).append(name)

    def __get__(self, obj, owner=None):
        return self if obj is None else obj.__dict__.get(self.name, self.default)

    def __set__(self, obj, value):
        obj.__dict__[self.name] = self.kind(value)


class Model:
    _fields = []
    id = Typed(int, 0)
    at = Typed(date.fromisoformat)

    def __init__(self, **k):
        for name, value in k.items():
            setattr(self, name, value)


class lazy:
    def __init__(self, fn):
        self.fn = fn
        self.__doc__ = fn.__doc__

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, obj, owner):
        if obj is None:
            return self
        value = obj.__dict__[self.name] = self.fn(obj)
        return value


class Stats:
    def __init__(self, xs):
        self.xs = xs

    @lazy
    def mean(self):
        "The mean."
        return statistics.fmean(self.xs)

    @cached_property
    def dev(self) -> float:
        return statistics.pstdev(self.xs)

    @functools.cache
    def nth(self, n):
        return self.xs[n]

    scaled = partialmethod(lambda self, k, x: k * x, 3)

    @singledispatchmethod
    def show(self, x):
        return str(x)

    @show.register
    def _(self, x: float):
        return f"{x:.1f}"

    @show.register(list)
    def _(self, x):
        return ",".join(map(self.show, x))


@total_ordering
class Prio:
    __slots__ = ("n", "__weakref__")

    def __init__(self, n):
        self.n = n

    def __eq__(self, o):
        return self.n == o.n

    def __lt__(self, o):
        return self.n < o.n

    __hash__ = None


class Node:
    def __init__(self, name, parent=None):
        self.name = name
        self._parent = weakref.ref(parent) if parent else None
        self.children = []

    @property
    def parent(self):
        return self._parent() if self._parent else None


class Money(numbers.Number):
    __slots__ = ("cents",)
    ZERO: "Money"

    def __init__(self, cents):
        self.cents = cents

    def __add__(self, o):
        return Money(self.cents + o.cents) if isinstance(o, Money) else NotImplemented

    __radd__ = __add__

    def __repr__(self):
        return f"Money({self.cents})"

    def __hash__(self):
        return hash(self.cents)

    def __eq__(self, o):
        return self.cents == o.cents


Money.ZERO = Money(0)


class Vec(tuple):
    __slots__ = ()

    def __new__(cls, x, y=0):
        return tuple.__new__(cls, (x, y))

    def __add__(self, o):
        return Vec(self[0] + o[0], self[1] + o[1])

    x = property(itemgetter(0))
    y = property(itemgetter(1), doc="y")


ORIGIN = Vec(0)


class CaseInsensitive(dict):
    def __init__(self, *a, **k):
        super().__init__()
        self.update(*a, **k)

    def __setitem__(self, k, v):
        super().__setitem__(k.lower(), v)

    def __getitem__(self, k):
        return super().__getitem__(k.lower())

    def __missing__(self, k):
        return None

    def update(self, *a, **k):
        for key, value in dict(*a, **k).items():
            self[key] = value


HEADERS = CaseInsensitive(Accept="x")


class Path_(type(Path())):
    def touchy(self):
        return self.suffix


class Stack(UserList):
    def push(self, x):
        self.append(x)
        return self


class Title(UserString):
    def shout(self):
        return self.data.upper() + "!"


class Attr(UserDict):
    def __getattr__(self, name):
        if name == "data":
            raise AttributeError(name)
        return self.data[name]


ATTR = Attr(a=1)
STACK = Stack([1])


class DotDict(dict):
    __getattr__ = dict.get
    __setattr__ = dict.__setitem__
    __delattr__ = dict.__delitem__


DOT = DotDict(a=DotDict(b=1))


class Proxy:
    def __init__(self, target):
        object.__setattr__(self, "_target", target)

    def __getattr__(self, name):
        return getattr(object.__getattribute__(self, "_target"), name)

    def __setattr__(self, name, value):
        setattr(self._target, name, value)


PROXY = Proxy(types.SimpleNamespace(n=1))


class Pipe:
    def __init__(self, *fns):
        self.fns = fns

    def __or__(self, fn):
        return Pipe(*self.fns, fn)

    def __call__(self, x):
        return reduce(lambda v, f: f(v), self.fns, x)

    __class_getitem__ = classmethod(types.GenericAlias)


PIPE = (
    Pipe(str.strip) | str.upper | partial(str.replace, __old="x", __new="y")
    if False
    else Pipe(str.strip) | str.upper | len
)


class Repo(Generic[K, V]):
    _store: dict[K, V]
    hooks: ClassVar[list[Callable[["Repo[Any, Any]"], None]]] = []

    def __init__(self) -> None:
        self._store = {}

    def put(self, k: K, v: V) -> "Repo[K, V]":
        self._store[k] = v
        return self


class UserRepo(Repo[UserId, Row]):
    pass


class StateMachine:
    transitions = {
        ("idle", "start"): "running",
        ("running", "stop"): "idle",
    }

    def __init__(self):
        self.state = "idle"
        self.log = deque(maxlen=10)

    def fire(self, event):
        try:
            self.state = self.transitions[self.state, event]
        except KeyError:
            raise ValueError(f"{event} in {self.state}") from None
        self.log.append(event)
        return self


class Timer(contextlib.ContextDecorator):
    def __enter__(self):
        self.start = time.perf_counter()
        return self

    def __exit__(self, *exc):
        self.took = time.perf_counter() - self.start
        return False


class Pool:
    _instance = None
    _lock = threading.Lock()
    _made = threading.Event()
    limit = threading.BoundedSemaphore(3)

    def __new__(cls, *a, **k):
        with cls._lock:
            if cls._instance is None:
                cls._instance = super().__new__(cls)
        return cls._instance


class ETLError(Exception):
    code = 1

    def __init__(self, message, *, row=None):
        super().__init__(message)
        self.row = row

    def __str__(self):
        return f"[{self.code}] {super().__str__()}"


class BadRow(ETLError, KeyError):
    code = 2


class Many(ExceptionGroup):
    def derive(self, excs):
        return Many(self.message, excs)


class Formatter(logging.Formatter):
    def format(self, record):
        record.request_id = request_id.get()
        return super().format(record)


class Redact(logging.Filter):
    pattern = re.compile("secret=\\S+")

    def filter(self, record):
        record.msg = self.pattern.sub("secret=***", str(record.msg))
        return True


class Encoder(json.JSONEncoder):
    def default(self, o):
        if isinstance(o, (datetime, date)):
            return o.isoformat()
        if isinstance(o, Decimal):
            return str(o)
        if dataclasses.is_dataclass(o):
            return dataclasses.asdict(o)
        return super().default(o)


class Parser(ast.NodeVisitor):
    def __init__(self):
        self.names = set()

    def visit_Name(self, node):
        self.names.add(node.id)
        self.generic_visit(node)


class Worker(threading.Thread):
    def __init__(self, q):
        super().__init__(daemon=True)
        self.q = q

    def run(self):
        self.q.put(1)


class AsyncSource:
    def __init__(self, n):
        self.n = n

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.n:
            raise StopAsyncIteration
        self.n -= 1
        return self.n

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        return None


class Shadow:
    id = 1
    ids = [i for i in range(3)]
    total = sum(ids)
    lookup = dict(zip("abc", ids))
    type = type("Inner", (), {"a": 1})
    fn = staticmethod(len)
    pick = classmethod(lambda cls, k: cls.lookup[k])
    mirrored = property(lambda self: self.id * 2)
    cmp = operator.lt
    sub = re.compile("x").sub


class Outer:
    class Meta:
        ordering = ["-id"]
        permissions = {("can_x", "X"), ("can_y", "Y")}

    class Error(Exception):
        pass

    def fail(self):
        raise self.Error("no")


def closure_class(n):
    class Local:
        size = n

        def get(self):
            return super().__repr__ is not None and n

    return Local


LocalA = closure_class(3)
LOCAL_OBJ = closure_class(4)()


# --- functions --------------------------------------------------------------------------------
@singledispatch
def to_json(x):
    raise TypeError(type(x).__name__)


@to_json.register(int)
@to_json.register(float)
def _num(x):
    return x


@to_json.register
def _dt(x: datetime):
    return x.isoformat()


@to_json.register(collections.abc.Mapping)
def _map(x):
    return {k: to_json(v) for k, v in x.items()}


@to_json.register
def _status(x: Status):
    return x.value


@asynccontextmanager
async def session(n):
    yield n


async def gather_all(ns):
    async with session(2) as k, AsyncSource(3) as s:
        got = [x async for x in s]
    async with asyncio.TaskGroup() as g:
        tasks = [g.create_task(asyncio.sleep(0, n)) for n in ns]
    return [t.result() * k for t in tasks], got


def run_gather(ns):
    return asyncio.run(gather_all(ns))


@contextmanager
def swapped(obj, **attrs):
    old = {k: getattr(obj, k) for k in attrs}
    try:
        for k, v in attrs.items():
            setattr(obj, k, v)
        yield obj
    finally:
        for k, v in old.items():
            setattr(obj, k, v)


def pairs(xs):
    a, b = tee(xs)
    next(b, None)
    return zip(a, b)


def window(xs, n=2):
    it = iter(xs)
    buf = deque(islice(it, n), maxlen=n)
    if len(buf) == n:
        yield tuple(buf)
    for x in it:
        buf.append(x)
        yield tuple(buf)


def toposort(graph):
    return list(graphlib.TopologicalSorter(graph).static_order())


def in_network(ip):
    return ipaddress.ip_address(ip) in NET


def with_tz(text):
    return datetime.fromisoformat(text).replace(tzinfo=NY).astimezone(timezone.utc).isoformat()


def after_cutoff(t: dtime = CUTOFF) -> bool:
    return t.hour >= CUTOFF.hour


def money(x, ctx=MONEY):
    return ctx.create_decimal(x)


def stable_id(name):
    return uuid.uuid5(NS, name)


def pack(a, b):
    return HEADER.pack(a, b)


def ascii_only(s):
    return s.translate(TABLE)


def group_by(rows, key=by_name):
    return {k: list(g) for k, g in groupby(sorted(rows, key=key), key=key)}


def nested_default():
    return {k: dict(v) for k, v in TREE.items()}


def uses_view():
    return sorted(VIEW["a"])


def consts():
    return math.isnan(NAN), INF < 0, BIG, CPLX, ELL is ..., NOT is NotImplemented, ARR.tolist()


def handles(x, /, y=(), *z, w=frozenset({1, 2}), **k):
    match x:
        case {"kind": "a", **rest}:
            return "a", rest
        case [1, 2, *others] if others:
            return "list", others
        case Version(major=m) | Row(id=m):
            return "v", m
        case str() | bytes():
            return "text"
        case Status.NEW:
            return "new"
        case _:
            return None


def fstrings(x, d=Decimal("1.5")):
    return f"{x!r:>10}|{d:.2f}|{x=}|{'nested ' + f'{x}'}"


def big_constant_set(x):
    return x in {"alpha", "beta", "gamma", "delta", "epsilon"} or x in {
        1,
        2.5,
        None,
        "x",
        b"y",
        (1, 2),
    }


def nested_functions():
    total = 0
    acc = []

    def add(n):
        nonlocal total
        total += n
        acc.append(n)
        return lambda: (total, list(acc))

    return add(1)(), add(2)()


def try_everything(x):
    found = None
    try:
        with suppress(KeyError), ExitStack() as stack:
            stack.callback(lambda: None)
            if x == 1:
                raise KeyError(x)
            if x == 2:
                raise ETLError("bad", row=x)
            return x
    except* ETLError as group:
        found = [str(e) for e in group.exceptions]
    finally:
        logger.debug("done")
    return found


def raises_group():
    try:
        raise Many("m", [ValueError(1), BadRow("r", row=3)])
    except* KeyError as g:
        found = type(g).__name__, [e.row for e in g.exceptions]
    except* ValueError:
        found += (1,)
    return found


def late():
    import csv
    import xml.dom.minidom as md
    from importlib import metadata, resources

    return csv.__name__, md.parseString("<a/>").documentElement.tagName, metadata.__name__


def uses_globals():
    return sorted(k for k in globals() if k == "uses_globals"), callable(globals()["add"])


def reads_source():
    return inspect.signature(add), add.__wrapped__.__name__


def from_string():
    scope = {}
    exec("def g(x):\n    return x + 1", scope)
    return scope["g"](1)


g_from_string = {}
exec("def g(x, k=2):\n    return x * k\nclass C:\n    n = 5\n", g_from_string)
dynamic_fn = g_from_string["g"]
DynamicCls = g_from_string["C"]
evaluated = eval("lambda x: x + 3")
lambdas = [lambda x, i=i: x + i for i in range(3)]
table = {k: (lambda x, k=k: (k, x)) for k in ("a", "b")}
compose = lambda *fs: lambda x: reduce(lambda v, f: f(v), fs, x)
composed = compose(partial(operator.mul, 2), str, "{:>4}".format)
bound_method = StateMachine().fire
bound_class = Customer.load
unbound = str.upper
builtin = sorted
keyed = partial(sorted, key=str.lower, reverse=True)
wrapped_partial = wraps(add)(partial(add, 1))
cached_partial = lru_cache(maxsize=None)(lambda n: n + 1)
dispatcher = to_json
gen_maker = pairs
an_error = BadRow("x", row={"b", "a"})
an_iter_factory = functools.partial(count, 10, 2)
weak_set = weakref.WeakSet([Customer])
ns = types.SimpleNamespace(**{"z": 1, "a": types.SimpleNamespace(q={3, 1, 2})})
fmt = Formatter("%(levelname)s %(message)s")
flt = Redact("etl")
handler_cfg = {
    "version": 1,
    "formatters": {"f": {"()": Formatter, "fmt": "%(message)s"}},
    "filters": {"r": {"()": Redact}},
}
sched = {
    "daily": {"fn": load_step, "at": CUTOFF, "days": {0, 1, 2}},
    "hourly": {"fn": partial(guarded, 3), "every": timedelta(hours=1)},
}
jobs = [(Prio(2), extract_step), (Prio(1), load_step)]
a_tree = TREE
a_deque = deque([{"x", "y"}, Status.NEW, Perm.R | Perm.X], maxlen=5)
od = OrderedDict([("b", KEY_A), ("a", KEY_B)])
od.move_to_end("b")
cp = configparser.ConfigParser()
cp.read_string("[a]\nx = 1\n")
xml_el = ET.fromstring("<a b='1'><c/></a>")
a_match_free = re.escape("a.b")
a_range = range(0, 10, 3)
a_slice = slice(None, None, -1)
an_url = urllib.parse.urlsplit("https://x.y/z?q=1#f")
a_fraction = Fraction(3, 4)
a_dateset = {date(2024, 1, 1), date(2024, 5, 1)}
mixed_set = {1, "a", None, (1, "b"), 2.5, frozenset({1})}
shared = [1]
aliases = {"a": shared, "b": shared, "c": [shared, shared]}
selfref = {"name": "loop"}
selfref["me"] = selfref
cyc_a, cyc_b = Node("a"), Node("b")
cyc_a.children.append(cyc_b)
cyc_b.children.append(cyc_a)
seeded = random.Random(7)
an_ip = ipaddress.ip_interface("10.1.2.3/16")
an_addr_set = {ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("10.0.0.2")}
tz_fixed = timezone(timedelta(hours=2), "CEST")
a_context = MONEY
a_template = string.Template("$a-$b")
a_code = compile("x + 1", "<expr>", "eval")


def uses_code(x):
    return eval(a_code, {"x": x})


def counts_calls():
    counts_calls.calls = getattr(counts_calls, "calls", 0) + 1
    return counts_calls.calls > 0


counts_calls.version = "1.0"
counts_calls.owners = {"x", "y", "z"}


def recursive_default(n, _memo={}):
    if n not in _memo:
        _memo[n] = n if n < 2 else recursive_default(n - 1) + recursive_default(n - 2)
    return _memo[n]


def hints():
    return get_type_hints(Tree.__init__) != {}, get_type_hints(Derived)["name"]


def uses_json_type(
    x: JSON, mode: Mode = "append", n: Positive = 1, h: "Handler | None" = None
) -> JSON:
    return x


def checks():
    return (
        isinstance(Closer(), SupportsClose),
        issubclass(Sized_, collections.abc.Sized),
        len(Columns),
        "a" in Columns,
    )


def isolated():
    ctx = contextvars.copy_context()
    ctx.run(request_id.set, "7")
    return request_id.get(), ctx[request_id]


def interned():
    return Symbol("a") is SYM


def graph_of():
    return cyc_a.children[0].children[0] is cyc_a


def enum_table():
    return (
        {Status.NEW: 1, Status.DONE: 2}[Status("new")],
        Status("DONE").finished,
        Op.MUL.apply(2, 3),
    )


PRICES = {Ordered.LOW: Decimal("1.10"), Ordered.HIGH: Decimal("2.20")}


def price(level=Ordered.LOW):
    return PRICES[level]


def uses_main_guard():
    return __name__ == "__main__"


def docstring_only():
    """Only a text.

    >>> docstring_only()
    """


CASES = {
    "add": "x(1, scale=2.0), x.__wrapped__.__name__",
    "slow_square": "x(3), x.__name__",
    "step": "list(x.registry)",
    "extract_step": "x(), x.step.name",
    "load_step": "x()",
    "guarded": "x(2)",
    "Legacy": "x().n",
    "on_created": "x(1)",
    "Shown": "x(1)",
    "averager": "x().send(3)",
    "to_list": "x(1)",
    "untyped": "x(1), x.__no_type_check__",
    "Status": "list(x), x('NEW') is x.NEW, x.DONE.finished",
    "Shape": "x.SQUARE(3), x.HELP, len(x)",
    "HttpCode": "x.OK.phrase, x(410).phrase, x.OK + 1",
    "Perm": "list(x.ALL), x.R | x.W, ~x.R",
    "Weekday": "list(x)",
    "Kind": "x('a'), x.B + '!'",
    "Ordered": "x.LOW < x.HIGH",
    "Op": "x.ADD.apply(1, 2), x.MUL.sign",
    "Planet": "list(x)",
    "Version": "x.parse('1.2'), x(1) < x(2), hasattr(x(1), '__dict__')",
    "Derived": "x(name='a', raw='abc')",
    "Base": "x()",
    "Key": "x(('a',)) in x.INSTANCES, x(('z',)).parts",
    "KEY_A": "x, x in type(x).INSTANCES",
    "Dynamic": "x(1).total()",
    "TREE_INSTANCE": "list(x)",
    "Tree": "list(x(1, x(0)))",
    "Cached": "__import__('weakref').ref(x(1)) is not None",
    "WithDescriptor": "x(3).n",
    "Row": "x(1).label, x.of({'id': 2, 'z': 1}), x(1)._asdict().keys()",
    "Rec": "x(1, 2), x._fields, x.__module__",
    "Opts": "sorted(x.__required_keys__), x(a=1)",
    "Loose": "sorted(x.__annotations__)",
    "Entity": "sorted(x.__abstractmethods__)",
    "Customer": "x(' a ').key, x.table, x.load('q').name",
    "SupportsClose": "x._is_protocol",
    "Closer": "x().close()",
    "Sized_": "len(x()), list(x())",
    "Config": "dict(x(a=1)), x(a=1) == {'a': 1}, x.__abstractmethods__",
    "CONFIG": "x['a'], sorted(x['b']), len(x)",
    "Symbol": "x('q') is x('q')",
    "SYM": "x.name, type(x)('a') is x",
    "Columns": "x.order, list(x), 'a' in x",
    "Model": "x(id='3', at='2024-01-02').at, x.id.name",
    "Stats": "x([1, 2, 3]).mean, x([1, 2]).dev, x([5]).nth(0), x([]).scaled(2), x([]).show([1.25, 2])",
    "Prio": "x(1) < x(2), x(2) >= x(1), x.__hash__",
    "Node": "x('a').parent",
    "Money": "x(1) + x.ZERO, isinstance(x(1), __import__('numbers').Number)",
    "ORIGIN": "x + type(x)(1, 2), x.x, type(x).y.__doc__",
    "HEADERS": "x['ACCEPT'], x['nope'], dict(x)",
    "Path_": "x('/a.csv').touchy()",
    "STACK": "x.push(2) and x[0], type(x).__name__",
    "Title": "x('a').shout()",
    "ATTR": "x.a, x.data",
    "DOT": "x.a.b, x.nope",
    "PROXY": "x.n",
    "PIPE": "x(' ab ')",
    "Pipe": "x[int].__origin__ is x",
    "Repo": "x().put(1, 2)._store, x.__parameters__",
    "UserRepo": "x().put(1, 2)._store, x.__orig_bases__[0].__args__[0].__name__",
    "StateMachine": "x().fire('start').state, list(x().fire('start').log)",
    "Timer": "x()(lambda: 3)()",
    "Pool": "x() is x()",
    "ETLError": "str(x('a', row=1)), x('a').row",
    "BadRow": "str(x('a')), x.code",
    "Many": "x('m', [ValueError(1)]).message",
    "fmt": "x.format(__import__('logging').LogRecord('a', 20, '', 1, 'hi', (), None))",
    "flt": "x.name, x.pattern.pattern",
    "handler_cfg": "sorted(x)",
    "Encoder": "x().encode({'a': __import__('datetime').date(2024, 1, 1)})",
    "Parser": "x().names",
    "Worker": "x.__name__",
    "AsyncSource": "x(1).n",
    "Shadow": "x.total, x.type.a, x.fn('ab'), x.pick('b'), x().mirrored, x.cmp(1, 2), x.sub('y', 'axb')",
    "Outer": "sorted(x.Meta.permissions), x.Error.__qualname__",
    "LocalA": "x().get(), x.size",
    "LOCAL_OBJ": "x.get(), x.size",
    "to_json": "x({'a': 1, 'b': {}}), x(1.5)",
    "run_gather": "x([1, 2])",
    "swapped": "x.__name__",
    "pairs": "list(x('abc'))",
    "window": "list(x('abc'))",
    "toposort": "x({'a': ['b'], 'b': ['c']})",
    "in_network": "x('10.1.1.1')",
    "with_tz": "x('2024-01-01T12:00:00')",
    "after_cutoff": "x()",
    "money": "x('1.23456789012345')",
    "stable_id": "x('a')",
    "pack": "x(1, 2)",
    "ascii_only": "x('äöß')",
    "group_by": "x([{'name': 'b', 'id': 1}, {'name': 'a', 'id': 1}])",
    "nested_default": "x()",
    "uses_view": "x()",
    "consts": "x()",
    "handles": "x({'kind': 'a', 'z': 1}), x([1, 2, 3]), x('s'), x(0)",
    "fstrings": "x('a')",
    "big_constant_set": "x('beta'), x((1, 2)), x('no')",
    "nested_functions": "x()",
    "try_everything": "x(1), x(2), x(3)",
    "raises_group": "x()",
    "late": "x()",
    "uses_globals": "x()",
    "reads_source": "x()",
    "from_string": "x()",
    "dynamic_fn": "x(2)",
    "DynamicCls": "x.n",
    "evaluated": "x(1)",
    "lambdas": "[f(1) for f in x]",
    "table": "x['a'](1)",
    "composed": "x(3)",
    "bound_method": "x('start').state",
    "bound_class": "x('a').name",
    "unbound": "x('a')",
    "keyed": "x(['b', 'A'])",
    "wrapped_partial": "x(), x.__name__",
    "cached_partial": "x(1)",
    "an_error": "str(x), sorted(x.row), x.args",
    "an_iter_factory": "next(x())",
    "weak_set": "len(x)",
    "ns": "x.z, sorted(x.a.q)",
    "sched": "sorted(x), sorted(x['daily']['days']), x['hourly']['fn']()",
    "jobs": "[f() for _, f in x]",
    "a_tree": "x['a']['b'], x['q']['r']",
    "a_deque": "len(x), x[1], x[2]",
    "od": "list(x)",
    "cp": "x['a']['x']",
    "xml_el": "x.get('b')",
    "a_range": "list(x)",
    "a_slice": "'abc'[x]",
    "an_url": "x.netloc",
    "a_fraction": "x",
    "a_dateset": "sorted(x)",
    "mixed_set": "len(x), frozenset({1}) in x",
    "aliases": "x['a'] is x['b'] is x['c'][1]",
    "selfref": "x['me'] is x",
    "cyc_a": "x.children[0].children[0] is x",
    "seeded": "x.random()",
    "an_ip": "x",
    "an_addr_set": "sorted(x)",
    "tz_fixed": "x",
    "a_context": "x.prec",
    "a_template": "x.substitute(a=1, b=2)",
    "uses_code": "x(2)",
    "counts_calls": "x(), x.version, sorted(x.owners)",
    "recursive_default": "x(20)",
    "hints": "x()",
    "uses_json_type": "x(1), sorted(x.__annotations__)",
    "checks": "x()",
    "isolated": "x()",
    "interned": "x()",
    "graph_of": "x()",
    "enum_table": "x()",
    "price": "x()",
    "uses_main_guard": "x() in (True, False)",
    "docstring_only": "x.__doc__",
}

if __name__ == "__main__":
    from reporting import report

    report(globals())
