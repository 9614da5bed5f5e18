"""The charts of the tables, as SVG, for a light and for a dark page.

Invariant: a chart shows what its table's JSON holds, so it can be drawn again without measuring;
every bar and line has its name and its value beside it, and a logarithmic axis says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.measure import Chart, Table

WIDTH = 5.4  # inches, of 96 points each on a page: as wide as a telephone shows without zoom
COLOURS = {"light": ("#1f2430", "#b9c0cc", "#2f6fde"), "dark": ("#e8eaf0", "#4b5262", "#7aa7ff")}


def draw(table: Table, folder: Path) -> list[str]:
    """Draw a table's chart in both colours; return the names of the files."""
    import matplotlib as mpl

    names = []
    for scheme, (ink, rule, _) in COLOURS.items():
        style = {
            "svg.fonttype": "none",
            "svg.hashsalt": "casflow",
            "font.size": 10,
            "font.family": "sans-serif",
            "text.color": ink,
            "axes.labelcolor": ink,
            "axes.edgecolor": rule,
            "xtick.color": ink,
            "ytick.color": ink,
            "grid.color": rule,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
        name = f"{table.name}-{scheme}.svg"
        with mpl.rc_context(style):
            figure = _figure(table, scheme)
            figure.savefig(folder / name, transparent=True, metadata={"Date": None})
        names.append(name)
    return names


def _figure(table: Table, scheme: str) -> Any:
    assert table.chart is not None
    return {"lines": _lines, "bars": _bars}[table.chart.kind](table, table.chart, COLOURS[scheme])


def _bars(table: Table, chart: Chart, colours: tuple[str, str, str]) -> Any:
    """Draw one panel a place, the fastest at its top."""
    from matplotlib.figure import Figure

    _, rule, strong = colours
    panels = [
        sorted(
            (values[place], name)
            for name, values in chart.series.items()
            if values[place] is not None
        )
        for place in range(len(chart.places))
    ]
    figure = Figure(figsize=(WIDTH, 0.7 + sum(0.5 + 0.26 * len(each) for each in panels)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots(
        len(panels), squeeze=False, height_ratios=[len(each) + 1 for each in panels]
    )[:, 0]
    for axis, place, bars in zip(axes, chart.places, panels, strict=True):
        names = [name for _, name in bars]
        values = [value for value, _ in bars]
        drawn = axis.barh(names, values, color=[strong if n == "casflow" else rule for n in names])
        axis.bar_label(drawn, [f"{value:.3g}" for value in values], padding=3)
        axis.set_xscale("log")
        axis.set_xlim(min(values) / 3, max(values) * 4)
        axis.invert_yaxis()
        axis.set_title(f"{chart.x}: {place}", loc="left", fontsize=10)
        axis.tick_params(left=False)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("")
    axes[-1].set_xlabel(f"{chart.y}, logarithmic")
    figure.suptitle(table.title, fontsize=12, x=0.01, ha="left")
    return figure


def _lines(table: Table, chart: Chart, colours: tuple[str, str, str]) -> Any:
    """Draw every series as a line with its name and last value below it, one panel a database."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    axis = figure.subplots()
    heights = [value for values in chart.series.values() for value in values if value is not None]
    for name, values in chart.series.items():
        strong = colours[2] if "SQLite" in name else colours[0]
        style = "-" if name.startswith("register") else "--" if "behind" not in name else ":"
        axis.plot(chart.places, values, style, marker="o", color=strong, label=name)
    axis.set_ylim(0, max(heights) * 1.15)
    axis.set(xlabel=chart.x, ylabel=chart.y)
    axis.grid(visible=True, axis="y", alpha=0.5)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.suptitle(table.title, fontsize=12, x=0.01, ha="left")
    return figure
