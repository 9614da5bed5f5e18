"""`casflow agent`: processes that take waiting runs."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import click

from casflow import config
from casflow.cli.groups import Group
from casflow.cli.output import json_option, note, show_json
from casflow.cli.parameters import renamed_option
from casflow.cli.table import Column, iso_option, show_table
from casflow.errors import ConfigError
from casflow.registry import Registry, check_labels

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from casflow.agents.local import LocalAgent


@click.group(cls=Group)
def agent() -> None:
    """Start agents and look at them."""


@agent.command()
@click.argument("kind", type=click.Choice(["local", "docker", "dask"]), default="local")
@click.option("-l", "--label", "labels", multiple=True, help="A label, besides the host's name.")
@click.option("--name", help="What people call it.  [default: its kind]")
@click.option(
    "--concurrency", type=click.IntRange(min=1), default=1, show_default=True, help="Runs at once."
)
@renamed_option("--limit", "--concurrency", click.IntRange(min=1))
@click.option("--no-hostname-label", is_flag=True, help="Do not carry the host's name as a label.")
@click.option("--once", is_flag=True, help="Stop when no run waits any more.")
@click.option("--timeout", type=float, help="Seconds that a run may take.")
@click.option("--address", help="dask: of the scheduler.  [default: a cluster of its own]")
@click.option(
    "--metrics",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve Prometheus on 127.0.0.1.",
)
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
    concurrency: int,
    old_concurrency: int | None,
    no_hostname_label: bool,
    once: bool,
    timeout: float | None,
    metrics: int | None,
    **special: Any,
) -> None:
    """Take waiting runs, each run in a process, a container or by Dask, until SIGTERM."""
    logging.getLogger("casflow.agents").setLevel(logging.INFO)
    _check_special(kind, special)
    options = {
        "name": name or kind,
        "limit": old_concurrency or concurrency,
        "hostname_label": not no_hostname_label,
    }
    options["timeout"] = timeout
    make = {"local": _local, "docker": _docker, "dask": _dask}[kind]
    with Registry(config.load().registry) as registry, _served(registry, metrics):
        make(registry, check_labels(labels), special, options).start(once=once)


def _served(registry: Registry, port: int | None) -> AbstractContextManager[object]:
    if port is None:
        return nullcontext()
    from casflow.integrations.metrics import serve

    return serve(registry, port)


def _check_special(kind: str, special: dict[str, Any]) -> None:
    for name, value in special.items():
        its = "dask" if name == "address" else "docker"
        if value and its != kind:
            raise ConfigError(f"a {kind} agent takes no --{name}", hint=f"start a {its} agent")


def _local(
    registry: Registry,
    labels: tuple[str, ...],
    special: dict[str, Any],  # noqa: ARG001 - as the others take them
    options: dict[str, Any],
) -> LocalAgent:
    from casflow.agents.local import LocalAgent

    return LocalAgent(registry, labels, **options)


def _dask(
    registry: Registry, labels: tuple[str, ...], special: dict[str, Any], options: dict[str, Any]
) -> LocalAgent:
    from casflow.integrations.dask_agent import DaskAgent

    return DaskAgent(registry, labels, address=special["address"], **options)


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


@agent.command()
@json_option
def status(as_json: bool) -> None:
    """Show agents, runs by state, and how warm the latest runs were."""
    from casflow.cli.top import form, page

    with Registry(config.load().registry) as registry:
        overview = registry.overview()
    if as_json:
        show_json(form(overview))
    else:
        page(overview)


@agent.command()
@click.argument("label", required=False)
@click.argument("runs", type=click.IntRange(min=0, max=2**31 - 1), required=False)
@click.option("--none", "lifted", is_flag=True, help="Lift the label's limit.")
@json_option
def limit(label: str | None, runs: int | None, lifted: bool, as_json: bool) -> None:
    """Show limits, or let at most RUNS runs with a label run at a time, over all agents.

    Without RUNS and --none nothing is changed.
    """
    if lifted and (label is None or runs is not None):
        raise ConfigError("--none takes a label and no number of runs")
    with Registry(config.load().registry) as registry:
        if label is not None and (lifted or runs is not None):
            registry.limit_label(label, runs)
        limits = registry.label_limits()
    if label is not None:
        (label,) = check_labels([label])
        limits = {label: limits[label]} if label in limits else {}
    if as_json:
        show_json(limits)
    elif limits:
        show_table([Column("label", whole=True), "runs"], list(limits.items()))
    else:
        note("no limit" if label is None else f"no limit for {label}")


@agent.command("ls")
@iso_option
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
        columns: list[Column | str] = [
            "agent",
            Column("name", whole=True),
            Column("host", drop=1),
            Column("pid", drop=3),
            Column("labels", drop=2),
            Column("heartbeat"),
        ]
        show_table(columns, [(a.id, a.name, a.host, a.pid, a.labels, a.heartbeat) for a in agents])
    else:
        note("no agent is working")
