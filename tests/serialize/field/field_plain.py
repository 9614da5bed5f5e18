"""Functions and classes as data teams write them, with the standard library alone."""

from __future__ import annotations

import abc
import argparse
import asyncio
import collections
import contextlib
import csv
import dataclasses
import enum
import functools
import hashlib
import heapq
import io
import itertools
import json
import logging
import operator
import os
import re
import sqlite3
import string
import sys
import textwrap
import time
import typing as t
import uuid
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import cached_property, lru_cache, partial, reduce, singledispatchmethod, wraps
from pathlib import Path, PurePosixPath
from types import MappingProxyType, SimpleNamespace
from typing import Any, Callable, ClassVar, Generic, NamedTuple, Protocol, TypedDict, TypeVar
from urllib.parse import urlencode, urljoin
from zoneinfo import ZoneInfo

import helpers_beside as hb
from helpers_beside import Source, Strict, chunked

logger = logging.getLogger(__name__)
log = logging.getLogger("etl." + __name__)
T = TypeVar("T")
N = TypeVar("N", int, float)
Row = t.Dict[str, t.Any]
Loader = Callable[[str], "list[Row]"]
API = "https://api.example.com/v1/"
CENTS = Decimal("0.01")
UTC = timezone.utc
BERLIN = ZoneInfo("Europe/Berlin")
PATTERN = re.compile(r"(?P<y>\d{4})-(?P<m>\d{2})", re.I | re.M)
COLUMNS = ("id", "name", "total")
DTYPES = {"id": "int64", "name": "string", "total": "float64"}
REQUIRED = frozenset({"id", "name"})
STOP = {"the", "a", "of", "and"}
ENV = MappingProxyType({"stage": "prod", "region": "eu"})
CONFIG = SimpleNamespace(host="db", port=5432, options={"ssl": True})
SQL = textwrap.dedent("""\
    SELECT id, name
    FROM orders
    WHERE day = :day
""")
TEMPLATE = string.Template("s3://$bucket/$key")
_registry: dict[str, Callable] = {}
_cache: dict[tuple, Any] = defaultdict(list)
Point = namedtuple("Point", "x y", defaults=[0])
Missing = object()


