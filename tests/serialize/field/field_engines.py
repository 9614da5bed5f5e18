"""Jobs and tasks as people of Dagster, Luigi and Metaflow write them."""

import datetime

import dagster as dg
import luigi
from dagster import AssetExecutionContext, Config, ConfigurableResource, Definitions, asset, job, op
from luigi.util import inherits, requires
from metaflow import FlowSpec, Parameter, current, retry, step

from helpers_beside import Source, chunked


class Settings(Config):
    day: str = "2024-01-01"
    limit: int = 10


class Warehouse(ConfigurableResource):
    url: str = "db"

    def read(self, n):
        return [self.url] * n


def fetch(source=Source([{"id": 1}])):
    return source.read()


@asset(group_name="raw", compute_kind="python")
def raw_orders(context: AssetExecutionContext, config: Settings):
    context.log.info(config.day)
    return fetch()


@asset(deps=[raw_orders], metadata={"owner": "data"})
def orders():
    return chunked(fetch())


@op(out={"a": dg.Out(), "b": dg.Out(is_required=False)})
def split(context):
    yield dg.Output(1, "a")


@op
def add_one(n: int) -> int:
    return n + 1


@job(tags={"team": "x"})
def numbers():
    add_one(split().a)


class Day(luigi.Task):
    day = luigi.DateParameter(default=datetime.date(2024, 1, 1))
    limit = luigi.IntParameter(default=3, significant=False)

    def output(self):
        return luigi.LocalTarget(f"/data/{self.day:%Y}.csv")

    def run(self):
        with self.output().open("w") as out:
            out.write(str(self.limit))


@inherits(Day)
class Week(luigi.Task):
    def requires(self):
        return [self.clone(Day)]


@requires(Day)
class Report(luigi.Task):
    kind = luigi.ChoiceParameter(choices=["a", "b"], default="a")

    def rows(self):
        return chunked([self.kind, self.limit])


class Train(FlowSpec):
    rate = Parameter("rate", default=0.1, help="Learning rate")

    @step
    def start(self):
        self.values = chunked([1, 2, 3])
        self.next(self.fit, foreach="values")

    @retry(times=2)
    @step
    def fit(self):
        self.total = sum(self.input) * self.rate
        self.next(self.join)

    @step
    def join(self, inputs):
        self.best = max(each.total for each in inputs)
        self.next(self.end)

    @step
    def end(self):
        print(current.run_id, self.best)


CASES = {
    "Settings": "x().limit",
    "Warehouse": "x(url='u').read(1)",
    "fetch": "x()",
    "add_one": "x.name",
    "split": "x.name",
    "raw_orders": "str(x.key)",
    "orders": "str(x.key)",
    "numbers": "x.name",
    "Day": "x().output().path",
    "Week": "x().requires()[0].limit",
    "Report": "x().rows()",
    "Train": "sorted(n for n in vars(x) if n in ('start', 'fit', 'join', 'end'))",
}

if __name__ == "__main__":
    from reporting import report

    report(globals())
