"""`casflow agent`: processes that take waiting runs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

import click

from casflow import config
from casflow.cli.output import json_option, note, show_json, show_table
from casflow.errors import ConfigError
from casflow.registry import Registry, check_labels

if TYPE_CHECKING:
    from casflow.agents.local import LocalAgent


@click.group()
def agent() -> None:
    """Start agents and look at them."""


@agent.command()
@click.argument("kind", type=click.Choice(["local", "docker"]), default="local")
@click.option("-l", "--label", "labels", multiple=True, help="A label, besides the host's name.")
@click.option("--name", help="What people call it.  [default: its kind]")
@click.option("--limit", type=click.IntRange(min=1), default=1, show_default=True, help="At once.")
@click.option("--no-hostname-label", is_flag=True, help="Do not carry the host's name as a label.")
@click.option("--once", is_flag=True, help="Stop when no run waits any more.")
@click.option("--allow-registry", "allowed", multiple=True, help="docker: where images may be.")
@click.option("--image", help="docker: for flows that are not in Docker storage.")
@click.option("--volume", "volumes", multiple=True, metavar="HERE:THERE", help="docker: a folder.")
@click.option("--env", "variables", multiple=True, metavar="NAME=VALUE", help="docker: a variable.")
@click.option("--network", help="docker: network of the containers.")
@click.option("--memory", help="docker: what a container may use, such as 512m.")
@click.option("--cpus", type=float, help="docker: processors that a container may use.")
@click.option("--engine", help="docker: address of the engine.  [default: DOCKER_HOST]")
def start(
    kind: str,
    labels: tuple[str, ...],
    name: str | None,
    limit: int,
    no_hostname_label: bool,
    once: bool,
    **docker: Any,
) -> None:
    """Take waiting runs and run each in a process, or in a container, until SIGTERM."""
    logging.getLogger("casflow.agents").setLevel(logging.INFO)
    options = {"name": name or kind, "limit": limit, "hostname_label": not no_hostname_label}
    with Registry(config.load().registry) as registry:
        make = _local if kind == "local" else _docker
        make(registry, check_labels(labels), docker, options).start(once=once)


def _local(
    registry: Registry, labels: tuple[str, ...], docker: dict[str, Any], options: dict[str, Any]
) -> LocalAgent:
    from casflow.agents.local import LocalAgent

    given = [name for name, value in docker.items() if value]
    if given:
        raise ConfigError(f"a local agent takes no --{given[0]}", hint="start a docker agent")
    return LocalAgent(registry, labels, **options)


def _docker(
    registry: Registry, labels: tuple[str, ...], docker: dict[str, Any], options: dict[str, Any]
) -> LocalAgent:
    from casflow.agents.docker import DockerAgent
    from casflow.storage.docker.engine import Engine

    return DockerAgent(
        registry,
        labels,
        engine=Engine(docker["engine"]),
        allow_registries=docker["allowed"],
        volumes=pairs(docker["volumes"], ":"),
        environment=pairs(docker["variables"], "="),
        **{name: docker[name] for name in ("image", "network", "memory", "cpus")},
        **options,
    )


def pairs(texts: tuple[str, ...], separator: str) -> dict[str, str]:
    """Return pairs as they are written on a command line."""
    for text in texts:
        if separator not in text:
            raise ConfigError("not a pair", where=repr(text), hint=f"write it as a{separator}b")
    return dict(cast("tuple[str, str]", text.split(separator, 1)) for text in texts)


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
