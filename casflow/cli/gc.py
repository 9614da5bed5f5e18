"""`casflow gc`: collect what nobody needs."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from casflow import cache, config
from casflow.cli import images
from casflow.cli.output import json_option, note, open_console, show_json, size
from casflow.cli.stores import known
from casflow.cli.table import Column, iso_option, plural, show_table
from casflow.gc import Collector, Limits, Policy, history, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from casflow.blobs.base import BlobStore
    from casflow.cli.stores import KnownStores
    from casflow.gc import Amount, Report


_MOST_EXPLAINED = 100  # lines of what else goes


@click.command()
@click.argument("stores", nargs=-1, metavar="[STORE]...")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@click.option("--keep-last", type=click.IntRange(0), metavar="N", help="Keep the newest N.")
@click.option("--keep-within", metavar="TIME", help="Keep all this near to the newest: 30d.")
@click.option("--keep-daily", type=click.IntRange(0), metavar="N", help="One of each of N days.")
@click.option("--keep-weekly", type=click.IntRange(0), metavar="N", help="One of each of N weeks.")
@click.option("--keep-monthly", type=click.IntRange(0), metavar="N", help="The same by months.")
@click.option("--keep-used", metavar="TIME", help="Keep what was used within this time: 30d.")
@click.option("--keep-label", multiple=True, metavar="LABEL", help="Keep all with this label.")
@click.option("--keep-pinned", is_flag=True, help="Keep what is pinned; always so.")
@click.option("--all-flows", is_flag=True, help="Thin out flows that this registry does not know.")
@click.option("--trash", default="7d", metavar="TIME", help="Time in the trash.  [default: 7d]")
@click.option("--grace", metavar="TIME", help="From marking a blob to deleting it.  [default: 24h]")
@click.option("--exclusive", is_flag=True, help="Nothing else writes: delete without grace.")
@click.option("--allow-empty", is_flag=True, help="Also collect a store without any reference.")
@click.option("--explain", is_flag=True, help="Say of each version why it goes, and who used it.")
@click.option("--history", "show_history", is_flag=True, help="Show the last runs instead.")
@click.option("--cache", "local_cache", is_flag=True, help="Prune this machine's cache instead.")
@iso_option
@json_option
def gc(
    stores: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    explain: bool,
    show_history: bool,
    local_cache: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Collect what nobody needs: condemn, wait a day, delete.

    STORE is a folder, s3://bucket, gs://bucket or az://container; without one, all stores and
    images that the registry's versions name. Old references expire by the --keep options, or by
    the setting `retention`; without either none does. On a terminal the plan is shown and
    confirmed; elsewhere it is only shown unless --yes is given.
    """
    may_write = not dry_run
    if local_cache:
        _prune(yes=may_write and yes, ask=may_write and _is_terminal(as_json), as_json=as_json)
        return
    found = known()
    chosen = found.choose(stores)
    if show_history:
        _show_history(chosen, as_json=as_json)
        return
    ask = may_write and _is_terminal(as_json)
    reports = [
        _collect(_maker(each, found, options), yes=may_write and yes, ask=ask) for each in chosen
    ]
    hosted = [] if stores else sorted(found.hosted)
    placed = []
    if not stores:
        settings = (_policy(options), _limits(options))
        placed = images.collect(found, *settings, yes=may_write and yes, ask=ask)
    if as_json:
        forms, of_images = ([each.to_dict() for each in some] for some in (reports, placed))
        show_json({"stores": forms, "images": of_images, "managed_by_host": hosted})
        return
    for report in reports:
        _show(report)
        if explain:
            _explain(report)
    for each in placed:
        images.show(each)
    for name in hosted:
        click.echo(f"{name}: managed by the host; nothing there is ours to delete")
    changes = any(map(_changes, reports)) or any(each.condemned or each.deleted for each in placed)
    if changes and not (dry_run or yes or ask):
        note("nothing was changed: give --yes to do it")


def _is_terminal(as_json: bool) -> bool:
    return not as_json and sys.stdin.isatty() and sys.stderr.isatty()


# ---- what to do -------------------------------------------------------------------------------


def _maker(
    store: BlobStore, found: KnownStores, options: dict[str, Any]
) -> Callable[[Any], Collector]:
    """Return what makes a collector with a progress to tell."""
    limits, policy = _limits(options), _policy(options)
    claims = found.claims(store, all_flows=options["all_flows"])
    if policy and claims.flows is not None and not claims.flows:
        note(f"{store.url}: no flow of this registry, so none expires without --all-flows")
    return lambda progress: Collector(
        store,
        policy=policy,
        limits=limits,
        claims=claims,
        progress=progress,
        cache=cache.default(),
    )


def _limits(options: dict[str, Any]) -> Limits:
    exclusive = options["exclusive"]
    grace = options["grace"] or ("0h" if exclusive else "24h")
    return Limits(
        grace=parse_duration(grace).total_seconds(),
        trash=parse_duration(options["trash"]).total_seconds(),
        exclusive=exclusive,
        allow_empty=options["allow_empty"],
    )


def _policy(options: dict[str, Any]) -> Policy:
    """Return the policy of the command line, or that of the settings."""
    within, used = options["keep_within"], options["keep_used"]
    counts: dict[str, Any] = {
        name: options[f"keep_{name}"] or 0 for name in ("last", "daily", "weekly", "monthly")
    }
    policy = Policy(
        within=None if within is None else parse_duration(within),
        used=None if used is None else parse_duration(used),
        labels=frozenset(options["keep_label"]),
        **counts,
    )
    return policy or Policy.parse(config.load().retention)