def retry(times: int = 3, *, on: tuple[type[Exception], ...] = (Exception,), delay: float = 0.0):
    def decorate(fn: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(fn)
        def inner(*args, **kwargs):
            for attempt in range(times):
                try:
                    return fn(*args, **kwargs)
                except on as error:
                    logger.warning("%s failed (%s), attempt %d", fn.__name__, error, attempt)
                    time.sleep(delay)
            raise RuntimeError(fn.__name__)

        inner.attempts = times
        return inner

    return decorate


def register(name=None):
    def decorate(fn):
        _registry[name or fn.__name__] = fn
        return fn

    return decorate


def timed(fn):
    @wraps(fn)
    def inner(*a, **k):
        start = time.perf_counter()
        try:
            return fn(*a, **k)
        finally:
            log.debug("%s took %.3f", fn.__qualname__, time.perf_counter() - start)

    return inner


@retry(times=2, on=(ValueError, KeyError))
def parse_total(text: str) -> Decimal:
    return Decimal(text).quantize(CENTS, rounding=ROUND_HALF_UP)


@timed
@register("rows")
def read_rows(text: str, *, dialect: str = "excel") -> list[Row]:
    return list(csv.DictReader(io.StringIO(text), dialect=dialect))


@register()
def clean(rows: list[Row]) -> list[Row]:
    return [{k.strip().lower(): v for k, v in row.items() if k in REQUIRED or v} for row in rows]


def dispatch(name):
    return _registry[name]


def month_of(text):
    found = PATTERN.search(text)
    return (int(found["y"]), int(found["m"])) if found else None


def local_time(stamp: float) -> str:
    return datetime.fromtimestamp(stamp, tz=UTC).astimezone(BERLIN).isoformat()


def build_url(path: str, **params: t.Any) -> str:
    return f"{urljoin(API, path)}?{urlencode(sorted(params.items()))}"


def words(text: str) -> Counter:
    return Counter(w for w in re.findall(r"\w+", text.lower()) if w not in STOP)


def in_parallel(values, workers=2):
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = {pool.submit(pow, v, 2): v for v in values}
        return sorted((futures[f], f.result()) for f in as_completed(futures))


async def fetch_all(names):
    async def one(name):
        await asyncio.sleep(0)
        return name.upper()

    return await asyncio.gather(*(one(n) for n in names))


def run_async(names):
    return asyncio.run(fetch_all(names))


@contextlib.contextmanager
def connection(path=":memory:"):
    conn = sqlite3.connect(path)
    try:
        yield conn
        conn.commit()
    finally:
        conn.close()


def count_rows(rows):
    with connection() as conn:
        conn.execute("create table t (id int, name text)")
        conn.executemany("insert into t values (:id, :name)", rows)
        return conn.execute("select count(*) from t").fetchone()[0]


@lru_cache(maxsize=None)
def fib(n: int) -> int:
    return n if n < 2 else fib(n - 1) + fib(n - 2)


@functools.cache
def settings_for(stage):
    return {**hb.DEFAULTS, "stage": stage}


def pipeline(*steps):
    return reduce(lambda f, g: lambda x: g(f(x)), steps)


strip_all = pipeline(str.strip, str.lower, partial(re.sub, r"\s+", " "))
sort_by_total = partial(sorted, key=operator.itemgetter("total"), reverse=True)
get_names = operator.attrgetter("name", "total")
upper = operator.methodcaller("upper")
Validator = Callable[[Any], bool]
validators: dict[str, Validator] = {
    "id": lambda v: isinstance(v, int) and v > 0,
    "name": lambda v: bool(v and v.strip()),
}


def validate(row):
    return sorted(name for name, check in validators.items() if not check(row.get(name)))


class Stage(enum.Enum):
    DEV = "dev"
    PROD = "prod"

    @classmethod
    def current(cls):
        return cls(ENV["stage"])

    @property
    def is_live(self):
        return self is Stage.PROD


class Flags(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()
    BOTH = READ | WRITE


class Priority(enum.IntEnum):
    LOW = 1
    HIGH = 10

    def __str__(self):
        return self.name.lower()


class Level(str, enum.Enum):
    INFO = "info"
    WARN = "warn"


@dataclass(frozen=True, order=True)
class Money:
    amount: Decimal
    currency: str = "EUR"

    ZERO: ClassVar["Money"]

    def __add__(self, other: Money) -> Money:
        return Money(self.amount + other.amount, self.currency)


Money.ZERO = Money(Decimal(0))


@dataclass
class Order:
    id: int
    lines: list[Line] = field(default_factory=list)
    tags: set[str] = field(default_factory=lambda: {"new", "web"})
    placed: datetime | None = None
    meta: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def total(self) -> Money:
        return sum((line.price for line in self.lines), start=Money.ZERO)

    def __post_init__(self):
        self.meta.setdefault("source", "api")


@dataclass(slots=True, kw_only=True)
class Line:
    price: Money
    count: int = 1


class Config(NamedTuple):
    host: str = "localhost"
    port: int = 5432
    options: dict = {}

    @property
    def url(self):
        return f"postgres://{self.host}:{self.port}"


class Job(TypedDict, total=False):
    name: str
    retries: int


class Reader(Protocol):
    def read(self) -> list[Row]: ...


class Step(abc.ABC, Generic[T]):
    registry: ClassVar[dict[str, type[Step]]] = {}
    name: ClassVar[str]

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.registry[cls.__name__] = cls

    @abc.abstractmethod
    def run(self, value: T) -> T: ...

    def __or__(self, other: Step[T]) -> Chain[T]:
        return Chain(self, other)


class Chain(Step[T]):
    name = "chain"

    def __init__(self, *steps):
        self.steps = steps

    def run(self, value):
        for step in self.steps:
            value = step.run(value)
        return value


class Double(Step[int]):
    name = "double"

    def run(self, value):
        return value * 2


class Add(Step[int]):
    name = "add"

    def __init__(self, n=1):
        self.n = n

    def run(self, value):
        return value + self.n


double_then_add = Double() | Add(3)


class Singleton(type):
    _instances: dict[type, Any] = {}

    def __call__(cls, *args, **kwargs):
        if cls not in cls._instances:
            cls._instances[cls] = super().__call__(*args, **kwargs)
        return cls._instances[cls]


class Settings(metaclass=Singleton):
    def __init__(self):
        self.values = dict(hb.DEFAULTS)


def setting(name):
    return Settings().values[name]


class Descriptor:
    def __set_name__(self, owner, name):
        self.name = f"_{name}"

    def __get__(self, obj, owner=None):
        return self if obj is None else getattr(obj, self.name, None)

    def __set__(self, obj, value):
        if value is None:
            raise ValueError(self.name)
        setattr(obj, self.name, value)


class Record:
    id = Descriptor()
    name = Descriptor()
    __slots__ = ("_id", "_name")

    def __init__(self, id, name):
        self.id, self.name = id, name


class Report:
    def __init__(self, rows):
        self.rows = rows

    @cached_property
    def total(self):
        return sum(r["total"] for r in self.rows)

    @singledispatchmethod
    def show(self, value):
        return repr(value)

    @show.register
    def _(self, value: int):
        return f"{value:,}"

    @show.register(list)
    def _(self, value):
        return ", ".join(map(self.show, value))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return False

    def __iter__(self):
        yield from self.rows

    def __getattr__(self, name):
        if name.startswith("by_"):
            return lambda: sorted(self.rows, key=operator.itemgetter(name[3:]))
        raise AttributeError(name)


class PipelineError(Exception):
    def __init__(self, step, *, cause=None):
        super().__init__(f"{step} failed")
        self.step = step
        self.cause = cause


class RetryError(PipelineError):
    pass


known_error = RetryError("load", cause="timeout")


class LRU(OrderedDict):
    def __init__(self, size=2):
        self.size = size
        super().__init__()

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        while len(self) > self.size:
            self.popitem(last=False)


class Tree:
    def __init__(self, name, parent=None):
        self.name, self.parent, self.children = name, parent, []
        if parent:
            parent.children.append(self)

    def path(self):
        return (self.parent.path() if self.parent else "") + "/" + self.name


root = Tree("root")
leaf = Tree("leaf", Tree("branch", root))


class Template(str):
    def __new__(cls, text, **defaults):
        made = super().__new__(cls, text)
        made.defaults = defaults
        return made

    def render(self, **values):
        return self.format(**{**self.defaults, **values})


greeting = Template("hello {name}", name="you")


class Version(tuple):
    def __new__(cls, text):
        return super().__new__(cls, map(int, text.split(".")))


version = Version("1.20.3")


def make_counter(start=0):
    count = start

    def up(by=1):
        nonlocal count
        count += by
        return count

    def peek():
        return count

    return SimpleNamespace(up=up, peek=peek)


counter = make_counter(5)


def make_class(**members):
    return type("Made", (Source,), dict(members, describe=lambda self: sorted(members)))


Made = make_class(kind="made", size=3)


def make_validator(rules):
    def check(row):
        return all(rule(row) for rule in rules)

    check.rules = len(rules)
    return check


all_good = make_validator([lambda r: r["id"] > 0, lambda r: r["name"] in STOP or r["name"]])


def generator(n):
    yield from (i * i for i in range(n) if i % 2)


def late_imports(value):
    import base64
    import xml.etree.ElementTree as ET

    return base64.b64encode(ET.tostring(ET.Element(value))).decode()


def late_helper(values):
    from helpers_beside import chunked as parts

    return parts(values, 3)


def uses_classes(rows):
    return Strict(rows).read() + Source(rows).read()


def default_instance(source=Strict([{"id": 1}])):
    return source.read()


def sentinel_default(value=Missing):
    return "none" if value is Missing else value


def uses_name():
    return __name__.rpartition(".")[2] in ("__main__", "field_plain")


def matches(event):
    match event:
        case {"type": "order", "id": int(id)}:
            return id
        case [first, *rest] if first in STOP:
            return rest
        case Point(x=0, y=y):
            return y
        case _:
            return None


def walrus(values):
    return [y for v in values if (y := v * 2) > 2]


def nested(n):
    class Inner:
        limit = n
        scale = len(COLUMNS)

        def go(self):
            return [self.limit * self.scale for _ in range(2)]

    return Inner().go()


def with_comprehensions(rows):
    by = {k: {r["name"] for r in g} for k, g in itertools.groupby(rows, key=lambda r: r["k"])}
    return {k: sorted(v) for k, v in by.items()}


def star_args(a, /, b, *rest, c=1, **more):
    return a, b, rest, c, sorted(more)


def with_exceptions(value):
    try:
        return 10 / value
    except ZeroDivisionError as error:
        raise PipelineError("divide", cause=error) from error
    finally:
        logger.debug("done")


def digest_rows(rows):
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:8]


def merge_sorted(*parts):
    return list(heapq.merge(*parts, key=lambda v: -v))


def read_env(name="HOME_OF_NOBODY", default="x"):
    return os.environ.get(name, default)


def uses_month(text):
    return hb.first_of_month(date.fromisoformat(text)).isoformat()


handlers = {
    "json": json.loads,
    "csv": read_rows,
    "upper": str.upper,
    "path": PurePosixPath,
    "first": operator.itemgetter(0),
}
schedule = [
    {"name": "daily", "every": timedelta(days=1), "at": (datetime(2024, 1, 1, tzinfo=UTC))},
    {"name": "weekly", "every": timedelta(weeks=1), "tags": {"slow", "big", "late"}},
]
graph = {"extract": [], "clean": ["extract"], "load": ["clean", "extract"]}


class Dag:
    def __init__(self, edges):
        self.edges = {k: set(v) for k, v in edges.items()}

    def order(self):
        done, out = set(), []
        while len(done) < len(self.edges):
            ready = sorted(k for k, v in self.edges.items() if k not in done and v <= done)
            done.update(ready)
            out += ready
        return out


dag = Dag(graph)


class Mixin:
    def describe(self):
        return f"{type(self).__name__}:{super().__class__.__name__}"


class Loader_(Mixin, Source):
    """Loads."""

    def read(self):
        return [*super().read(), {"by": self.describe()}]


class Meta(type):
    def __new__(mcs, name, bases, body, table=None):
        body["columns"] = [k for k, v in body.items() if isinstance(v, Column)]
        cls = super().__new__(mcs, name, bases, body)
        cls.table = table or name.lower()
        return cls

    def __init__(cls, name, bases, body, **kwargs):
        super().__init__(name, bases, body)

    def __len__(cls):
        return len(cls.columns)


class Column:
    counter = itertools.count()

    def __init__(self, kind):
        self.kind = kind


class Model(metaclass=Meta):
    pass


class User(Model, table="users"):
    id = Column(int)
    name = Column(str)


class Event:
    __match_args__ = ("kind",)
    _kinds: set[str] = set()

    def __init__(self, kind):
        self.kind = kind
        self._kinds.add(kind)

    def __eq__(self, other):
        return isinstance(other, Event) and self.kind == other.kind

    def __hash__(self):
        return hash(self.kind)


EVENTS = {Event("a"), Event("b"), Event("c")}
BY_EVENT = {Event("x"): 1}


def known_event(kind):
    return Event(kind) in EVENTS, BY_EVENT.get(Event("x"))


class Visitor:
    def visit(self, node):
        return getattr(self, f"visit_{type(node).__name__}", self.generic)(node)

    def generic(self, node):
        return None

    visit_int = visit_float = lambda self, node: node + 1
    visit_str = str.upper


def parser():
    made = argparse.ArgumentParser(prog="etl")
    made.add_argument("--day", type=date.fromisoformat, default=date(2024, 1, 1))
    return made.parse_args([]).day.year


class Backoff:
    __slots__ = ("base", "cap")
    LIMITS = (1, 60)

    def __init__(self, base=2):
        self.base, self.cap = base, max(self.LIMITS)

    def __call__(self, attempt):
        return min(self.base**attempt, self.cap)


backoff = Backoff()
_T = 0.5


def threshold(v, limit=_T, *, scale={"a": 1.0, "b": float("inf")}):
    return v > limit * scale["a"]


bound = Strict([{"id": 2}]).read
ratio = Fraction(3, 7)
deferred = [partial(star_args, 1, 2), partial(threshold, limit=3), deque([1, 2], maxlen=3)]
composed: Any = functools.reduce(
    lambda f, g: lambda x: g(f(x)), [str, len, [10, 20, 30].__getitem__]
)


class Weird:
    class Inner(enum.Enum):
        ONE = 1

    @staticmethod
    def make(kind=Inner.ONE):
        return kind.name

    @classmethod
    def build(cls):
        return cls.make(), cls.__qualname__

    __call__ = build


def annotated(x: "Order", y: t.Optional["Weird"] = None, *z: "Money") -> "t.List[Step[int]]":
    return sorted(annotated.__annotations__)


def recursive(tree):
    return sum(map(recursive, tree), 1) if isinstance(tree, list) else 0


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


CASES = {
    "parse_total": "x('1.005'), x.attempts",
    "read_rows": "x('a,b\\n1,2')",
    "clean": "x([{' Id': 1}])",
    "dispatch": "x('clean')([{'A': 1}])",
    "month_of": "x('on 2024-05')",
    "local_time": "x(0)",
    "build_url": "x('orders', b=1, a=2)",
    "words": "sorted(x('the cat of the hat').items())",
    "in_parallel": "x([1, 2, 3])",
    "run_async": "x(['a', 'b'])",
    "connection": "x.__name__",
    "count_rows": "x([{'id': 1, 'name': 'a'}])",
    "fib": "x(20)",
    "settings_for": "x('dev')",
    "strip_all": "x('  A   b ')",
    "sort_by_total": "x([{'total': 1}, {'total': 2}])",
    "get_names": "type(x).__name__",
    "upper": "x('a')",
    "validate": "x({'id': 0, 'name': ' '})",
    "Stage": "x.current().is_live, list(x)",
    "Flags": "x.BOTH, x.READ in x.BOTH",
    "Priority": "str(x.HIGH), x.LOW + 1",
    "Level": "x('info') is x.INFO, x.WARN + '!'",
    "Money": "x(1) + x.ZERO",
    "Order": "x(1).total, sorted(x(1).tags), x(1)",
    "Line": "x(price=1)",
    "Config": "x().url, x._fields",
    "Job": "x(name='a'), sorted(x.__optional_keys__)",
    "Reader": "x.__name__, x._is_protocol",
    "Step": "sorted(x.registry)",
    "Chain": "x().run(3), x.__mro__[1].__name__",
    "double_then_add": "x.run(4)",
    "Settings": "x() is x(), x().values['retries']",
    "setting": "x('retries')",
    "Record": "x(1, 'a').name",
    "Report": "x([{'total': 2}]).total, x([]).show(1234567), x([]).show([1, 2])",
    "known_error": "x.step, x.cause, x.args",
    "PipelineError": "x('a', cause=1).cause",
    "LRU": "x(1).size",
    "leaf": "x.path(), x.parent.parent.children[0] is x.parent",
    "greeting": "x.render(), x.render(name='z')",
    "version": "tuple(x), x > (1, 3)",
    "counter": "x.up(), x.peek() > 5",
    "Made": "x().kind, x().describe()",
    "all_good": "x({'id': 1, 'name': 'a'}), x.rules",
    "generator": "list(x(6))",
    "late_imports": "x('a')",
    "late_helper": "x([1, 2, 3, 4])",
    "uses_classes": "x([{'id': 1}, {}])",
    "default_instance": "x()",
    "sentinel_default": "x(), x(1)",
    "uses_name": "x()",
    "matches": "x({'type': 'order', 'id': 4}), x(['a', 1]), x(1)",
    "walrus": "x([1, 2])",
    "nested": "x(2)",
    "with_comprehensions": "x([{'k': 1, 'name': 'b'}, {'k': 1, 'name': 'a'}])",
    "star_args": "x(1, 2, 3, c=4, d=5)",
    "with_exceptions": "x(5)",
    "digest_rows": "x([{'b': 1, 'a': 2}])",
    "merge_sorted": "x([3, 1], [2])",
    "read_env": "x()",
    "uses_month": "x('2024-05-06')",
    "handlers": "sorted(x), x['json']('[1]'), x['csv']('a\\n1')",
    "schedule": "x[0]['every'], sorted(x[1]['tags'])",
    "dag": "x.order()",
    "Loader_": "x([]).read()",
    "User": "len(x), x.table, x.columns",
    "known_event": "x('a'), x('z')",
    "Visitor": "x().visit(1), x().visit('a')",
    "parser": "x()",
    "backoff": "x(3), x(99), hasattr(x, '__dict__')",
    "threshold": "x(1)",
    "bound": "x()",
    "ratio": "x + 1",
    "deferred": "x[0](3), x[1](2), x[2]",
    "composed": "x(5)",
    "Weird": "x()(), x.Inner.__qualname__",
    "annotated": "x(1)",
    "recursive": "x([[], [[]]])",
    "even": "x(4), x(3)",
    "make_class": "x(a=1)().describe()",
    "Descriptor": "x.__name__",
    "Meta": "x.__name__",
    "late_all": "",
}


def late_all():
    import helpers_beside

    return helpers_beside.chunked([1, 2, 3])


CASES["late_all"] = "x()"

if __name__ == "__main__":
    from reporting import report

    report(globals())
