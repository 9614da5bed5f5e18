"""`casflow import`: what other programs stored is taken over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from casflow import config
from casflow.cli.groups import Group
from casflow.cli.output import json_option, note, show_json, working
from casflow.cli.register import complain
from casflow.cli.table import plural, short
from casflow.errors import CasflowError, ConfigError, NotFoundError
from casflow.registration import Request, register_all, storage_at
from casflow.registry import Registry
from casflow.serialize import digest
from casflow.storage.blob import BlobStorage
from casflow.storage.content import name_of
from casflow.storage.prefect import OldFlow, find_flows, load
from casflow.storage.urls import open_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casflow.registration import Registration


@click.group("import", cls=Group)
def imports() -> None:
    """Take over what other programs stored."""


@imports.command("prefect")
@click.argument("store")
@click.option("--to", metavar="URL", help="Where to store them.  [default: in STORE itself]")
@click.option("--project", help="Project to register them in.  [default: default]")
@click.option(
    "--unpickle",
    is_flag=True,
    help="Load the flows and register them. That runs what is stored there: trust it first.",
)
@json_option
def prefect(store: str, to: str | None, project: str | None, unpickle: bool, as_json: bool) -> int:
    """List the flows that Prefect 1 stored in STORE, or register them with --unpickle.

    STORE is a folder, s3://bucket, gs://bucket or az://container. Each flow becomes a version, in
    the order in which they were stored, and is stored once by its digest. Where --to names
    another store, its key stays the same. The old objects are left as they are.
    """
    old = find_flows(open_url(store))
    if not unpickle:
        found = [{"key": each.key, "bytes": len(each.data), **each.versions} for each in old]
        _list(found, as_json=as_json)
        return 0
    request = Request.checked(project, ())
    failed: list[CasflowError] = []
    with working("importing"), Registry(config.load().registry) as registry:
        done = list(_register_all(old, to or store, request, registry, failed))
    if not done and not failed:
        raise NotFoundError("no flow of Prefect 1", where=store)
    _show(done, as_json=as_json)
    return complain(failed)


def _register_all(
    found: Iterator[OldFlow],
    url: str,
    request: Request,
    registry: Registry,
    failed: list[CasflowError],
) -> Iterator[tuple[OldFlow, Registration | str]]:
    """Register old flows, and yield each with what became of it: its flow's name if nothing did."""
    known: dict[str, set[str]] = {}
    for old in found:
        try:
            flow = load(old)
            name, storage = name_of(flow), storage_at(url)
            if not isinstance(storage, BlobStorage):
                raise ConfigError("no store for flows", where=url)
            if name not in known:
                known[name] = _registered(registry, request.project, name)
            if digest(flow) in known[name]:  # by an earlier import, or otherwise
                yield old, name
                continue
            storage.add(flow)
            storage.set_moment(name, old.moment)
            request = Request(request.project, idempotency_key=f"prefect:{old.key}")
            (made,) = register_all(storage, [flow], request, registry)
            yield old, made
        except CasflowError as error:
            failed.append(error)


def _registered(registry: Registry, project: str, name: str) -> set[str]:
    """Return the digests of a flow's versions."""
    try:
        return {each.digest for each in registry.versions(project, name)}
    except NotFoundError:
        return set()


def _list(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    for each in found:
        click.echo(f"{each['key']}  Prefect {each.get('prefect', 'before 0.14')}")
    note(f"{plural(len(found), 'flow')} of Prefect 1; --unpickle loads and registers them")


def _show(done: list[tuple[OldFlow, Registration | str]], *, as_json: bool) -> None:
    rows = []
    for old, made in done:
        form = {"flow": made, "status": "unchanged"} if isinstance(made, str) else made.to_dict()
        rows.append({"key": old.key, **form})
    if as_json:
        show_json(rows)
        return
    for each in rows:
        is_new = "version" in each
        version = f", version {each['version']}, {short(each['digest'])}" if is_new else ""
        click.echo(f"{each['key']}\n  {each['flow']}: {each['status']}{version}")
