"""`casflow runs`: what waits, runs and has run."""

from __future__ import annotations

import io
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from casflow import config
from casflow.agents.logs import find_log
from casflow.cli.completion import complete_flow
from casflow.cli.groups import Group
from casflow.cli.output import json_option, note, show_json, size, working
from casflow.cli.parameters import NUMBER, parse_parameters, version_options
from casflow.cli.table import Column, iso_option, show_fields, show_table
from casflow.cli.versions import get_version
from casflow.errors import ConfigError, NotFoundError
from casflow.registry import Registry, RunState
from casflow.streams import write_content

if TYPE_CHECKING:
    from casflow.agents.logs import Piece
    from casflow.registry import Run

_MOMENTS = ("scheduled", "created", "started", "ended")
_POLL_INTERVAL = 1.0  # seconds between two looks at a run that nothing woke us for
_LOG_INTERVAL = 0.3  # seconds between two looks at a log
_LONGEST = 200  # characters of a message in a table


@click.group(cls=Group)
def runs() -> None:
    """Ask for runs and look at them."""


@runs.command()
@click.argument("name", metavar="REF", shell_complete=complete_flow)
@version_options
@click.option("-l", "--label", "labels", multiple=True, help="Instead of the version's own.")
@click.option("--wait", is_flag=True, help="Wait for its end; exit with 1 if it did not succeed.")
@iso_option
@json_option
def create(
    name: str,
    project: str | None,
    number: int | None,
    digest: str | None,
    parameters: tuple[str, ...],
    labels: tuple[str, ...],
    wait: bool,
    as_json: bool,
) -> int:
    """Ask for a run of a flow; an agent with its labels takes it.

    REF is a name, for its newest version, NAME@VERSION, NAME@TAG, a digest or the start of one.
    """
    values = parse_parameters(parameters)
    version = get_version(project, name, number, digest)
    with _registry() as registry:
        run = registry.create_run(version, parameters=values, labels=labels or None)
        missing = registry.find_missing_labels(run.labels)
        if not wait:
            _show(run, missing, as_json=as_json)
            return 0
        if missing is not None:
            note(_waiting(run, missing))
        run = _wait(registry, run)
    _show(run, None, as_json=as_json)
    return 0 if run.state == RunState.SUCCESS else 1


def _wait(registry: Registry, run: Run) -> Run:
    """Return a run as it has ended; an interruption leaves it to its agent."""
    with working(f"waiting for run {run.id}"), registry.watch() as watch:
        while not (run := registry.get_run(run.id)).state.is_final:
            watch.wait(_POLL_INTERVAL)
    return run


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
@iso_option
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


@runs.command()
@click.argument("run_id", type=NUMBER)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@json_option
def logs(run_id: int, follow: bool, as_json: bool) -> None:
    """Print what a run has printed, as its agent on this machine has kept it.

    Of a long log the first 256 KiB and the last are kept, of all logs 64 MB and 30 days.
    """
    if follow and as_json:
        raise ConfigError("a log that goes on is no JSON document", hint="leave out --json or -f")
    with _registry() as registry:
        run = registry.get_run(run_id)
        if follow:
            _follow(registry, run)
            return
    kept = find_log(run)
    if kept is None:
        raise _no_log(run)
    pieces = kept.read()
    if as_json:
        text = b"".join(each.data for each in pieces).decode(errors="replace")
        left_out = sum(each.left_out for each in pieces)
        show_json({"run": run.id, "text": text, "left_out_bytes": left_out})
    else:
        _print(pieces)


def _follow(registry: Registry, run: Run) -> None:
    """Print what a run prints until it has ended."""
    offset = 0
    kept = find_log(run)
    while True:
        has_ended = run.state.is_final
        kept = kept or find_log(run)
        pieces = [] if kept is None else kept.read(offset)
        if pieces:
            _print(pieces)
            offset = pieces[-1].start + len(pieces[-1].data)
        elif has_ended:
            break
        time.sleep(_LOG_INTERVAL)
        run = registry.get_run(run.id)
    if kept is None:
        raise _no_log(run)


def _print(pieces: list[Piece]) -> None:
    for piece in pieces:
        if piece.left_out:
            click.echo(f"… {size(piece.left_out)} left out …")
        write_content(io.BytesIO(piece.data))
    sys.stdout.flush()


def _no_log(run: Run) -> NotFoundError:
    where = f"run {run.id}"
    if run.agent is None:
        return NotFoundError("no agent has taken it yet", where=where)
    if run.host != socket.gethostname():
        hint = f"it ran on {run.host}; casflow runs logs {run.id} shows it there"
        return NotFoundError("its log is not on this machine", where=where, hint=hint)
    hint = "it printed nothing, its worker keeps its own, or it was 30 days old"
    return NotFoundError("there is no log of it", where=where, hint=hint)


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
        form = {**form, **{name: getattr(run, name) for name in _MOMENTS}}
        form["outcome"] = _words(form["outcome"] or {})
        show_fields({key: value for key, value in form.items() if value not in (None, {}, [])})
    if missing is not None:
        note(_waiting(run, missing))


def _words(outcome: dict[str, Any]) -> dict[str, Any]:
    """Return what a run measured as people read it."""
    words = {}
    for name, value in outcome.items():
        if name.endswith("_seconds") and isinstance(value, int | float):
            words[name.removesuffix("_seconds")] = f"{value * 1000:.1f} ms"
        elif name.endswith("_bytes") and isinstance(value, int | float):
            words[name.removesuffix("_bytes")] = size(value)
        else:
            words[name] = value
    return words


def _waiting(run: Run, missing: tuple[str, ...]) -> str:
    return f"run {run.id} waits: {_missing_labels(missing)}"


def _missing_labels(missing: tuple[str, ...]) -> str:
    if not missing:
        return "no agent is working; start one with `casflow agent start`"
    return (
        f"no working agent carries {', '.join(missing)}; start one with --label for each"
        " (Local storage adds the name of the host that registered)"
    )


def _form(run: Run) -> dict[str, Any]:
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
        "host": run.host,
        "attempt": run.attempt,
        "outcome": None if run.outcome is None else dict(run.outcome),
    }
    for name in _MOMENTS:
        moment = getattr(run, name)
        form[name] = None if moment is None else moment.isoformat()
    return form
