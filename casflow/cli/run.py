"""`casflow run`: a version runs in this process, read through the cache."""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import click

from casflow.agents.execute import execute, failure
from casflow.cli.output import json_option, note, show_json, size
from casflow.cli.parameters import parse_parameters, version_options
from casflow.cli.table import show_fields
from casflow.cli.versions import get_version
from casflow.errors import bounded
from casflow.streams import raw_stream

if TYPE_CHECKING:
    from casflow.flow import State
    from casflow.registry import Version


@click.command()
@click.argument("name")
@version_options
@json_option
def run(
    name: str,
    project: str | None,
    number: int | None,
    digest: str | None,
    parameters: tuple[str, ...],
    as_json: bool,
) -> int:
    """Run a version of a flow in this process, whatever labels it has."""
    values = parse_parameters(parameters)
    version = get_version(project, name, number, digest)
    outcome: dict[str, Any] = {}
    # What a flow prints is its own: it may draw on the terminal.
    out, err = raw_stream(sys.stdout), raw_stream(sys.stderr)
    with redirect_stdout(err if as_json else out), redirect_stderr(err):
        bound = None if digest is None else version.digest
        state = execute(version.flow, version.storage, values, outcome, digest=bound)
    _show(_form(version, state, outcome), as_json=as_json)
    if state is None or not state.is_successful():
        note(f"error: {bounded(failure(state))}")
        return 1
    return 0


def _form(version: Version, state: State | None, outcome: dict[str, Any]) -> dict[str, Any]:
    return {
        "flow": version.flow,
        "version": version.number,
        "digest": version.digest,
        "state": "Success" if state is not None and state.is_successful() else "Failed",
        **outcome,
    }


def _show(form: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(form)
        return
    seconds = {key: f"{form[key] * 1000:.1f} ms" for key in ("load_seconds", "run_seconds")}
    show_fields({**form, "downloaded_bytes": size(form["downloaded_bytes"]), **seconds})
