"""`casflow cache`: this machine's cache."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from casflow import cache as caches
from casflow.cli.groups import Group
from casflow.cli.output import json_option, note, show_json, size, working
from casflow.cli.parameters import renamed_option
from casflow.cli.table import Column, iso_option, plural, show_table
from casflow.config import parse_size
from casflow.errors import IntegrityError

if TYPE_CHECKING:
    from casflow.cache import Entry


@click.group(cls=Group)
def cache() -> None:
    """Look at this machine's cache, and clean it."""


@cache.command("dir")
@json_option
def folder(as_json: bool) -> None:
    """Print the cache's folder."""
    path = str(caches.default().root)
    if as_json:
        show_json({"dir": path})
    else:
        click.echo(path)


@cache.command("size")
@json_option
def how_much(as_json: bool) -> None:
    """Print how much is kept, and how much may be."""
    kept = caches.default()
    used = kept.size()
    if as_json:
        show_json({"bytes": used, "limit": kept.limit})
    else:
        click.echo(f"{size(used)} of {size(kept.limit)}")


@cache.command("ls")
@iso_option
@json_option
def listed(as_json: bool) -> None:
    """List what is kept, least recently used first."""
    entries = caches.default().entries()
    rows = [
        {
            "digest": each.digest,
            "bytes": each.size,
            "used": _used(each).isoformat(timespec="seconds"),
            "pinned": each.pinned,
        }
        for each in entries
    ]
    if as_json:
        show_json(rows)
    elif rows:
        size_column, pinned = Column("size", whole=True), Column("pinned", drop=1)
        cells = [(e.digest, size(e.size), _used(e), e.pinned or None) for e in entries]
        show_table(["digest", size_column, "last use", pinned], cells)
    else:
        note("the cache is empty")


def _used(entry: Entry) -> datetime:
    return datetime.fromtimestamp(entry.used).astimezone()


@cache.command()
@json_option
def verify(as_json: bool) -> None:
    """Read every file and remove what is damaged; it is downloaded again when it is needed."""
    with working("verifying the cache"):
        damaged = caches.default().verify()
    if as_json:
        show_json({"damaged": damaged})
    elif not damaged:
        click.echo("the cache is whole")
    if damaged:
        raise IntegrityError(f"removed {plural(len(damaged), 'damaged file')}", where=damaged[0])


@cache.command()
@click.option(
    "--max-size", metavar="SIZE", help="What may stay: 500MB.  [default: nine tenths of the limit]"
)
@renamed_option("--limit", "--max-size")
@json_option
def prune(max_size: str | None, old_max_size: str | None, as_json: bool) -> None:
    """Remove what was used least recently until the rest fits."""
    kept = caches.default()
    text = max_size or old_max_size
    allowed = kept.limit * 9 // 10 if text is None else parse_size(text, where="--max-size")
    removed = kept.prune(allowed)
    _freed(len(removed), sum(each.size for each in removed), as_json=as_json)


@cache.command()
@json_option
def clean(as_json: bool) -> None:
    """Remove everything."""
    kept = caches.default()
    count = len(kept.entries())
    _freed(count, kept.clean(), as_json=as_json)


def _freed(count: int, freed: int, *, as_json: bool) -> None:
    if as_json:
        show_json({"removed": count, "freed_bytes": freed})
    else:
        click.echo(f"removed {plural(count, 'file')}, {size(freed)}")
