"""`casflow pin`, `unpin` and `undelete`: what retention leaves alone, and what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from casflow.blobs import layout
from casflow.blobs.content import ContentStore
from casflow.cli.output import json_option, note, show_json
from casflow.cli.stores import known, record_renewed
from casflow.cli.table import Column, short, show_table
from casflow.errors import NotFoundError
from casflow.gc import is_pin, pins, trashed
from casflow.gc import pin as pin_reference
from casflow.gc import undelete as undelete_reference
from casflow.gc import unpin as unpin_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from casflow.gc.scan import Found
    from casflow.reference import Reference

store_option = click.option(
    "--store", metavar="STORE", help="Where to look.  [default: all that the registry names]"
)


@click.command()
@click.argument("flow", required=False)
@click.option("--as", "name", metavar="NAME", help="Name of the pin.  [default: the key]")
@store_option
@json_option
def pin(flow: str | None, name: str | None, store: str | None, as_json: bool) -> None:
    """Keep a version of a flow whatever retention says; without FLOW, list the pins.

    FLOW is the name of a flow, for its newest version, or the key of one: <slug>/<timestamp>.
    """
    if flow is None:
        _list(store, pins, as_json=as_json)
        return
    for content in _contents(store):
        if (key := _live_key(content, flow)) is not None:
            reference = pin_reference(content, key, name or key)
            _done("pinned", name or key, reference, as_json=as_json)
            return
    raise NotFoundError("no such flow or key in any store", where=flow)


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
    raise NotFoundError("no such pin in any store", where=name, hint="casflow pin lists them")


@click.command()
@click.argument("flow", required=False)
@store_option
@json_option
def undelete(flow: str | None, store: str | None, as_json: bool) -> None:
    """Bring a version back from the trash; without FLOW, list what is in it.

    FLOW is the name of a flow, for the newest of its versions there, or the key of one.
    """
    if flow is None:
        _list(store, trashed, as_json=as_json)
        return
    for content in _contents(store):
        if (key := _trashed_key(content, flow)) is not None:
            restored = undelete_reference(content, key)
            versions = known().versions.get(content.store.url, {})
            record_renewed(versions, {key: restored})
            _done("restored", restored.key, restored.reference, as_json=as_json)
            note("pin it, or the next gc may take it again")
            return
    raise NotFoundError("nothing of that name in the trash of any store", where=flow)


def _contents(url: str | None) -> list[ContentStore]:
    return [ContentStore(each) for each in known().choose([] if url is None else [url])]


def _live_key(content: ContentStore, flow: str) -> str | None:
    if layout.is_reference(flow):
        return flow if content.store.find(flow) is not None else None
    latest = content.find_latest(flow)
    return None if latest is None else latest.key


def _trashed_key(content: ContentStore, flow: str) -> str | None:
    if layout.is_reference(flow):
        return flow if content.store.find(layout.trash(flow)) is not None else None
    return max((found.key for found in trashed(content, flow)), default=None)


def _done(what: str, name: str, reference: Reference | None, *, as_json: bool) -> None:
    if as_json:
        held = reference and {"flow": reference.flow, "digest": reference.digest}
        show_json({what: name, **(held or {"flow": None, "digest": None})})
    elif reference is None:
        click.echo(f"{what} {name}: what it held cannot be read")
    else:
        click.echo(f"{what} {name}: {reference.flow}, {short(reference.digest)}")


def _list(
    url: str | None, listed: Callable[[ContentStore], Iterable[Found]], *, as_json: bool
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
        note("there is nothing")
