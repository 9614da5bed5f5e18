"""`casflow register`: flows of scripts and modules become versions."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from casflow import signing
from casflow.cli.flows import Source, choose, find_sources, importing
from casflow.cli.output import json_option, note, show_json, size, working
from casflow.cli.sign import sign_option
from casflow.cli.table import short
from casflow.errors import CasflowError, ConfigError, DuplicateFlowError, FlowNotFoundError
from casflow.flow import Flow
from casflow.registration import (
    Registration,
    Request,
    assign_storage,
    register_all,
    register_stored,
    storage_at,
)
from casflow.registry import Registry
from casflow.storage.content import name_of

if TYPE_CHECKING:
    from casflow.storage.base import Storage

_POLL_INTERVAL = 0.5  # seconds between looks at files that are watched


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
@click.option(
    *("-j", "--built", "files"),
    multiple=True,
    type=click.Path(path_type=Path),
    help="File of `casflow build`: what it says is stored is registered.",
)
@click.option("-n", "--name", "names", multiple=True, help="Only the flow of this name.")
@click.option("-l", "--label", "labels", multiple=True, help="A label, besides the storage's own.")
@click.option("--project", help="Project to register in.  [default: default]")
@click.option("--force", is_flag=True, help="Make a new version even when nothing changed.")
@click.option("--check", "checked", is_flag=True, help="First make it again in other processes.")
@click.option("--as-script", is_flag=True, help="Store the script instead of a pickle.")
@click.option(
    "--storage",
    "store",
    metavar="URL",
    help="Where to store the flows, instead of in their own storage: s3://bucket, a folder.",
)
@click.option(
    "--tree",
    type=click.Path(path_type=Path),
    help="Store this folder, which holds the script, instead of a pickle.",
)
@click.option("--watch", is_flag=True, help="Stay, and register again what is edited.")
@sign_option
@json_option
def register(
    scripts: tuple[str, ...],
    paths: tuple[str, ...],
    modules: tuple[str, ...],
    files: tuple[Path, ...],
    names: tuple[str, ...],
    labels: tuple[str, ...],
    project: str | None,
    force: bool,
    checked: bool,
    as_script: bool,
    store: str | None,
    tree: Path | None,
    watch: bool,
    sign: str | None,
    as_json: bool,
) -> int:
    """Store flows and record their versions; what is unchanged is left as it is.

    SCRIPTS are what --path takes. All that is named is registered; what fails is said, and the
    rest is registered all the same. A pickle that is new is first loaded in a clean process. A flow
    is whatever is made by a class called Flow, also one of Prefect; a `module:attribute` may be
    anything that has a name and can be run or called.
    """
    key = None if sign is None else signing.SigningKey.find(sign)
    request = Request.checked(project, labels, force=force, key=key, loads_new=True)
    if as_script and modules:
        raise ConfigError("only a script can be stored as a script", hint="use --path")
    if tree is not None and (modules or as_script):
        raise ConfigError("a project is stored with its script", hint="use --path and --tree")
    sources = find_sources([*scripts, *paths], modules) if scripts or paths or modules else []
    if not sources and not files:
        find_sources([], [])  # says what to name
    way = Way(names, request, checked=checked, as_script=as_script, store=store, tree=tree)
    if watch:
        return _watch(sources, way, as_json=as_json)
    way.register(sources, files)
    if not files:
        failed = [_missing(each, sources) for each in names if each not in way.seen]
        way.failed += [] if way.failed else failed
        if not way.seen and not way.failed:
            raise FlowNotFoundError("no flow found", where=", ".join(map(str, sources)))
    _show(way.done, as_json=as_json)
    return complain(way.failed)


@dataclass(slots=True)
class Way:
    """How flows are registered, and what became of it.

    Attributes:
        names: The flows that are meant; all when empty.
        request: How they are recorded.
        checked: Whether they are made in other processes first.
        as_script: Whether scripts are stored.
        store: URL of the storage that takes them.
        tree: Folder that is stored with its script.
        done: What was registered.
        failed: What was not.
        seen: Where each flow stands.
    """

    names: tuple[str, ...]
    request: Request
    checked: bool = False
    as_script: bool = False
    store: str | None = None
    tree: Path | None = None
    done: list[Registration] = field(default_factory=list)
    failed: list[CasflowError] = field(default_factory=list)
    seen: dict[str, Source] = field(default_factory=dict)

    def register(self, sources: list[Source], files: tuple[Path, ...] = ()) -> None:
        """Register the flows of scripts and modules, and those that files name as stored."""
        from casflow import config

        with Registry(config.load().registry) as registry:
            for source in sources:
                try:
                    with importing():
                        self._register(source, registry, is_only=len(sources) == 1)
                except CasflowError as error:
                    self.failed.append(error)
            for path in files:
                try:
                    self._register_built(path, registry)
                except CasflowError as error:
                    self.failed.append(error)

    def _register(self, source: Source, registry: Registry, *, is_only: bool) -> None:
        flows = choose_flows(source, self.names, self.seen, is_only=is_only)
        if self.tree is not None:
            for flow in flows:
                _store_with(flow, self.tree, source)
        if self.checked and flows:
            _check(flows, source)
        script = source.path if self.as_script else None
        with working("registering"):
            for storage, together in flows_by_storage(flows, script, self.store):
                if source.path is not None:
                    storage.suggest_script(source.path)
                try:
                    self.done += register_all(storage, together, self.request, registry)
                except CasflowError as error:
                    self.failed.append(error)

    def _register_built(self, path: Path, registry: Registry) -> None:
        from casflow.cli.built import read_built

        for name, storage, labels in read_built(path):
            if name in self.names or not self.names:
                every = tuple(sorted({*self.request.labels, *labels}))
                request = replace(self.request, labels=every)
                self.done += register_stored(storage, [name], request, registry)


def _store_with(flow: Flow, folder: Path, source: Source) -> None:
    if not isinstance(flow, Flow):
        what = "only a flow of casflow is stored with its project"
        raise ConfigError(what, where=name_of(flow), hint="leave out --tree")
    flow.project = (str(folder.absolute()), str(source.path))


def choose_flows(
    source: Source, names: tuple[str, ...], seen: dict[str, Source], *, is_only: bool
) -> list[Flow]:
    """Return the flows of a source that are asked for, and note where each stands.

    Raises:
        FlowNotFoundError: There is none, where one must be.
        DuplicateFlowError: One of that name was seen before.
    """
    found = source.flows()
    if is_only:
        flows = choose(found, names, source.where)
    else:
        if not found and not source.may_be_empty:
            choose(found, (), source.where)
        flows = [flow for name, flow in found.items() if not names or name in names]
    for flow in flows:
        name = name_of(flow)
        if name in seen:
            where = f"{seen[name]} and {source}"
            raise DuplicateFlowError(f"two flows are called {name!r}", where=where)
        seen[name] = source
    return flows


def _check(flows: list[Flow], source: Source) -> None:
    from casflow.cli.check import check

    with working("making the flows again"):
        check(flows, source.path, source.module)


def flows_by_storage(
    flows: list[Flow], script: Path | None, store: str | None
) -> list[tuple[Storage, list[Flow]]]:
    """Group flows by their storage object, so that each is built once.

    Args:
        flows: The flows.
        script: The script that is stored instead of pickles.
        store: URL of the storage that takes all of them.
    """
    groups: dict[int, tuple[Storage, list[Flow]]] = {}
    shared = None if store is None else storage_at(store)
    for flow in flows:
        storage = _storage(flow, script, shared)
        groups.setdefault(id(storage), (storage, []))[1].append(flow)
    return list(groups.values())


def _storage(flow: Flow, script: Path | None, storage: Storage | None) -> Storage:
    if storage is None and script is not None and getattr(flow, "storage", None) is None:
        from casflow.storage.local import Local

        storage = Local(path=script, stored_as_script=True)
    storage = assign_storage(flow, storage=storage)
    if script is not None:
        storage.store_script(script)
    return storage


def _watch(sources: list[Source], way: Way, *, as_json: bool) -> int:
    """Register, and again whatever is edited, until somebody ends it."""
    paths = [each.path for each in sources]
    if not paths or None in paths:
        raise ConfigError("only scripts can be watched", hint="name them with --path")
    states: dict[Source, float] = {}
    while True:
        edited = [each for each in sources if states.get(each) != _changed(each)]
        if edited:
            states |= {each: _changed(each) for each in edited}
            again = replace(way, done=[], failed=[], seen={})
            again.register(edited)
            _show(again.done, as_json=as_json)
            for error in again.failed:
                note(f"error: {error}")
        time.sleep(_POLL_INTERVAL)


def _changed(source: Source) -> float:
    """Return when a script was changed; 0 when it is not there."""
    try:
        return source.path.stat().st_mtime if source.path else 0.0
    except OSError:
        return 0.0


def _missing(name: str, sources: list[Source]) -> FlowNotFoundError:
    where = ", ".join(map(str, sources))
    return FlowNotFoundError(f"no flow is called {name!r}", where=where)


def _show(done: list[Registration], *, as_json: bool) -> None:
    if as_json:
        show_json([each.to_dict() for each in done])
        return
    for each in done:
        click.echo(
            f"{each.flow}: {each.status}, version {each.version}, {short(each.digest)}, "
            f"{size(each.uploaded_bytes)} uploaded\n  {each.location}"
        )


def complain(failed: list[CasflowError]) -> int:
    """Print what went wrong on the way, the last as the error of the command."""
    for error in failed[:-1]:
        note(f"error: {error}")
    if failed:
        raise failed[-1]
    return 0
