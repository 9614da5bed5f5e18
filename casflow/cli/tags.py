"""`casflow tag` and `log`: the versions of a name, and the tags that name them.

Owns what these commands print. Invariant: the tags of a registered flow stand in the store that its
versions stand in, so a name that is in no store of trees is looked for in the registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from casflow import signing
from casflow.cli.output import json_option, note, show_json
from casflow.cli.selection import select_flow
from casflow.cli.sign import asked_key, sign_option
from casflow.cli.table import Column, iso_option, short, show_table
from casflow.cli.trees import complete, exclusive_writer_option, form_of, store_option
from casflow.errors import ConfigError, NotFoundError
from casflow.refs import parse_ref
from casflow.store import Store
from casflow.store.records import version_of

if TYPE_CHECKING:
    from casflow.signing import Signer
    from casflow.store import Version
    from casflow.trees.selected import Selected
    from casflow.trees.versions import Versions

project_option = click.option("--project", help="Project of a flow.  [default: default]")


@click.command()
@click.argument("ref", shell_complete=complete)
@click.argument("tag", required=False)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@sign_option
@project_option
@store_option
@exclusive_writer_option
@json_option
def tag(
    ref: str,
    tag: str | None,
    dry_run: bool,
    sign: str | None,
    project: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Let TAG name the version REF from now on; without TAG, list the tags of a name.

    REF is that of a tree or, unless --store names a store, of a registered flow. To go back, name
    an earlier version: casflow tag etl@2 prod.
    """
    if tag is None:
        _list_tags(ref, project, store, as_json=as_json)
        return
    try:
        move = Store(store).tag(ref, tag, sign=asked_key(sign), dry_run=dry_run)
    except NotFoundError as error:
        versions, flow = _flow_instead(error, ref, project, store)
        key = None if sign is None else signing.SigningKey.find(sign)
        versions.signatures.verify(flow.reference.flow, flow)
        move = versions.tags.move(flow, tag, key=key, dry_run=dry_run)
    if as_json:
        show_json({**move.to_dict(), "dry_run": dry_run})
    else:
        before = "" if move.before is None else f", before {short(move.before)}"
        done = "would be " if dry_run else ""
        click.echo(f"{move.name}@{tag}: {done}version {move.version}, {short(move.after)}{before}")


def _list_tags(ref: str, project: str | None, store: str | None, *, as_json: bool) -> None:
    name = parse_ref(ref).name or ref
    found = Store(store).tags(name)
    if not found and store is None:
        found = _flow_tags(name, project)
    if not found and not as_json:
        note(f"{name} has no tag; casflow tag {name}@1 prod makes one")
        return
    if as_json:
        show_json({tag: form_of(each) for tag, each in found.items()})
    else:
        columns = [Column("tag", whole=True), Column("version"), Column("digest")]
        show_table(columns, [(tag, each.version, each.digest) for tag, each in found.items()])


def _flow_tags(name: str, project: str | None) -> dict[str, Version]:
    try:
        versions, _ = select_flow(project, name)
    except (NotFoundError, ConfigError):  # none of that name, or one that can have no tag
        return {}
    return {tag: version_of(each) for tag, each in versions.tags.all(name).items()}


@click.command()
@click.argument("ref", shell_complete=complete)
@project_option
@store_option
@iso_option
@json_option
def log(ref: str, project: str | None, store: str | None, as_json: bool) -> None:
    """List the versions of a name, newest first; for NAME@TAG, where the tag has been."""
    opened, parsed = Store(store), parse_ref(ref)
    if parsed.name is not None and parsed.tag is not None:
        _log_tag(opened, parsed.name, parsed.tag, project, store, as_json=as_json)
        return
    found = opened.versions(parsed.name or opened.resolve(parsed).name)
    if not found:
        hint = "`casflow show` lists the versions of a registered flow"
        raise NotFoundError(f"no such name in {opened.url}", where=ref, hint=hint)
    signed = opened.all_signers(found)
    if as_json:
        pairs = zip(found, signed, strict=True)
        show_json([{**form_of(each), **_signed_form(by)} for each, by in pairs])
        return
    rows = [(each.version, each.digest, each.created, each.tags) for each in found]
    columns: list[Column | str] = [
        *("version", "digest"),
        Column("created", drop=2),
        Column("tags", drop=1),
    ]
    _show_signed(columns, rows, signed)


def _log_tag(
    opened: Store, name: str, tag: str, project: str | None, store: str | None, *, as_json: bool
) -> None:
    try:
        moves = opened.history(name, tag)
    except NotFoundError as error:
        versions, _ = _flow_instead(error, name, project, store)
        moves = versions.tags.history(name, tag)
        found = (versions.signatures.find(versions.tags.find_move(move), tag) for move in moves)
        signed = [signing.signers_of(each) for each in found]
    else:
        signed = opened.all_signers(moves)
    if as_json:
        pairs = zip(moves, signed, strict=True)
        show_json([{**move.to_dict(), **_signed_form(by)} for move, by in pairs])
        return
    columns: list[Column | str] = [
        *("move", "version", "digest"),
        Column("at", drop=1),
        Column("by", drop=2),
    ]
    rows = [(m.counter, m.version, m.after, m.at, m.by) for m in moves]
    _show_signed(columns, rows, signed)


def _signed_form(signers: list[Signer]) -> dict[str, Any]:
    """Return the JSON form of who signed; nothing where nobody did."""
    return {"signed_by": [each.to_dict() for each in signers]} if signers else {}


def _show_signed(columns: list[Column | str], rows: list[Any], signed: list[list[Signer]]) -> None:
    """Print rows, with who signed what each says if anybody signed any of them."""
    if not any(signed):
        show_table(columns, rows)
        return
    pairs = zip(rows, signed, strict=True)
    table = [(*row, list(dict.fromkeys(map(str, signers)))) for row, signers in pairs]
    show_table([*columns, "signed by"], table)


def _flow_instead(
    error: NotFoundError, ref: str, project: str | None, store: str | None
) -> tuple[Versions, Selected]:
    """Return a registered flow in place of a tree that is not there.

    Raises:
        NotFoundError: There is none either; it is the one about the tree.
        ConfigError: The flow's storage can have no tags.
    """
    if store is not None:
        raise error
    try:
        return select_flow(project, ref)
    except NotFoundError:
        raise error from None
