"""`casflow top`: what goes on, as it changes; and the page that `casflow agent status` shows."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from casflow import config
from casflow.cli.output import json_option, open_console, show_json, size
from casflow.cli.table import Column, plural, render
from casflow.registry import MAX_SKEW, Registry
from casflow.streams import safe

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from casflow.registry import Overview

_COLUMNS = (
    Column("agent"),
    Column("name", whole=True),
    Column("host", drop=2),
    Column("pid", drop=4),
    Column("labels", drop=3),
    Column("runs"),
    Column("silent for", whole=True),
    Column("clock", drop=1),
)


@click.command()
@click.option(
    "--interval", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="Seconds."
)
@json_option
def top(interval: float, as_json: bool) -> None:
    """Watch agents, runs and hits as they change, until interrupted; once without a terminal."""
    from rich.live import Live

    console = open_console()
    with Registry(config.load().registry) as registry:
        if as_json:
            show_json(form(registry.overview()))
            return
        if not console.is_terminal:
            page(registry.overview())
            return
        with (
            suppress(KeyboardInterrupt),
            registry.watch() as watch,
            Live(_render(registry.overview(), console), console=console, screen=True) as live,
        ):
            while True:
                watch.wait(interval)
                live.update(_render(registry.overview(), console), refresh=True)


def form(overview: Overview) -> dict[str, Any]:
    """Return an overview for programs."""
    return {
        "moment": overview.moment.isoformat(),
        "agents": [
            {
                "agent": each.id,
                "name": each.name,
                "host": each.host,
                "pid": each.pid,
                "labels": list(each.labels),
                "runs": overview.held.get(each.id, 0),
                "silent_seconds": max(0.0, (overview.moment - each.heartbeat).total_seconds()),
                "skew_seconds": None if each.skew is None else each.skew.total_seconds(),
            }
            for each in overview.agents
        ],
        "runs": {state.value: count for state, count in overview.runs.items()},
        "limits": dict(overview.limits),
        "unserved": [
            {"labels": list(labels), "runs": count} for labels, count in overview.unserved.items()
        ],
        "hits": overview.hits,
        "misses": overview.misses,
        "hit_rate": overview.hit_rate,
        "saved_bytes": overview.saved,
        "downloaded_bytes": overview.downloaded,
    }


def page(overview: Overview) -> None:
    """Print an overview for people."""
    console = open_console()
    console.print(_render(overview, console), soft_wrap=True)


def _render(overview: Overview, console: Console) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    rows = []
    for each in form(overview)["agents"]:
        cells = {**each, "silent for": f"{each['silent_seconds']:.0f} s", "clock": _clock(each)}
        rows.append([cells[column.name] for column in _COLUMNS])
    lines = [Text(safe(line)) for line in _lines(overview)]
    table = render(_COLUMNS, rows, console) if rows else Text("no agent is working")
    return Group(*lines, Text(), table)


def _clock(agent: dict[str, Any]) -> str:
    skew = agent["skew_seconds"] or 0
    return f"{skew:+.0f} s" if abs(skew) > MAX_SKEW else ""


def _lines(overview: Overview) -> list[str]:
    states = [f"{state.value.lower()} {count}" for state, count in overview.runs.items()]
    lines = [f"runs      {', '.join(states)}"]
    if overview.hit_rate is not None:
        kept = f"{size(overview.saved)} saved, {size(overview.downloaded)} downloaded"
        lines.append(f"cache     {overview.hit_rate:.0%} of the latest runs hit, {kept}")
    if overview.limits:
        limits = [f"{label} {runs}" for label, runs in sorted(overview.limits.items())]
        lines.append(f"limits    {', '.join(limits)}")
    for labels, count in overview.unserved.items():
        wanted = ", ".join(labels) or "any labels"
        lines.append(f"unserved  {plural(count, 'run')} waiting for an agent with {wanted}")
    return lines
