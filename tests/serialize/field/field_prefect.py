"""Flows as people of Prefect 3 write them."""

from __future__ import annotations

from datetime import timedelta

from prefect import flow, get_run_logger, task, unmapped
from prefect.cache_policies import INPUTS, NO_CACHE
from prefect.tasks import exponential_backoff, task_input_hash
from pydantic import BaseModel

from helpers_beside import chunked


class Order(BaseModel):
    id: int
    tags: set[str] = {"a", "b"}


def key(context, parameters):
    return f"{context.task.name}-{parameters['day']}"


@task(retries=3, retry_delay_seconds=exponential_backoff(backoff_factor=2), tags=["x", "y"])
def extract(day: str) -> list[dict]:
    # a comment
    return [{"id": 1, "day": day}]


@task(cache_policy=INPUTS, cache_expiration=timedelta(hours=1))
def clean(rows: list[dict], limit: int = 10) -> list[dict]:
    return rows[:limit]


@task(cache_key_fn=task_input_hash, persist_result=False)
def count(rows):
    return len(rows)


@task(cache_policy=NO_CACHE, task_run_name="load-{n}", on_failure=[lambda t, r, s: None])
async def load(n: int):
    get_run_logger().info("loaded %d", n)


@task
def parts(values):
    return chunked(values)


@flow(name="etl", log_prints=True, retries=1)
def etl(day: str = "2024-01-01", order: Order | None = None):
    """Load a day."""
    rows = clean(extract(day))
    print(count(rows))
    return parts.map([rows], unmapped(1))


@flow
async def outer(days: list[str]):
    for day in days:
        etl(day)


class Steps:
    @task
    def one(self):
        return 1

    @flow
    def run(self):
        return self.one()


CASES = {
    "extract": "x.fn('d'), x.retries, sorted(x.tags)",
    "clean": "x.fn([1, 2], 1)",
    "count": "x.fn([1])",
    "load": "x.name",
    "parts": "x.fn([1, 2, 3])",
    "etl": "x.name, x.description",
    "outer": "x.name",
    "Order": "x(id=1).id",
    "key": "x.__name__",
    "Steps": "x.run.name",
}

if __name__ == "__main__":
    from reporting import report

    report(globals())
