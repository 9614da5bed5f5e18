"""Timing side by side, and the tables that come of it.

Owns how benchmarks measure and how they report. Invariant: contestants are interleaved, so
whatever slows the machine down slows all of them; a table is printed as Markdown and kept as JSON
in `results/`, with the machine and the date that it is true of.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

RESULTS = Path(__file__).with_name("results")


def timed(work: Callable[[], object], *, times: int = 1) -> Callable[[], float]:
    """Return the contestant that does `work`, as the mean of `times` runs without a pause."""

    def once() -> float:
        started = time.perf_counter()
        for _ in range(times):
            work()
        return (time.perf_counter() - started) / times

    return once


def interleaved(
    subjects: Mapping[str, Callable[[], float]], *, rounds: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Let every contestant run once a round, each round from another one on."""
    names = list(subjects)
    taken: dict[str, list[float]] = {name: [] for name in names}
    with quiet():
        for number in range(-warm_up, rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                seconds = subjects[name]()
                gc.collect()  # what one leaves behind shall not be another's, nor new memory
                if number >= 0:
                    taken[name].append(seconds)
    return taken


def medians(taken: Mapping[str, list[float]]) -> dict[str, float]:
    """Return the median of each contestant."""
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the garbage collector from falling into the middle of somebody's turn."""
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass
class Chart:
    """What of a table is drawn.

    Args:
        kind: `lines` or `bars`.
        x: What the places on the x axis are.
        y: What the heights are, and their unit; the axis is logarithmic.
        places: Names of the places.
        series: Heights by name, one a place; None for "not to be had".
    """

    kind: str
    x: str
    y: str
    places: list[str]
    series: dict[str, list[float | None]]


@dataclass
class Table:
    """Rows of one measurement.

    Args:
        name: Under which it is kept: `results/<name>.json`.
        title: What was measured.
        columns: Names of the columns.
        notes: Sentences below the table.
        chart: What is drawn beside it.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    notes: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    chart: Chart | None = None

    def add(self, *cells: Any) -> None:
        """Add a row: one cell a column; text, a number, or None for "not to be had"."""
        self.rows.append(dict(zip(self.columns, cells, strict=True)))

    def to_markdown(self) -> str:
        """Return title, table and notes."""
        lines = [
            f"### {self.title}",
            "",
            _line(self.columns),
            _line("---" for _ in self.columns),
            *(_line(_shown(row[column]) for column in self.columns) for row in self.rows),
        ]
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines) + "\n"

    def report(self) -> None:
        """Print the table, and keep it as JSON."""
        RESULTS.mkdir(exist_ok=True)
        form = {**asdict(self), "machine": machine(), "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        form["load"] = f"{os.getloadavg()[2]:.1f}"
        text = json.dumps(form, indent=2, ensure_ascii=False)
        (RESULTS / f"{self.name}.json").write_text(f"{text}\n", encoding="utf-8")
        print(self.to_markdown(), flush=True)

    @classmethod
    def of(cls, form: Mapping[str, Any]) -> tuple[Table, dict[str, str]]:
        """Return a table of its JSON form, and the machine, date and load that it is true of."""
        form = dict(form)
        about = {key: form.pop(key) for key in ("machine", "date", "load")}
        form["columns"] = tuple(form["columns"])
        form["chart"] = None if form["chart"] is None else Chart(**form["chart"])
        return cls(**form), about


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(cell: Any) -> str:
    if cell is None:
        return "not to be had"
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)


def milliseconds(seconds: float | None) -> str | None:
    """Return a time with three digits that matter."""
    if seconds is None:
        return None
    shown = seconds * 1000
    return (
        f"{shown:.3f} ms" if shown < 1 else f"{shown:.3g} ms" if shown < 100 else f"{shown:.0f} ms"
    )


def ratio(part: float | None, whole: float | None) -> str | None:
    """Return how many times `whole` goes into `part`."""
    return None if part is None or not whole else f"{part / whole:.2f}x"


def machine() -> str:
    """Return the kind of machine, without its name."""
    return (
        f"{os.cpu_count()} cores, {_memory()} GiB, {platform.system()} {platform.machine()}, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )


def _memory() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def options(what: str) -> argparse.Namespace:
    """Return the options that every benchmark takes: `--quick` for few rounds."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works")
    return parser.parse_args()
