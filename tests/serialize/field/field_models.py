"""Models, tables, clients and commands as people write them with the libraries that they use most."""

import dataclasses
import enum
import typing as t
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Generic, Literal, Optional, TypeVar, Union

import attr
import attrs
import click
import requests
import sqlalchemy as sa
from attrs import define, field, frozen, validators
from jinja2 import DictLoader, Environment
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    TypeAdapter,
    computed_field,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass as pydantic_dataclass
from requests.adapters import HTTPAdapter
from sqlalchemy import orm
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from urllib3.util.retry import Retry

T = TypeVar("T")


class Color(str, enum.Enum):
    RED = "red"
    BLUE = "blue"


class Item(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    id: int = Field(alias="itemId", gt=0)
    name: str = "x"
    color: Color = Color.RED
    tags: set[str] = Field(default_factory=set)


class Response(BaseModel, Generic[T]):
    data: T
    page: int = 1


ItemResponse = Response[Item]


class Names(RootModel[list[str]]):
    def __iter__(self):
        return iter(self.root)


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    friends: list["Dog"] = []


class Owner(BaseModel):
    pet: Annotated[Union[Cat, Dog], Field(discriminator="kind")]
    since: Optional[date] = None

    @field_validator("since", mode="before")
    @classmethod
    def parse(cls, value):
        return value or None

    @model_validator(mode="after")
    def check(self):
        if self.since and self.since.year < 1900:
            raise ValueError("too old")
        return self

    @computed_field
    @property
    def label(self) -> str:
        return f"{self.pet.kind}"


Positive = Annotated[int, BeforeValidator(lambda v: abs(int(v)))]
adapter = TypeAdapter(dict[str, Positive])


class Node(BaseModel):
    value: Positive = 1
    parent: "Node | None" = None


class Wide(Item):
    size: Decimal = Decimal("1.0")
    at: datetime | None = None

    class Inner(BaseModel):
        n: int = 1

    inner: Inner = Inner()


@pydantic_dataclass
class Checked:
    n: int
    when: date = date(2024, 1, 1)


an_item = Item(itemId=3, tags={"a", "b"})
items = [Item(itemId=n) for n in (1, 2)]


@define
class Conn:
    host: str = "localhost"
    port: int = field(default=5432, validator=validators.instance_of(int))
    options: dict = field(factory=dict)

    @port.validator
    def _check(self, attribute, value):
        if value < 0:
            raise ValueError(attribute.name)

    @property
    def url(self):
        return f"{self.host}:{self.port}"


@frozen
class Key:
    a: str
    b: int = field(default=0, converter=int, metadata={"doc": "b"})


@frozen(order=True)
class Ranked(Key):
    c: tuple[int, ...] = ()


@attr.s(auto_attribs=True, hash=True, cache_hash=True)
class Cached:
    x: int = attr.ib(default=1)
    y: "list[Key]" = attr.Factory(list)


@attrs.define(slots=False, kw_only=True)
class Loose:
    n: int = 1
    on_change: t.Callable = attrs.field(default=len, on_setattr=attrs.setters.convert)


KEYS = {Key("a", 1): "first", Key("b"): "second"}


def by_key(a, b=0):
    return KEYS.get(Key(a, b)), attrs.asdict(Key(a, b)), attrs.evolve(Key(a), b=3)


@dataclasses.dataclass(frozen=True)
class Plain:
    key: Key = Key("p")
    item: Item = Item(itemId=1)


metadata = sa.MetaData()
orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(20), nullable=False, default="x"),
    sa.Column("at", sa.DateTime, server_default=sa.func.now()),
)
lines = sa.Table(
    "lines",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("order_id", sa.ForeignKey("orders.id")),
)


def recent(limit=10):
    query = sa.select(orders.c.id).where(orders.c.name != "x").order_by(orders.c.at.desc())
    return str(query.limit(limit))


