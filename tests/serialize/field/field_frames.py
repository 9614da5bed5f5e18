"""Frames as people write them with pandas, polars, pyarrow and their kin."""

import dataclasses
import datetime as dt
from functools import partial, reduce
from pathlib import Path

import msgspec
import httpx
import pandas as pd
import pendulum
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import structlog
import tenacity
import typer
from marshmallow import Schema, fields, post_load
from pandas.api.types import CategoricalDtype
from rich.console import Console
from rich.table import Table
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from tenacity import retry, stop_after_attempt, wait_exponential
from tqdm import tqdm
import cattrs
import peewee

SIZES = CategoricalDtype(["s", "m", "l"], ordered=True)
SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string())])
FRAME = pd.DataFrame({"id": [1, 2], "total": [1.5, 2.5]}, index=["a", "b"])
AGGREGATES = {"total": ["sum", "mean"], "id": "count"}
log = structlog.get_logger(__name__)
console = Console()
BIG = pl.col("total") > 1
app = typer.Typer()


def clean(frame: pd.DataFrame, *, columns=("id", "total")) -> pd.DataFrame:
    return (
        frame.loc[:, list(columns)]
        .assign(total=lambda d: d["total"].fillna(0), day=pd.Timestamp("2024-01-01"))
        .query("total > 0")
        .reset_index(drop=True)
    )


def by_size(values):
    return pd.Series(values, dtype=SIZES).sort_values().tolist()


def merge(*frames):
    return reduce(partial(pd.merge, on="id", how="outer"), frames)


@pd.api.extensions.register_dataframe_accessor("etl_field")
class Accessor:
    def __init__(self, frame):
        self._frame = frame

    def count(self):
        return len(self._frame)


def count(frame=FRAME):
    return frame.etl_field.count(), frame.agg(AGGREGATES).shape


def to_polars(rows):
    return (
        pl.DataFrame(rows)
        .lazy()
        .filter(BIG)
        .with_columns(pl.col("total").round(1).alias("t"))
        .collect()
        .to_dicts()
    )


def arrow_total(rows):
    return pc.sum(pa.Table.from_pylist(rows)["total"]).as_py()


class Event(msgspec.Struct, frozen=True, kw_only=True, tag="event"):
    id: int
    name: str = "x"
    tags: set[str] = set()


class Point(msgspec.Struct, array_like=True):
    x: float
    y: float = 0.0

    def norm(self):
        return (self.x**2 + self.y**2) ** 0.5


def decode(text='{"type": "event", "id": 3}'):
    return msgspec.json.decode(text, type=Event).id


class OrderSchema(Schema):
    id = fields.Int(required=True)
    at = fields.Date()

    @post_load
    def make(self, data, **kwargs):
        return dict(data, made=True)


def load_order(data):
    return OrderSchema().load(data)


@retry(stop=stop_after_attempt(2), wait=wait_exponential(multiplier=0.001), reraise=True)
def flaky(n=1):
    return n


class Client(httpx.Client):
    def __init__(self, **kwargs):
        super().__init__(base_url="https://example.com", **kwargs)


def fetch(path):
    with httpx.Client(transport=httpx.MockTransport(lambda r: httpx.Response(200, json=[1]))) as c:
        return c.get(f"https://example.com/{path}").json()


class Bearer(httpx.Auth):
    def __init__(self, token):
        self.token = token

    def auth_flow(self, request):
        request.headers["Authorization"] = self.token
        yield request


@app.command()
def main(name: str, count: int = typer.Option(1, help="How often")):
    typer.echo(name * count)


def table(rows):
    made = Table("a", "b")
    for row in rows:
        made.add_row(*row)
    return made.row_count


class Log(BaseEstimator, TransformerMixin):
    def __init__(self, base=2):
        self.base = base

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return [[v[0] / self.base] for v in X]


model = make_pipeline(Log(), StandardScaler(), LinearRegression())
fitted = Pipeline([("lr", LinearRegression().fit([[0], [1]], [0, 1]))])


def predict(x):
    return fitted.predict([[x]]).round(3).tolist()


def next_month(text):
    return pendulum.parse(text).add(months=1).to_date_string()


def progress(values):
    return [v for v in tqdm(values, disable=True)]


converter = cattrs.Converter()


@dataclasses.dataclass
class Row:
    id: int
    at: dt.date = dt.date(2024, 1, 1)


def structure(data):
    return cattrs.Converter().structure(data, Row).id


database = peewee.SqliteDatabase(":memory:")


class BaseModel(peewee.Model):
    class Meta:
        database = database


class Person(BaseModel):
    name = peewee.CharField(max_length=10)
    age = peewee.IntegerField(default=1)


def people():
    database.create_tables([Person])
    Person.create(name="a")
    return [p.name for p in Person.select()]


CASES = {
    "clean": "x(__import__('pandas').DataFrame({'id': [1], 'total': [2.0]})).shape",
    "by_size": "x(['l', 's'])",
    "merge": "x(*[__import__('pandas').DataFrame({'id': [1]})] * 2).shape",
    "Accessor": "x([1]).count()",
    "FRAME": "x.total.sum()",
    "SCHEMA": "x.names",
    "SIZES": "x.ordered",
    "to_polars": "x([{'total': 2.25}])",
    "BIG": "str(x)",
    "arrow_total": "x([{'total': 2}])",
    "Event": "x(id=1)",
    "Point": "x(3, 4).norm()",
    "decode": "x()",
    "OrderSchema": "x.__name__",
    "load_order": "x({'id': '3'})",
    "flaky": "x(3)",
    "Client": "x.__name__",
    "fetch": "x('a')",
    "Bearer": "x('t').token",
    "table": "x([('a', 'b')])",
    "Log": "x().transform([[4]])",
    "model": "x.steps[0][1].base",
    "fitted": "x.predict([[2]]).round(3).tolist()",
    "predict": "x(3)",
    "next_month": "x('2024-01-31')",
    "progress": "x([1])",
    "structure": "x({'id': '3'})",
    "people": "x()",
    "Person": "x.__name__",
    "main": "x.__name__",
}

if __name__ == "__main__":
    from reporting import report

    report(globals())
