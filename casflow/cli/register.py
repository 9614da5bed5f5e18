"""`casflow register`: flows of a script or a module become versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from casflow.cli.flows import Source, choose, find_sources, importing
from casflow.cli.output import json_option, note, show_json, size, working
from casflow.cli.table import short
from casflow.errors import CasflowError, ConfigError, DuplicateFlowError, FlowNotFoundError
from casflow.registration import Registration, Request, assign_storage, register_all
from casflow.registry import Registry

if TYPE_CHECKING:
    from casflow.flow import Flow
    from casflow.storage.base import Storage


@click.command()
@click.argument("scripts", nargs=-1)
@click.option(
    *("-p", "--path", "paths"),
    multiple=True,
    help="Script that makes flows, folder of such scripts, or glob; like an argument.",
)
@click.option(
    *("-m", "--module", "modules"),
    multiple=True,
    help="Module that holds flows, or `module:attribute`.",
)
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
    scripts: tuple[str, ...],
    paths: tuple[str, ...],
    modules: tuple[str, ...],
    names: tuple[str, ...],
    labels: tuple[str, ...],
    project: str | None,
    force: bool,
    checked: bool,
    as_script: bool,
    tree: Path | None,
    as_json: bool,
) -> int:
    """Store flows and record their versions; what is unchanged is left as it is.

    SCRIPTS are what --path takes. All that is named is registered; what fails is said, and the
    rest is registered all the same.
    """
    from casflow import config

    request = Request.checked(project, labels, force=force)
    sources = find_sources([*scripts, *paths], modules)
    if as_script and modules:
        raise ConfigError("only a script can be stored as a script", hint="use --path")
    if tree is not None and (modules or as_script):
        raise ConfigError("a project is stored with its script", hint="use --path and --tree")
    done: list[Registration] = []
    failed: list[CasflowError] = []
    seen: dict[str, Source] = {}
    with Registry(config.load().registry) as registry:
        for source in sources:
            try:
                with importing():
                    flows = _chosen(source, names, seen, is_only=len(sources) == 1)
                    if tree is not None:
                        for flow in flows:
                            flow.project = (str(tree.absolute()), str(source.path))
                    if checked and flows:
                        _check(flows, source)
                    script = source.path if as_script else None
                    _register(flows, script, request, registry, done, failed)
            except CasflowError as error:
                failed.append(error)
    failed += [_missing(each, sources) for each in names if each not in seen and not failed]
    if not seen and not failed:
        raise FlowNotFoundError("no flow found", where=", ".join(map(str, sources)))
    _show(done, as_json=as_json)
    return _complain(failed)


def _chosen(
    source: Source, names: tuple[str, ...], seen: dict[str, Source], *, is_only: bool
) -> list[Flow]:
    """Return the flows of a source that are asked for, and note where each stands."""
    found = source.flows()
    if is_only:
        flows = choose(found, names, source.where)
    else:
        if not found and not source.may_be_empty:
            choose(found, (), source.where)
        flows = [flow for name, flow in found.items() if not names or name in names]
    for flow in flows:
        if flow.name in seen:
            where = f"{seen[flow.name]} and {source}"
            raise DuplicateFlowError(f"two flows are called {flow.name!r}", where=where)
        seen[flow.name] = source
    return flows


def _check(flows: list[Flow], source: Source) -> None:
    from casflow.cli.check import check

    with working("making the flows again"):
        check(flows, source.path, source.module)


def _register(
    flows: list[Flow],
    script: Path | None,
    request: Request,
    registry: Registry,
    done: list[Registration],
    failed: list[CasflowError],
) -> None:
    with working("registering"):
        for storage, together in _by_storage(flows, script):
            try:
                done += register_all(storage, together, request, registry)
            except CasflowError as error:
                failed.append(error)


def _missing(name: str, sources: list[Source]) -> FlowNotFoundError:
    where = ", ".join(map(str, sources))
    return FlowNotFoundError(f"no flow is called {name!r}", where=where)


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
