"""`casflow pin`, `unpin` and `undelete`: what retention leaves alone, and what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from casflow import config
from casflow.cli.completion import complete_flow
from casflow.cli.output import json_option, note, show_json
from casflow.cli.selection import contents_of, find_live, find_trashed
from casflow.cli.stores import known, record_renewed
from casflow.cli.table import Column, short, show_table
from casflow.cli.trees import exclusive_writer_option
from casflow.errors import NotFoundError, did_you_mean
from casflow.gc import is_pin, pins, trashed
from casflow.gc import pin as pin_reference
from casflow.gc import undelete as undelete_reference
from casflow.gc import unpin as unpin_reference
from casflow.gc.scan import key_of
from casflow.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from casflow.blobs.content import ContentStore
    from casflow.gc.scan import Found
    from casflow.reference import Reference

store_option = click.option(
    "--store", metavar="STORE", help="Where to look.  [default: all that the registry names]"
)


@click.command()
@click.argument("flow", metavar="[REF]", required=False, shell_complete=complete_flow)
@click.option("--as", "name", metavar="NAME", help="Name of the pin.  [default: the key]")
@click.option("--project", help="Project of a flow.  [default: default]")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@store_option
@exclusive_writer_option
@json_option
def pin(
    flow: str | None,
    name: str | None,
    project: str | None,
    dry_run: bool,
    store: str | None,
    as_json: bool,
) -> None:
    """Keep a version whatever retention says; without REF, list the pins.

    REF is the name of a flow or a tree, for its newest version, NAME@VERSION, NAME@TAG, the start
    of a digest, or the key of a reference: <slug>/<timestamp>.
    """
    if flow is None:
        hint = "nothing is pinned; casflow pin NAME@VERSION keeps a version"
        _list(store, pins, hint, as_json=as_json)
        return
    for content in _contents(store):
        if (found := find_live(content, flow, project)) is not None:
            name = name or key_of(found.reference)
            held = pin_reference(content, found.key, name, dry_run=dry_run)
            _done("pinned", name, held, as_json=as_json, dry_run=dry_run)
            return
    listed = "casflow ls lists flows, casflow log versions of trees"
    near = did_you_mean(flow, _registered(), listed)
    raise NotFoundError("no such version or key in any store", where=flow, hint=near)


@click.command()
@click.argument("name")
@store_option
@json_option
def unpin(name: str, store: str | None, as_json: bool) -> None:
    """Remove the pin NAME; retention may take the version again."""
    for content in _contents(store):
        if is_pin(content, name):
            _done("unpinned", name, unpin_reference(content, name), as_json=as_json)
            return
    names = [found.key for content in _contents(store) for found in pins(content)]
    hint = did_you_mean(name, names, "casflow pin lists them")
    raise NotFoundError("no such pin in any store", where=name, hint=hint)


@click.command()
@click.argument("flow", metavar="[REF]", required=False, shell_complete=complete_flow)
@click.option("--project", help="Project of a flow.  [default: default]")
@store_option
@exclusive_writer_option
@json_option
def undelete(flow: str | None, project: str | None, store: str | None, as_json: bool) -> None:
    """Bring a version back from the trash; without REF, list what is in it.

    REF is the name of a flow or a tree, for the newest of its versions there, NAME@VERSION,
    NAME@TAG, the start of a digest, or the key of a reference.
    """
    if flow is None:
        hint = "the trash is empty; gc moves there what retention does not keep, for 7 days"
        _list(store, trashed, hint, as_json=as_json)
        return
    for content in _contents(store):
        if (key := find_trashed(content, flow, project)) is not None:
            restored = undelete_reference(content, key)
            versions = known().versions.get(content.store.url, {})
            record_renewed(versions, {key: restored})
            _done("restored", restored.key, restored.reference, as_json=as_json)
            note("pin it, or the next gc may take it again")
            return
    names = [found.reference.flow for content in _contents(store) for found in trashed(content)]
    near = did_you_mean(flow, names, "casflow undelete lists what is there")
    raise NotFoundError("nothing of that name in the trash of any store", where=flow, hint=near)


def _registered() -> list[str]:
    with Registry(config.load().registry) as registry:
        return [each.flow for each in registry.flows()]


def _contents(url: str | None) -> list[ContentStore]:
    return contents_of(known(), url)


def _done(
    what: str, name: str, reference: Reference | None, *, as_json: bool, dry_run: bool | None = None
) -> None:
    if as_json:
        held = reference and {"flow": reference.flow, "digest": reference.digest}
        shown = {} if dry_run is None else {"dry_run": dry_run}
        show_json({what: name, **(held or {"flow": None, "digest": None}), **shown})
    elif reference is None:
        click.echo(f"{what} {name}: what it held cannot be read")
    else:
        done = f"would be {what}" if dry_run else what
        click.echo(f"{done} {name}: {reference.flow}, {short(reference.digest)}")


def _list(
    url: str | None,
    listed: Callable[[ContentStore], Iterable[Found]],
    empty: str,
    *,
    as_json: bool,
) -> None:
    rows = [
        (content.store.url, found.key, found.reference)
        for content in _contents(url)
        for found in listed(content)
    ]
    if as_json:
        show_json([{"store": at, "name": name, **each.to_dict()} for at, name, each in rows])
    elif rows:
        columns = [
            Column("name", whole=True),
            Column("flow", drop=2),
            Column("digest", drop=1),
            Column("store", drop=3),
        ]
        show_table(columns, [(name, each.flow, each.digest, at) for at, name, each in rows])
    else:
        note(empty)
