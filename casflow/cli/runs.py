"""`casflow runs`: what waits, runs and has run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from casflow import config
from casflow.cli.groups import Group
from casflow.cli.output import json_option, note, show_json
from casflow.cli.parameters import NUMBER, parse_parameters, version_options
from casflow.cli.table import Column, iso_option, show_fields, show_table
from casflow.cli.versions import get_version
from casflow.registry import Registry, RunState

if TYPE_CHECKING:
    from casflow.registry import Run

_LONGEST = 200  # characters of a message in a table


@click.group(cls=Group)
def runs() -> None:
    """Ask for runs and look at them."""


@runs.command()
@click.argument("name")
@version_options
@click.option("-l", "--label", "labels", multiple=True, help="Instead of the version's own.")
@json_option
def create(
    name: str,
    project: str | None,
    number: int | None,
    digest: str | None,
    parameters: tuple[str, ...],
    labels: tuple[str, ...],
    as_json: bool,
) -> None:
    """Ask for a run of a flow; an agent with its labels takes it."""
    values = parse_parameters(parameters)
    version = get_version(project, name, number, digest)
    with _registry() as registry:
        run = registry.create_run(version, parameters=values, labels=labels or None)
        missing = registry.find_missing_labels(run.labels)
    _show(run, missing, as_json=as_json)


@runs.command("ls")
@click.option(
    "--state",
    type=click.Choice([*RunState], case_sensitive=False),
    help="Only runs in this state.",
)
@click.option("--flow", help="Only runs of this flow.")
@click.option("--project", help="Only runs of this project.")
@click.option("--limit", type=NUMBER, default=100, show_default=True, help="At most so many.")
@iso_option
@json_option
def listed(
    state: str | None, flow: str | None, project: str | None, limit: int, as_json: bool
) -> None:
    """List runs, newest first."""
    wanted = None if state is None else RunState(state)
    with _registry() as registry:
        found = registry.runs(state=wanted, flow=flow, project=project, limit=limit)
    if as_json:
        show_json([_form(each) for each in found])
    elif found:
        columns = [
            Column("run"),
            Column("flow"),
            Column("version", drop=2),
            Column("state", whole=True),
            Column("created", drop=1),
            Column("message", drop=3),
        ]
        rows = [(r.id, r.flow, r.version, r.state, r.created, _cut(r.message)) for r in found]
        show_table(columns, rows)
    else:
        note("no runs")


@runs.command()
@click.argument("run_id", type=NUMBER)
@json_option
def show(run_id: int, as_json: bool) -> None:
    """Show one run."""
    with _registry() as registry:
        run = registry.get_run(run_id)
        waits = run.state == RunState.SCHEDULED
        missing = registry.find_missing_labels(run.labels) if waits else None
    _show(run, missing, as_json=as_json)


@runs.command()
@click.argument("run_id", type=NUMBER)
@json_option
def cancel(run_id: int, as_json: bool) -> None:
    """Cancel a run that waits or runs."""
    with _registry() as registry:
        run = registry.cancel(registry.get_run(run_id))
    _show(run, None, as_json=as_json)


def _cut(message: str | None) -> str | None:
    """Return the head of a message; `casflow runs show` has all of it."""
    return message if message is None or len(message) <= _LONGEST else f"{message[:_LONGEST]}…"


def _registry() -> Registry:
    return Registry(config.load().registry)


def _show(run: Run, missing: tuple[str, ...] | None, *, as_json: bool) -> None:
    form = {**_form(run), "missing_labels": None if missing is None else list(missing)}
    if as_json:
        show_json(form)
    else:
        show_fields({key: value for key, value in form.items() if value not in (None, {}, [])})
    if missing is not None:
        note(f"run {run.id} waits: {_missing_labels(missing)}")


def _missing_labels(missing: tuple[str, ...]) -> str:
    if not missing:
        return "no agent is working; start one with `casflow agent start`"
    return (
        f"no working agent carries {', '.join(missing)}; start one with --label for each"
        " (Local storage adds the name of the host that registered)"
    )


def _form(run: Run) -> dict[str, Any]:
    moments = ("scheduled", "created", "started", "ended")
    form: dict[str, Any] = {
        "run": run.id,
        "project": run.project,
        "flow": run.flow,
        "version": run.version,
        "digest": run.digest,
        "state": str(run.state),
        "message": run.message,
        "parameters": dict(run.parameters),
        "labels": list(run.labels),
        "agent": run.agent,
        "attempt": run.attempt,
        "outcome": None if run.outcome is None else dict(run.outcome),
    }
    for name in moments:
        moment = getattr(run, name)
        form[name] = None if moment is None else moment.isoformat()
    return form
