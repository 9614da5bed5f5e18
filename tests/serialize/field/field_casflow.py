"""Flows as people of Prefect 1 write them."""

from datetime import timedelta

import numpy as np

import helpers_beside as hb
from casflow import Flow, Parameter, task
from helpers_beside import Source, chunked

COLUMNS = {"id": int, "name": str}


@task
def extract(day, source=Source([{"id": 1}])):
    return source.read()


@task(name="clean rows")
def clean(rows, columns=tuple(COLUMNS)):
    return [{k: v for k, v in row.items() if k in columns} for row in rows]


@task
def load(rows):
    from helpers_beside import load as write

    return write(len(rows))


def summed(values):
    return float(np.sum(values))


with Flow("etl") as etl:
    day = Parameter("day", default="2024-01-01")
    load(clean(extract(day)))

with Flow("mapped") as mapped:
    total = task(summed, name="total")
    parts = task(lambda n: list(range(n)), name="parts")
    total(parts(4))


def make(names):
    with Flow("made") as flow:
        for name in names:
            task(lambda value=name: value, name=f"say {name}")()
    return flow


made = make(["a", "b"])

with Flow("settings") as settings:
    task(lambda: hb.DEFAULTS["retries"], name="read")()
    task(lambda every=timedelta(days=1): chunked([every], 1), name="chunk")()

CASES = {
    "etl": "x.run().is_successful()",
    "mapped": "x.run().is_successful()",
    "made": "x.run().is_successful(), sorted(t.name for t in x.tasks)",
    "settings": "x.run().is_successful()",
    "extract": "x.name",
    "summed": "x([1, 2])",
}

if __name__ == "__main__":
    from reporting import report

    report(globals())
