"""`casflow diff` and `casflow why`: where two versions differ, and what made one a new version.

Owns how differences are shown. Invariant: a difference is one line that names what its author
wrote; on a terminal the source follows, where it is that of the version.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from casflow import config
from casflow.cli.completion import complete_flow
from casflow.cli.output import json_option, open_console, show_json, show_line
from casflow.cli.sides import Side, listing_of, side_of, stored_side
from casflow.cli.table import Column, show_table
from casflow.cli.versions import get_version
from casflow.reference import PICKLE
from casflow.registry import Registry
from casflow.serialize import explain
from casflow.store import Store
from casflow.trees.changes import changes

if TYPE_CHECKING:
    from casflow.registry import Version
    from casflow.serialize.difference import Difference
    from casflow.store import Listing
    from casflow.trees.listing import Entry

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.command()
@click.argument("a", shell_complete=complete_flow)
@click.argument("b", shell_complete=complete_flow)
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
        opened = Store(store)
        _show_changes((a, listing_of(a, opened)), (b, listing_of(b, opened)), as_json=as_json)
        return
    _compare(side_of(a, name, project), side_of(b, name, project), as_json=as_json)


@click.command()
@click.argument("ref", shell_complete=complete_flow)
@click.option("--project", help="Project of the flow.  [default: default]")
@json_option
def why(ref: str, project: str | None, as_json: bool) -> None:
    """Show what made REF a new version: how it differs from the one before it.

    REF is a name, for its newest version, NAME@VERSION, NAME@TAG, a digest or the start of one.
    """
    version = get_version(project, ref)
    with Registry(config.load().registry) as registry:
        numbers = registry.versions(version.project, version.flow)
    before = next((each for each in numbers if each.number < version.number), None)
    reasons = _reasons(before, version)
    if as_json:
        show_json(
            {
                "flow": version.flow,
                "version": version.number,
                "before": None if before is None else before.number,
                "reasons": reasons,
            }
        )
        return
    for line in reasons:
        click.echo(line)
    if before is not None and before.digest != version.digest:
        names = (f"{each.flow}@{each.number}" for each in (before, version))
        sides = zip(names, (before, version), strict=True)
        _compare(*(stored_side(name, each) for name, each in sides), as_json=False)


def _reasons(before: Version | None, version: Version) -> list[str]:
    """Return what differs between two versions besides what their content says itself."""
    this = f"{version.flow}@{version.number}"
    if before is None:
        return [f"{this} is the first version"]
    than = f"{before.flow}@{before.number}"
    same = before.digest == version.digest
    found = [f"{this} has {'the same content as' if same else 'other content than'} {than}"]
    for name, old, new in (
        ("labels", ", ".join(before.labels), ", ".join(version.labels)),
        ("storage", before.storage.get("type"), version.storage.get("type")),
        *_environments(before, version),
    ):
        if old != new:
            found.append(f"{name}: {old or 'none'} -> {new or 'none'}")
    if same and len(found) == 1:
        found.append("it was asked for with --force, or its storage has other options")
    return found


def _environments(before: Version, version: Version) -> list[tuple[str, Any, Any]]:
    """Return what both were made with: byte code differs between minor versions of Python."""
    old, new = ((each.reference or {}).get("environment", {}) for each in (before, version))
    return [(name, old.get(name), new.get(name)) for name in ("python_tag", "cloudpickle")]


def _compare(a: Side, b: Side, *, as_json: bool) -> None:
    if a.listing is not None and b.listing is not None:
        _show_changes((a.name, a.listing), (b.name, b.listing), as_json=as_json)
        return
    pickled = a.media_type == b.media_type == PICKLE
    found = explain(a.data, b.data, (a.source_map, b.source_map)) if pickled else []
    lines = list(dict.fromkeys(each.describe() for each in found)) or _line_differences(a, b)
    if as_json:
        show_json(
            {
                "a": {"name": a.name, "digest": a.digest},
                "b": {"name": b.name, "digest": b.digest},
                "equal": a.data == b.data,
                "differences": lines,
            }
        )
    elif found and open_console().is_terminal:
        _show_with_source(a, b, found)
    else:
        for line in lines or ["no difference"]:
            show_line(line, None if found else _COLOURS.get(line[:1]))


def _line_differences(a: Side, b: Side) -> list[str]:
    """Return how two scripts differ, line by line."""
    if a.media_type != b.media_type:
        return [f"{a.name} is stored as {a.media_type}, {b.name} as {b.media_type}"]
    first, second = (each.data.decode(errors="replace").splitlines() for each in (a, b))
    return list(difflib.unified_diff(first, second, a.name, b.name, lineterm=""))


def _show_with_source(a: Side, b: Side, found: list[Difference]) -> None:
    """Print differences, those of one function together, and below them its source."""
    groups: dict[tuple[str, int], list[str]] = {}
    for each in found:
        lines = groups.setdefault((each.file, each.line), [])
        if each.describe() not in lines:
            lines.append(each.describe())
    for (file, line), lines in groups.items():
        for each_line in lines:
            click.echo(each_line)
        _show_excerpt(a, b, file, line)


def _show_excerpt(a: Side, b: Side, file: str, line: int) -> None:
    for side in (b, a):
        excerpt = side.excerpt(file, line) if file else []
        if excerpt:
            show_line(f"  {file}, as in {side.name}:", "dim")
            for number, text in excerpt:
                show_line(f"  {number:>5}  {text}", "dim")
            return


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
    elif found and open_console().is_terminal:
        rows = [
            (each.letter, each.path, _content(a[1], each.path), _content(b[1], each.path))
            for each in found
        ]
        show_table(["", Column("file", whole=True), Column(a[0]), Column(b[0])], rows)
    else:
        for line in [str(each) for each in found] or ["no difference"]:
            click.echo(line)


def _content(listing: Listing, path: str) -> str | None:
    """Return what a tree has at a path, for a table of two trees side by side."""
    entry: Entry | None = listing.by_path.get(path)
    if entry is None:
        return None
    return f"-> {entry.target}" if entry.target else entry.digest