def _collect(make: Callable[[Any], Collector], *, yes: bool, ask: bool) -> Report:
    with _progress() as progress:
        report = make(progress).run() if yes else make(progress).preview()
    if not ask or yes:
        return report
    _show(report)
    if not (_changes(report) and click.confirm("Do it?", err=True)):
        return report
    with _progress() as progress:
        return make(progress).run()


def _changes(report: Report) -> bool:
    amounts = (report.condemned.blobs, report.deleted.blobs, report.forgotten, report.leases)
    return any(amounts) or bool(report.expired or report.purged)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show how far a run is, on a terminal."""
    from rich.progress import Progress

    console = open_console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("scan", total=None)

        def show_progress(stage: str, done: int, total: int) -> None:
            bar.update(task, description=stage, completed=done, total=total or None)

        yield show_progress


def _prune(*, yes: bool, ask: bool, as_json: bool) -> None:
    """Let this machine's cache shrink to nine tenths of its limit."""
    kept = cache.default()
    used, allowed = kept.size(), kept.limit * 9 // 10
    over = max(used - allowed, 0)
    if over and ask and not yes:
        yes = click.confirm(f"Remove {size(over)} from the cache?", err=True)
    removed = kept.prune(allowed) if yes else []
    freed = sum(each.size for each in removed)
    if as_json:
        show_json({"bytes": used, "limit": kept.limit, "over": over, "freed_bytes": freed})
    else:
        click.echo(f"cache: {size(used)} of {size(kept.limit)}; removed {size(freed)}")


# ---- what to show -----------------------------------------------------------------------------


def _show(report: Report) -> None:
    would = "would be " if report.dry_run else ""
    click.echo(
        f"{report.store}: {plural(report.references, 'reference')}, "
        f"{plural(report.stored.blobs, 'blob')} ({size(report.stored.bytes)})"
    )
    if report.expired:
        rows = [(flow, len(keys), report.kept[flow]) for flow, keys in report.expired.items()]
        show_table(["flow", f"{would}moved to the trash", "kept"], rows)
    if report.purged:
        purged = plural(len(report.purged), "reference")
        click.echo(f"  {would}purged from the trash: {purged}, the time is over")
    _blobs(f"{would}condemned", report.condemned, "nothing names them")
    _blobs(f"{would}deleted", report.deleted, "condemned a grace ago and still not named")
    waiting = f"the first may go after {report.until}"
    _blobs("then waiting" if report.dry_run else "waiting", report.waiting, waiting)
    if not _changes(report) and not report.waiting.blobs:
        click.echo("  nothing to collect")
    _tell_undoing(report)
    _warn(report)


def _tell_undoing(report: Report) -> None:
    """Say what it takes to undo what was done, or would be."""
    if report.expired:
        click.echo("  to undo it: casflow undelete KEY, as long as it is in the trash")
    if report.purged or report.deleted.blobs:
        click.echo(
            "  not to be undone: what is purged or deleted; its source can be registered anew"
        )


def _explain(report: Report) -> None:
    """Say of all that goes which rules did not keep it, or why else, and who used it last."""
    rows = [
        (each["flow"], each["project"], key, _moment(each["last_used"]) or "unknown")
        for key, each in report.explain().items()
    ]
    if rows:
        click.echo(f"  not kept by: {report.policy}")
        columns = [
            Column("flow", drop=1),
            Column("project", drop=3),
            Column("key", whole=True),
            Column("last used", drop=2),
        ]
        show_table(columns, rows)
    rest = report.explain_rest()
    for key, why, used in islice(rest, _MOST_EXPLAINED):
        click.echo(f"  {key}: {why}" + (f"; last used {used}" if used else ""))
    if more := sum(1 for _ in rest):
        click.echo(f"  and {more} more")


def _warn(report: Report) -> None:
    """Name what is wrong with the store, and what gc leaves alone because of it."""
    hint = f"casflow verify --repair {report.store}"
    if report.missing:
        key, flow, _ = report.missing[0]
        lost = plural(len(report.missing), "missing blob")
        note(f"{lost}, the first of flow {flow!r}: {key}; {hint}")
    if report.unreadable:
        first = min(report.unreadable)
        damaged = plural(len(report.unreadable), "reference")
        note(f"{damaged} of no readable form, the first: {first}; {hint}")
    if report.unknown:
        note("no blob is condemned or deleted before it is known what they name")
    if report.foreign:
        note(f"left alone: {plural(report.foreign, 'object')} of other programs")


def _blobs(what: str, amount: Amount, why: str) -> None:
    if amount.blobs:
        click.echo(f"  {what}: {plural(amount.blobs, 'blob')}, {size(amount.bytes)}; {why}")


def _show_history(stores: list[BlobStore], *, as_json: bool) -> None:
    runs = {store.url: history(store) for store in stores}
    if as_json:
        show_json(runs)
        return
    columns = [
        Column("started", whole=True),
        Column("references", drop=2),
        Column("expired", drop=1),
        Column("condemned"),
        Column("deleted"),
        Column("bytes freed", whole=True),
    ]
    for url, reports in runs.items():
        click.echo(url)
        show_table(columns, [_row(each) for each in reports])


def _moment(text: object) -> object:
    """Return the moment that a report names, or what it says if that is none."""
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else text
    except ValueError:
        return text


def _row(report: dict[str, Any]) -> tuple[object, ...]:
    """Return a line of the table; a report of another version of casflow may lack something."""
    try:
        expired = sum(map(len, report["expired"].values()))
        deleted = report["deleted"]
        counts = (report["references"], expired, report["condemned"]["blobs"], deleted["blobs"])
        return (_moment(report["started"]), *counts, size(deleted["bytes"]))
    except (KeyError, TypeError, AttributeError):
        return (report.get("run", "damaged"), *["?"] * 5)
