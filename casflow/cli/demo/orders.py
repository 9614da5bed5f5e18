"""An ordinary flow: a quarter's orders are read, cleaned, converted and summed up.

The demo registers this file and has an agent run it. It needs the standard library only.
"""

from __future__ import annotations

import csv
import io
import sqlite3
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from casflow import Flow, Parameter, task

RATES = {"EUR": Decimal(1), "USD": Decimal("0.86"), "GBP": Decimal("1.14")}
REGIONS = {"north", "south", "east", "west"}
ORDERS = Path(__file__).with_name("orders.csv").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Order:
    """One line of the export, cleaned."""

    number: int
    month: str
    region: str
    product: str
    euros: Decimal


@task
def extract(text: str) -> list[dict[str, str]]:
    """Read the export."""
    return list(csv.DictReader(io.StringIO(text)))


def clean(row: dict[str, str]) -> Order | None:
    """Return a row as an order, or None when it cannot be one."""
    try:
        price = Decimal(row["unit_price"]) * RATES[row["currency"]]
        euros = int(row["quantity"]) * price
    except (ValueError, InvalidOperation, KeyError):
        return None
    region = row["region"].strip().lower()
    if region not in REGIONS:
        return None
    return Order(int(row["order"]), row["day"][:7], region, row["product"], euros)


@task
def transform(rows: list[dict[str, str]]) -> list[Order]:
    """Clean the rows, leave out what cannot be read, and take each order once."""
    orders = {order.number: order for order in map(clean, rows) if order is not None}
    return [orders[number] for number in sorted(orders)]


@task
def sum_up(orders: list[Order], top: int) -> dict[str, list[tuple[str, Decimal]]]:
    """Return the products that sold best in each region."""
    sums: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for order in orders:
        sums[order.region][order.product] += order.euros
    return {
        region: sorted(products.items(), key=lambda each: (-each[1], each[0]))[:top]
        for region, products in sorted(sums.items())
    }


@task(max_retries=2, retry_delay=1)
def load(best: dict[str, list[tuple[str, Decimal]]]) -> int:
    """Write the result to a database and return the number of its rows."""
    rows = [
        (region, rank, product, float(euros))
        for region, products in best.items()
        for rank, (product, euros) in enumerate(products, start=1)
    ]
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE best (region TEXT, rank INTEGER, product TEXT, euros REAL)")
    database.executemany("INSERT INTO best VALUES (?, ?, ?, ?)", rows)
    (count,) = database.execute("SELECT count(*) FROM best").fetchone()
    database.close()
    return int(count)


with Flow("Quarterly orders") as flow:
    top = Parameter("top", default=3)
    load(sum_up(transform(extract(ORDERS)), top))
