"""`casflow stats`: how much is stored, and how much of it twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from casflow import cache, config
from casflow.cli.output import json_option, show_json, size, working
from casflow.cli.stores import known
from casflow.cli.table import plural, show_fields
from casflow.gc import stats as stats_of
from casflow.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casflow.gc import Amount, Stats
    from casflow.registry.overview import Overview

_WIDTH = 40  # characters of the longest bar
_MONTHS = 12


@click.command()
@click.argument("stores", nargs=-1, metavar="[STORE]...")
@json_option
def stats(stores: tuple[str, ...], as_json: bool) -> None:
    """Count flows, references, blobs, what is stored once instead of many times, and cache hits.

    STORE is a folder, s3://bucket, gs://bucket or az://container; without one, all stores that
    the registry's versions name.
    """
    counted = []
    for store in known().choose(stores):
        with working(f"counting {store.url}"):
            counted.append(stats_of(store))
    with Registry(config.load().registry) as registry:
        runs = registry.overview()
    kept = cache.default()
    used = kept.size()
    if as_json:
        warmth = {"hits": runs.hits, "misses": runs.misses, "hit_rate": runs.hit_rate}
        forms = [each.to_dict() for each in counted]
        show_json({"stores": forms, "cache": {"bytes": used, "limit": kept.limit, **warmth}})
        return
    for each in counted:
        _show(each)
    click.echo(f"cache: {size(used)} of {size(kept.limit)}; {_hit_rate(runs)}")


def _hit_rate(runs: Overview) -> str:
    if runs.hit_rate is None:
        return "no run of an agent has asked it yet"
    share, total = f"{runs.hit_rate:.0%}", plural(runs.hits + runs.misses, "run")
    return f"{share} of the latest {total} hit, {size(runs.saved)} not downloaded"


def _show(counted: Stats) -> None:
    click.echo(counted.store)
    show_fields(
        {
            "  flows": counted.flows,
            "  references": counted.references,
            "  pins": counted.pins,
            "  in the trash": counted.trashed,
            "  leases": counted.leases,
            "  tags": counted.tags,
            "  results": f"{plural(counted.results.blobs, 'value')}, {size(counted.results.bytes)}",
            "  objects of others": counted.foreign,
            "  unreadable": counted.unreadable,
            "  logical": size(counted.logical),
            "  stored": _amount(counted.stored),
            "  dedup factor": f"{counted.dedup:.1f}",
            "  garbage": _amount(counted.garbage),
            "  condemned": counted.condemned,
        }
    )
    _plot(counted.growth)


def _amount(amount: Amount) -> str:
    return f"{size(amount.bytes)} in {plural(amount.blobs, 'blob')}"


def _plot(growth: Mapping[str, int]) -> None:
    """Draw what each month has added."""
    last = dict(list(growth.items())[-_MONTHS:])
    most = max(last.values(), default=0)
    for month, count in last.items():
        bar = "█" * max(1, round(_WIDTH * count / most)) if count else ""
        click.echo(f"  {month}  {bar} {size(count)}")
