"""The charts of the tables, as PNG.

Invariant: a chart shows what its table's JSON holds, so it can be drawn again without measuring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.measure import Chart, Table

SIZE = (8.0, 4.5)  # inches
DOTS = 80  # an inch: small files, sharp enough for a page


def draw(table: Table, path: Path) -> None:
    """Draw a table's chart."""
    from matplotlib.figure import Figure

    chart = table.chart
    assert chart is not None
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    {"lines": _lines, "bars": _bars}[chart.kind](axes, chart)
    axes.set(title=table.title, xlabel=chart.x, ylabel=chart.y, yscale="log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=DOTS, metadata={"Software": None})


def _lines(axes: Any, chart: Chart) -> None:
    for name, heights in chart.series.items():
        axes.plot(chart.places, heights, marker="o", label=name)
    axes.set_ylim(bottom=min(map(_least, chart.series.values())) / 10)


def _bars(axes: Any, chart: Chart) -> None:
    width = 0.8 / len(chart.series)
    for number, (name, heights) in enumerate(chart.series.items()):
        there = [(place, each) for place, each in enumerate(heights) if each is not None]
        left = [place + (number + 0.5) * width - 0.4 for place, _ in there]
        axes.bar(left, [each for _, each in there], width, label=name)
    axes.set_xticks(range(len(chart.places)), chart.places)


def _least(heights: list[float | None]) -> float:
    return min(each for each in heights if each is not None)