def in_memory():
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.begin() as conn:
        conn.execute(orders.insert(), [{"name": "a"}, {"name": "b"}])
        return conn.execute(sa.select(sa.func.count()).select_from(orders)).scalar()


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(30))
    books: Mapped[list["Book"]] = relationship(back_populates="author")

    def shout(self):
        return self.name.upper()


class Book(Base):
    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("authors.id"))
    author: Mapped[Author] = relationship(back_populates="books")


def author_names():
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        session.add(Author(name="x", books=[Book()]))
        session.commit()
        return session.scalars(sa.select(Author.name)).all()


statement = sa.text("select * from t where id = :id").bindparams(id=1)


def session_with_retries(total=3):
    made = requests.Session()
    made.mount("https://", HTTPAdapter(max_retries=Retry(total=total, status_forcelist=[500])))
    made.headers.update({"User-Agent": "etl"})
    return made


class Client:
    base = "https://api.example.com"

    def __init__(self, token="t"):
        self.session = requests.Session()
        self.session.auth = ("user", token)

    def prepare(self, path, **params):
        request = requests.Request("GET", f"{self.base}/{path}", params=params)
        return self.session.prepare_request(request).url


client = Client()


class Auth(requests.auth.AuthBase):
    def __call__(self, request):
        request.headers["X"] = "1"
        return request


env = Environment(loader=DictLoader({"q": "select {{ cols|join(', ') }} from {{ table }}"}))


def render(table="t"):
    made = Environment(loader=DictLoader({"q": "select * from {{ table }}"}))
    return made.get_template("q").render(table=table)


@click.group()
@click.option("--verbose/--quiet", default=False)
def cli(verbose):
    """All commands."""


@cli.command()
@click.argument("day", type=click.DateTime())
@click.option("-n", "--count", default=1, type=click.IntRange(1, 5), show_default=True)
@click.pass_context
def load(ctx, day, count):
    """Load a day."""
    click.echo(f"{day:%Y} {count}")


def invoke(*args):
    from click.testing import CliRunner

    return CliRunner().invoke(cli, args).output


CASES = {
    "Item": "x(itemId=1), x.model_fields['id'].alias",
    "ItemResponse": "x(data={'itemId': 1}).data.id, x.__name__",
    "Response": "x[int](data='3').data",
    "Names": "list(x(['a']))",
    "Owner": "x(pet={'kind': 'dog'}).label, x(pet={'kind': 'cat'}).pet.lives",
    "adapter": "x.validate_python({'a': -3})",
    "Node": "x(parent=x(value=-2)).parent.value",
    "Wide": "x(itemId=1).inner.n, sorted(x.model_json_schema()['properties'])",
    "Checked": "x('3').n",
    "an_item": "x.id, sorted(x.tags), x.color",
    "items": "[i.id for i in x]",
    "Conn": "x().url, x(port=1)",
    "Key": "x('a', '2'), x('a') == x('a'), len({x('a'), x('a')})",
    "Ranked": "x('a') < x('b'), x('a').c",
    "Cached": "x().y, hash(x.__name__) is not None",
    "Loose": "x(n=2)",
    "by_key": "x('a', 1), x('b'), x('z')",
    "Plain": "x().key.a, x().item.id",
    "orders": "sorted(c.name for c in x.columns)",
    "recent": "'LIMIT' in x()",
    "in_memory": "x()",
    "Author": "x.__tablename__",
    "author_names": "x()",
    "statement": "str(x)",
    "session_with_retries": "x().headers['User-Agent']",
    "Client": "x().prepare('a', b=1)",
    "client": "x.prepare('a')",
    "Auth": "x().__class__.__name__",
    "render": "x()",
    "load": "x.name, [p.name for p in x.params]",
    "cli": "sorted(x.commands)",
    "invoke": "x('load', '2024-01-01')",
}

if __name__ == "__main__":
    from reporting import report

    report(globals())
