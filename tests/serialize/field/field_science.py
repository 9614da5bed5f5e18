"""What scripts make of numpy, pandas, pydantic, attrs and SQLAlchemy beside their functions."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import typing as t
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import attr
import attrs
import numpy as np
import numpy.typing as npt
import pandas as pd
import sqlalchemy as sa
from attrs import define, field, frozen, validators
from pandas.api.types import CategoricalDtype
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    PrivateAttr,
    RootModel,
    SecretStr,
    TypeAdapter,
    ValidationError,
    computed_field,
    create_model,
    field_serializer,
    field_validator,
    model_validator,
    validate_call,
)
from pydantic.dataclasses import dataclass as pydantic_dataclass
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    func,
    select,
    text,
)
from sqlalchemy.types import TypeDecorator

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Floats = npt.NDArray[np.float64]
Small = Annotated[int, Field(gt=0, lt=10)]
Trimmed = Annotated[str, BeforeValidator(lambda v: v.strip() if isinstance(v, str) else v)]


class Color(str, enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)
    street: str = Field(..., min_length=1, description="the street")
    zip: Trimmed = "0"


class Person(BaseModel):
    name: str
    age: PositiveInt = 1
    color: Color = Color.RED
    tags: set[str] = {"b", "a"}
    address: Address | None = None
    friends: list[Person] = []
    secret: SecretStr = SecretStr("x")
    amounts: dict[Literal["a", "b"], Decimal] = Field(default_factory=dict)
    at: dt.datetime = dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)
    KINDS: ClassVar[frozenset[str]] = frozenset({"x", "y"})
    _cache: dict = PrivateAttr(default_factory=dict)

    @field_validator("name", mode="before")
    @classmethod
    def upper(cls, v: Any) -> Any:
        return str(v).upper()

    @model_validator(mode="after")
    def check(self) -> Person:
        if self.name == "BAD":
            raise ValueError("bad name")
        return self

    @computed_field
    @property
    def label(self) -> str:
        return f"{self.name}/{self.age}"

    @field_serializer("at")
    def iso(self, v: dt.datetime) -> str:
        return v.date().isoformat()


class Employee(Person):
    boss: Person | None = None
    salary: Small = 3


class Page(BaseModel, Generic[T]):
    items: list[T]
    total: int = 0


PersonPage = Page[Person]


class Ids(RootModel[dict[str, Small]]):
    def __iter__(self):
        return iter(self.root)


Settings = create_model("Settings", host=(str, "h"), port=(int, 5), __base__=Address)


class Event(BaseModel):
    type: Literal["event"] = "event"
    n: int = 0


class Alarm(BaseModel):
    type: Literal["alarm"] = "alarm"
    level: Annotated[int, AfterValidator(lambda v: v * 2)] = 1


class Envelope(BaseModel):
    body: Annotated[Event | Alarm, Field(discriminator="type")]


events = TypeAdapter(list[Annotated[Event | Alarm, Field(discriminator="type")]])


@validate_call
def scaled(n: Small, k: float = 2.0) -> float:
    return n * k


@pydantic_dataclass
class Pd:
    x: int
    y: list[int] = Field(default_factory=list)


def load_people(rows: list[dict[str, Any]]) -> list[Person]:
    out = []
    for row in rows:
        try:
            out.append(Person.model_validate(row))
        except ValidationError as error:
            out.append(error.error_count())
    return out


def parse_as(kind: type[M], data: dict) -> M:
    return kind(**data)


a_person = Person(name="a", tags={"q", "w", "e"}, address=Address(street=" s "))
a_page = Page[Address](items=[Address(street="s")])


@define
class Job:
    name: str = field(validator=validators.instance_of(str))
    retries: int = field(default=3, converter=int)
    tags: set[str] = attrs.Factory(set)
    parent: Job | None = field(default=None, repr=False, eq=False)
    meta: dict = field(factory=dict, metadata={"doc": {"x", "y"}})

    @retries.validator
    def _positive(self, attribute, value):
        if value < 0:
            raise ValueError(attribute.name)

    @property
    def slug(self):
        return self.name.lower()


@frozen(order=True, kw_only=True)
class Version:
    major: int = 0
    minor: int = 0
    extra: tuple = field(default=(), order=False)


@attr.s(auto_attribs=True, slots=False, hash=True)
class Old:
    a: int = attr.ib(default=1)
    b: list = attr.ib(factory=list, hash=False)


Made = attrs.make_class("Made", {"x": attrs.field(default=2), "y": attrs.field(factory=list)})


@define(on_setattr=attrs.setters.frozen)
class Hooked:
    a: int

    def __attrs_pre_init__(self):
        pass

    def __attrs_post_init__(self):
        object.__setattr__(self, "a", self.a + 1)


@define
class Gen(t.Generic[T]):
    item: T


V1 = Version(major=1)
VERSIONS = {V1, Version(major=2)}
a_job = Job("A", parent=Job("B"), tags={"x", "y", "z"})

metadata = MetaData(schema="s")
orders = Table(
    "orders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(50), nullable=False, index=True),
    Column("parent", ForeignKey("s.orders.id")),
    sa.UniqueConstraint("name", name="uq"),
    sa.CheckConstraint("id > 0"),
)


class Json(TypeDecorator):
    impl = String
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return str(value)


def query(limit=3):
    q = (
        select(orders.c.id, func.count().label("n"))
        .where(orders.c.name == bindparam("n"))
        .group_by(orders.c.id)
        .limit(limit)
    )
    return str(q)


def runs():
    engine = create_engine("sqlite://")
    with engine.begin() as conn:
        conn.execute(text("create table t (a int)"))
        conn.execute(text("insert into t values (:a)"), [{"a": 1}, {"a": 2}])
        return conn.execute(text("select sum(a) from t")).scalar_one()


statement = select(orders).where(orders.c.id.in_([1, 2])).order_by(orders.c.name.desc())

RNG = np.random.default_rng(3)
GRID = np.linspace(0, 1, 5)
MASK = np.array([True, False])
STRUCT = np.dtype([("a", "i4"), ("b", "U5")])
OBJ = np.array([{"a": {1, 2}}, None], dtype=object)
MASKED = np.ma.masked_array([1, 2], mask=[0, 1])
DATES = np.array(["2024-01-01"], dtype="datetime64[D]")
vectorized = np.vectorize(lambda x: x + 1, otypes=[float])
poly = np.poly1d([1, 2])
scalars = (np.float32(1.5), np.int64(3), np.bool_(True), np.datetime64("2024-01-01"), np.nan)
agg = {"total": ["sum", np.mean], "n": len, "top": lambda s: s.max()}


def normalise(a: Floats, *, axis: int | None = None, fn=np.mean) -> Floats:
    return (a - fn(a, axis=axis)) / np.std(a)


@np.vectorize
def relu(x):
    return max(x, 0.0)


class Array(np.ndarray):
    unit = ""

    def __new__(cls, data, unit=""):
        obj = np.asarray(data).view(cls)
        obj.unit = unit
        return obj

    def __array_finalize__(self, obj):
        self.unit = getattr(obj, "unit", "")


SIZE = CategoricalDtype(["s", "m"], ordered=True)
FRAME = pd.DataFrame(
    {"a": [1, 2], "b": ["x", "y"], "c": pd.to_datetime(["2024-01-01", "2024-01-02"])}
)
INDEXED = FRAME.set_index("c")
SERIES = pd.Series([1.0, None], name="s", index=pd.Index(["i", "j"], name="k"))
MULTI = pd.MultiIndex.from_product([["a"], [1, 2]], names=["x", "y"])
STAMP = pd.Timestamp("2024-01-01", tz="Europe/Berlin")
OFFSET = pd.offsets.BusinessDay(2)
INTERVAL = pd.interval_range(0, 2)
PERIOD = pd.Period("2024-01")
NULL = pd.NA
CATS = pd.Categorical(["s", "m", "s"], dtype=SIZE)
DELTA = pd.Timedelta("1h")


def summarise(df: pd.DataFrame, by: list[str] | None = None) -> pd.DataFrame:
    return (
        df.assign(twice=lambda d: d["a"] * 2)
        .pipe(lambda d: d[d["twice"] > 0])
        .groupby(by or ["b"], as_index=False)
        .agg(total=("twice", "sum"), n=("a", "count"))
    )


def windowed(df):
    return df.set_index("c").rolling("2D")["a"].sum().tolist()


def styles(s: pd.Series, sizes=SIZE, when=STAMP, off=OFFSET) -> list:
    return [s.astype(sizes).cat.codes.tolist(), str(when + off)]


class Loader:
    dtypes: ClassVar[dict] = {"a": "Int64", "b": pd.StringDtype(), "c": np.float32}
    defaults = pd.Series({"a": 1})

    def __init__(self, frame=FRAME):
        self.frame = frame

    @functools.cached_property
    def columns(self):
        return list(self.frame.columns)


loader = Loader()
loader_loaded = Loader()
loader_loaded.columns
CASES = {
    "Address": "x(street=' a ').street, x(street='a') == x(street='a')",
    "Person": "x(name='a').label, x(name='b').model_dump(mode='json')['at'], sorted(x(name='a').tags)",
    "Employee": "x(name='e', boss={'name': 'b'}).boss.name, x.model_fields['salary'].annotation",
    "PersonPage": "x(items=[{'name': 'a'}]).items[0].name, x.__name__",
    "Page": "x[int](items=['1']).items",
    "Ids": "list(x({'a': 1}))",
    "Settings": "x(street='a').port",
    "Envelope": "x(body={'type': 'alarm', 'level': 2}).body.level",
    "events": "x.validate_python([{'type': 'event'}])[0].n",
    "scaled": "x('3')",
    "Pd": "x('3').x, x(1).y",
    "load_people": "x([{'name': 'bad'}, {'name': 'q'}])[0]",
    "parse_as": "x.__name__",
    "a_person": "x.label, sorted(x.tags), x.address.street",
    "a_page": "x.items[0].street",
    "Job": "x('A', '4').retries, x('A').slug, [a.name for a in x.__attrs_attrs__]",
    "Version": "x(major=1) < x(major=2), len({x(), x()})",
    "Old": "x() == x(), hash(x()) == hash(x())",
    "Made": "x().x",
    "Hooked": "x(1).a",
    "Gen": "x(1).item, x[int].__args__",
    "V1": "x.major",
    "VERSIONS": "sorted(v.major for v in x)",
    "a_job": "x.parent.slug, sorted(x.tags)",
    "orders": "sorted(x.c.keys()), x.fullname",
    "Json": "x().process_bind_param(1, None)",
    "query": "'count' in x()",
    "runs": "x()",
    "statement": "'DESC' in str(x)",
    "RNG": "x.integers(10, size=3).tolist()",
    "GRID": "x.tolist()",
    "MASK": "x.tolist()",
    "STRUCT": "x.names",
    "OBJ": "sorted(x[0]['a'])",
    "MASKED": "x.sum()",
    "DATES": "x.tolist()",
    "vectorized": "x([1, 2]).tolist()",
    "poly": "x(2)",
    "scalars": "[type(v).__name__ for v in x]",
    "agg": "sorted(x), x['total'][1] is __import__('numpy').mean",
    "normalise": "x(__import__('numpy').array([1.0, 3.0])).tolist()",
    "relu": "x([-1.0, 2.0]).tolist()",
    "Array": "x([1, 2], 'm')[:1].unit",
    "SIZE": "x.categories.tolist()",
    "FRAME": "x.shape, x['c'].dt.year.tolist()",
    "INDEXED": "x.index.name",
    "SERIES": "x.index.name, x.name",
    "MULTI": "x.names",
    "STAMP": "str(x)",
    "OFFSET": "x.n",
    "INTERVAL": "len(x)",
    "PERIOD": "str(x)",
    "NULL": "x is __import__('pandas').NA",
    "CATS": "x.codes.tolist()",
    "DELTA": "str(x)",
    "summarise": "x(__import__('pandas').DataFrame({'a': [1], 'b': ['x']})).total.tolist()",
    "windowed": "x.__name__",
    "styles": "x(__import__('pandas').Series(['s', 'm']))",
    "Loader": "x().columns",
    "loader": "x.columns",
    "loader_loaded": "x.columns",
}

if __name__ == "__main__":
    from reporting import report

    report(globals())
