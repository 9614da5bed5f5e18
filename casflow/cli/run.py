"""`casflow run`: a version runs in this process, read through the cache."""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from casflow.agents.execute import execute, failure, run_flow
from casflow.cli.completion import complete_flow
from casflow.cli.output import json_option, note, show_json, size
from casflow.cli.parameters import parse_parameters, version_options
from casflow.cli.table import show_fields
from casflow.cli.versions import get_version, names_digest
from casflow.errors import ConfigError, bounded
from casflow.streams import raw_stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from casflow.flow import Flow, State


@click.command()
@click.argument("name", metavar="[REF]", required=False, shell_complete=complete_flow)
@click.option("-p", "--path", help="A script whose flow is run as it is there, unregistered.")
@click.option("-m", "--module", help="A module, or `module:attribute`, in place of a script.")
@version_options
@json_option
def run(
    name: str | None,
    path: str | None,
    module: str | None,
    project: str | None,
    number: int | None,
    digest: str | None,
    parameters: tuple[str, ...],
    as_json: bool,
) -> int:
    """Run a version of a flow in this process, whatever labels it has.

    REF is a name, for its newest version, NAME@VERSION, NAME@TAG, a digest or the start of one.
    With --path or --module it only chooses by name among the flows that stand there; nothing is
    stored then.
    """
    values = parse_parameters(parameters)
    outcome: dict[str, Any] = {}
    # As for `register`, flows may import what lies here; it takes the place of nothing else.
    with suppress(FileNotFoundError):  # the working folder may have been removed
        sys.path.append(str(Path.cwd()))
    if path is not None or module is not None:
        if project or number or digest:
            raise ConfigError("a flow that is not registered has no versions", where=path or module)
        from casflow.flow.foreign import flow_name

        flow = _flow_of(path, module, name)
        form: dict[str, Any] = {"flow": flow_name(flow)}
        state = _run(lambda: run_flow(flow, values), as_json=as_json)
    elif name is None:
        raise ConfigError("name a flow, or a script with --path")
    else:
        version = get_version(project, name, number, digest)
        form = {"flow": version.flow, "version": version.number, "digest": version.digest}
        bound = version.digest if digest is not None or names_digest(name, version) else None
        state = _run(
            lambda: execute(version.flow, version.storage, values, outcome, digest=bound),
            as_json=as_json,
        )
    succeeded = state is not None and state.is_successful()
    _show({**form, "state": "Success" if succeeded else "Failed", **outcome}, as_json=as_json)
    if not succeeded:
        note(f"error: {bounded(failure(state))}")
        return 1
    return 0


def _flow_of(path: str | None, module: str | None, name: str | None) -> Flow:
    from casflow.cli.flows import find_sources
    from casflow.flow.script import pick

    (source,) = find_sources([] if path is None else [path], [] if module is None else [module])
    flows = source.flows()
    what = "module" if path is None else "file"
    return pick(flows, name, what=what, where=str(source))


def _run(act: Callable[[], State | None], *, as_json: bool) -> State | None:
    # What a flow prints is its own: it may draw on the terminal.
    out, err = raw_stream(sys.stdout), raw_stream(sys.stderr)
    with redirect_stdout(err if as_json else out), redirect_stderr(err):
        return act()


def _show(form: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(form)
        return
    times = (key for key in ("load_seconds", "run_seconds") if key in form)
    seconds: dict[str, Any] = {key: f"{form[key] * 1000:.1f} ms" for key in times}
    if "downloaded_bytes" in form:
        form = {**form, "downloaded_bytes": size(form["downloaded_bytes"])}
    show_fields({**form, **seconds})
