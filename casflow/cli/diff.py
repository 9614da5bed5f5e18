"""`casflow diff`: where two versions of a flow differ."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from casflow.cli.flows import choose, read_flows
from casflow.cli.output import json_option, show_json
from casflow.cli.versions import get_version
from casflow.digests import digest_of
from casflow.errors import ConfigError
from casflow.reference import PICKLE, TREE
from casflow.serialize import explain, serialize
from casflow.storage import load
from casflow.store import Store
from casflow.trees.changes import changes
from casflow.trees.scan import scan

if TYPE_CHECKING:
    from casflow.registry import Version
    from casflow.store import Listing


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two things that are compared: its name, bytes, their kind, source map."""

    name: str
    data: bytes
    media_type: str
    source_map: bytes | None = None
    listing: Listing | None = None


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("-n", "--name", help="Flow to take from a file that holds several.")
@click.option("--project", help="Project of the flows.  [default: default]")
@click.option("--store", metavar="STORE", help="Where trees are.  [default: the setting `store`]")
@json_option
def diff(
    a: str, b: str, name: str | None, project: str | None, store: str | None, as_json: bool
) -> None:
    """Show which function, constant or default differs between A and B, or which files.

    Each is a flow's name (its latest version), NAME@VERSION, NAME@TAG, the start of a digest, or a
    script; or, for trees, a folder or a version of a tree.
    """
    if store is not None or any(Path(each).is_dir() for each in (a, b)):
        _diff_trees(a, b, Store(store), as_json=as_json)
        return
    first, second = (_side(each, name, project) for each in (a, b))
    if first.listing is not None and second.listing is not None:
        _show_changes((a, first.listing), (b, second.listing), as_json=as_json)
        return
    differences = _differences(first, second)
    if as_json:
        show_json(
            {
                "a": {"name": first.name, "digest": digest_of(first.data)},
                "b": {"name": second.name, "digest": digest_of(second.data)},
                "equal": first.data == second.data,
                "differences": differences,
            }
        )
        return
    for line in differences:
        click.echo(line)
    if not differences:
        click.echo("no difference")


def _diff_trees(a: str, b: str, store: Store, *, as_json: bool) -> None:
    first, second = (_listing(each, store) for each in (a, b))
    _show_changes((a, first), (b, second), as_json=as_json)


def _show_changes(a: tuple[str, Listing], b: tuple[str, Listing], *, as_json: bool) -> None:
    found = changes(a[1], b[1])
    if as_json:
        show_json(
            {
                "a": {"name": a[0], "digest": a[1].digest},
                "b": {"name": b[0], "digest": b[1].digest},
                "equal": not found,
                "changes": [each.to_dict() for each in found],
            }
        )
        return
    for each in found:
        click.echo(str(each))
    if not found:
        click.echo("no difference")


def _listing(text: str, store: Store) -> Listing:
    return scan(Path(text)) if Path(text).is_dir() else store.listing(text)


def _differences(a: Side, b: Side) -> list[str]:
    if a.media_type != b.media_type:
        return [f"{a.name} is stored as {a.media_type}, {b.name} as {b.media_type}"]
    if a.media_type == PICKLE:
        found = explain(a.data, b.data, (a.source_map, b.source_map))
        return list(dict.fromkeys(each.describe() for each in found))
    first, second = (each.data.decode(errors="replace").splitlines() for each in (a, b))
    return list(difflib.unified_diff(first, second, a.name, b.name, lineterm=""))


def _side(text: str, name: str | None, project: str | None) -> Side:
    if text.endswith(".py"):
        return _from_file(Path(text), name)
    return _stored(text, get_version(project, text))


def _stored(text: str, version: Version) -> Side:
    storage = load(version.storage)
    media_type = storage.reference(version.flow).media_type
    if media_type == TREE:
        listing = storage.get_listing(version.flow)
        return Side(text, listing.root, media_type, listing=listing)
    data = storage.get_bytes(version.flow)
    source_map = storage.get_attachments(version.flow).get("source_map")
    return Side(text, data, media_type, source_map if media_type == PICKLE else None)


def _from_file(path: Path, name: str | None) -> Side:
    flows = choose(read_flows(path, None), [] if name is None else [name], path)
    if len(flows) > 1:
        raise ConfigError("several flows are in the file", where=path, hint="choose with --name")
    made = serialize(flows[0])
    return Side(str(path), made.data, PICKLE, made.attachments.get("source_map"))
