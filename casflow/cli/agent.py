"""`casflow agent`: processes that take waiting runs."""

from __future__ import annotations

import logging

import click

from casflow import config
from casflow.cli.output import json_option, note, show_json, show_table
from casflow.registry import Registry, check_labels


@click.group()
def agent() -> None:
    """Start agents and look at them."""


@agent.command()
@click.option("-l", "--label", "labels", multiple=True, help="A label, besides the host's name.")
@click.option("--name", default="local", show_default=True, help="What people call it.")
@click.option("--limit", type=click.IntRange(min=1), default=1, show_default=True, help="At once.")
@click.option("--no-hostname-label", is_flag=True, help="Do not carry the host's name as a label.")
@click.option("--once", is_flag=True, help="Stop when no run waits any more.")
def start(
    labels: tuple[str, ...], name: str, limit: int, no_hostname_label: bool, once: bool
) -> None:
    """Take waiting runs and run each in a process of its own, until SIGTERM."""
    from casflow.agents.local import LocalAgent

    logging.getLogger("casflow.agents").setLevel(logging.INFO)
    with Registry(config.load().registry) as registry:
        LocalAgent(
            registry,
            check_labels(labels),
            name=name,
            limit=limit,
            hostname_label=not no_hostname_label,
        ).start(once=once)


@agent.command("ls")
@json_option
def listed(as_json: bool) -> None:
    """List the agents that are working."""
    with Registry(config.load().registry) as registry:
        agents = registry.agents()
    rows = [
        {
            "agent": each.id,
            "name": each.name,
            "host": each.host,
            "pid": each.pid,
            "labels": list(each.labels),
            "heartbeat": each.heartbeat.isoformat(timespec="seconds"),
        }
        for each in agents
    ]
    if as_json:
        show_json(rows)
    elif rows:
        show_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        note("no agent is working")
