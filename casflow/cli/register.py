"""`casflow register`: flows of a script or a module become versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from casflow.cli.flows import choose, read_flows
from casflow.cli.output import json_option, note, short, show_json, size, working
from casflow.errors import CasflowError, ConfigError
from casflow.registration import Registration, Request, assign_storage, register_all
from casflow.registry import Registry

if TYPE_CHECKING:
    from casflow.flow import Flow
    from casflow.storage.base import Storage


@click.command()
@click.option("-p", "--path", type=click.Path(path_type=Path), help="Script that makes the flows.")
@click.option("-m", "--module", help="Module that holds the flows, or `module:attribute`.")
@click.option("-n", "--name", "names", multiple=True, help="Only the flow of this name.")
@click.option("-l", "--label", "labels", multiple=True, help="A label, besides the storage's own.")
@click.option("--project", help="Project to register in.  [default: default]")
@click.option("--force", is_flag=True, help="Make a new version even when nothing changed.")
@click.option("--check", "checked", is_flag=True, help="First make it again in other processes.")
@click.option("--as-script", is_flag=True, help="Store the script instead of a pickle.")
@click.option(
    "--tree",
    type=click.Path(path_type=Path),
    help="Store this folder, which holds the script, instead of a pickle.",
)
@json_option
def register(
    path: Path | None,
    module: str | None,
    names: tuple[str, ...],
    labels: tuple[str, ...],
    project: str | None,
    force: bool,
    checked: bool,
    as_script: bool,
    tree: Path | None,
    as_json: bool,
) -> int:
    """Store flows and record their versions; what is unchanged is left as it is."""
    from casflow import config

    request = Request.checked(project, labels, force=force)
    if as_script and path is None:
        raise ConfigError("only a script can be stored as a script", hint="use --path")
    if tree is not None and (path is None or as_script):
        raise ConfigError("a project is stored with its script", hint="use --path and --tree")
    flows = choose(read_flows(path, module), names, path or module)
    if tree is not None and path is not None:
        for flow in flows:
            flow.project = (str(tree.absolute()), str(path.absolute()))
    if checked:
        from casflow.cli.check import check

        with working("making the flows again"):
            check(flows, path, module)
    done: list[Registration] = []
    failed: list[CasflowError] = []
    with Registry(config.load().registry) as registry, working("registering"):
        for storage, together in _by_storage(flows, path if as_script else None):
            try:
                done += register_all(storage, together, request, registry)
            except CasflowError as error:
                failed.append(error)
    _show(done, as_json=as_json)
    return _complain(failed)


def _by_storage(flows: list[Flow], script: Path | None) -> list[tuple[Storage, list[Flow]]]:
    """Group flows by their storage object, so that each is built once."""
    groups: dict[int, tuple[Storage, list[Flow]]] = {}
    for flow in flows:
        storage = _storage(flow, script)
        groups.setdefault(id(storage), (storage, []))[1].append(flow)
    return list(groups.values())


def _storage(flow: Flow, script: Path | None) -> Storage:
    if script is not None and flow.storage is None:
        from casflow.storage.local import Local

        flow.storage = Local(path=script, stored_as_script=True)
    storage = assign_storage(flow)
    if script is not None:
        storage.store_script(script)
    return storage


def _show(done: list[Registration], *, as_json: bool) -> None:
    if as_json:
        show_json([each.to_dict() for each in done])
        return
    for each in done:
        click.echo(
            f"{each.flow}: {each.status}, version {each.version}, {short(each.digest)}, "
            f"{size(each.uploaded_bytes)} uploaded\n  {each.location}"
        )


def _complain(failed: list[CasflowError]) -> int:
    for error in failed[:-1]:
        note(f"error: {error}")
    if failed:
        raise failed[-1]
    return 0
