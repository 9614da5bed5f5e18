"""What the scripts share, as projects have it."""

import logging
import threading
from datetime import date
from pathlib import Path

BASE = Path(__file__).parent
LOCK = threading.Lock()
DEFAULTS = {"retries": 3, "tags": ["a", "b"]}
logger = logging.getLogger(__name__)


class Source:
    """Reads rows."""

    kind = "csv"

    def __init__(self, rows=None):
        self.rows = rows or []

    def read(self):
        return [dict(row, kind=self.kind) for row in self.rows]


class Strict(Source):
    kind = "strict"

    def read(self):
        return [row for row in super().read() if row.get("id")]


def first_of_month(day: date) -> date:
    return day.replace(day=1)


def chunked(values, size=2):
    return [values[at : at + size] for at in range(0, len(values), size)]


def load(name):
    with LOCK:
        return name
